"""The training loop that every stage runs: steps, exact resume, logging, checkpoints, a polite end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from drivelab_shared.checkpoint import Parts
from drivelab_shared.engine import Stopped, StopSignal, averaged, released, require_finite
from drivelab_shared.errors import UserError
from drivelab_shared.modules import parameter_groups
from drivelab_shared.runs import Progress, Run
from drivelab_shared.seeding import StepSampler, seed_step
from drivelab_shared.stage import Stage

FETCH, FORWARD, VALIDATE = range(3)
"""Streams of random numbers within a step, so that none depends on how many numbers another drew."""

Losses = Mapping[str, Tensor]


@dataclass(frozen=True)
class Moment:
    """Where in the training a loss is asked for."""

    done: float
    """Share of the steps, 0 to 1."""
    is_logged: bool
    """Whether this step's figures are written down: the time for figures that cost something."""


LossFunction = Callable[[nn.Module, np.ndarray, Moment], Losses]
"""(network, indices of the batch, moment) -> scalars; `loss` is the one to minimise."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a stage learns."""

    steps: int
    lr: float
    lr_schedule: str = "cosine"
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    checkpoint_every: int = 200
    keep: int = 2
    log_every: int = 20
    seed: int = 0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step: a function of the step, so that nothing about it needs saving."""
        done = step / self.steps
        if self.lr_schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * done))
        if self.lr_schedule == "step":
            return self.lr * (0.1 ** ((done >= 0.6) + (done >= 0.85)))
        return self.lr


def fit(
    run: Run,
    stop: StopSignal,
    stage: str,
    network: nn.Module,
    loss_of: LossFunction,
    num_samples: int,
    global_batch: int,
    schedule: Schedule,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    select: str = "",
) -> nn.Module:
    """Train `network` and return it, unwrapped. Goes on from the newest checkpoint of the stage, if the run has one.

    Args:
        run: where checkpoints and metrics go.
        stop: asked after every step.
        stage: name of the stage; folder of its checkpoints.
        network: on any device; moved to the engine's.
        loss_of: see LossFunction.
        num_samples: samples that the batches index.
        global_batch: samples per step over all processes; at most all there are.
        schedule: steps, learning rate, checkpoints.
        validate: figures of the unwrapped network, logged after every epoch.
        select: the figure whose best epoch is returned; empty returns the last step.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        UserError: a loss is not finite, `select` is not a figure that is measured, or the batch cannot be shared out.
    """
    accelerator = run.accelerator
    decayed = torch.optim.AdamW(parameter_groups(network, schedule.weight_decay), lr=schedule.lr)
    network, optimizer = accelerator.prepare(network, decayed)
    saved = Stage(run, stage, Parts({stage: network}, {"optimizer": optimizer}), schedule.keep)
    start = saved.resume()
    world, rank = accelerator.num_processes, accelerator.process_index
    global_batch = min(global_batch, num_samples // world * world)
    if global_batch % world:
        raise UserError(f"{stage}: batch_size: expected a multiple of {world} processes, got {global_batch}")
    sampler = StepSampler(num_samples, global_batch, rank, world, schedule.seed)

    with Progress(stage, schedule.steps, start, quiet=not accelerator.is_main_process) as bar:
        for step in range(start, schedule.steps):
            network.train()
            seed_step(schedule.seed, step, rank, FETCH)
            indices = sampler.batch(step)
            seed_step(schedule.seed, step, rank, FORWARD)
            for group in optimizer.param_groups:
                group["lr"] = schedule.lr_at(step)
            optimizer.zero_grad()
            done = step + 1
            is_logged = done % schedule.log_every == 0 or done == schedule.steps
            with accelerator.autocast():
                losses = loss_of(network, indices, Moment(step / schedule.steps, is_logged))
            require_finite(losses, stage, step)
            accelerator.backward(losses["loss"])
            if schedule.clip_norm:
                accelerator.clip_grad_norm_(network.parameters(), schedule.clip_norm)
            optimizer.step()

            if is_logged:
                figures = averaged(losses, accelerator)
                run.log(done, "train", figures | {"lr": schedule.lr_at(step)}, stage)
                bar.update(done, loss=figures["loss"])
            if validate and (done % sampler.steps_per_epoch == 0 or done == schedule.steps):
                seed_step(schedule.seed, step, rank, VALIDATE)
                figures = _validated(accelerator.unwrap_model(network), validate)
                run.log(done, "val", figures, stage)
                if select:
                    saved.save_if_best(done, select, figures, lower=False)
            is_stopping = stop.agreed(accelerator)
            if done % schedule.checkpoint_every == 0 or done == schedule.steps or is_stopping:
                saved.save(done)
            if is_stopping:
                raise Stopped
    if select:
        saved.load_best()
    return released(network, accelerator)


def _validated(network: nn.Module, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
    network.eval()
    with torch.no_grad():
        return dict(validate(network))
