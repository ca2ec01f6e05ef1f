"""The training loop: steps with accumulation, exact resume, logging, checkpoints, a polite end."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

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
from v2x_teacher.config import TrainSettings

FORWARD, VALIDATE = range(2)
"""Streams of random numbers within a step, so that none depends on how many numbers another drew."""

LossFunction = Callable[[nn.Module, np.ndarray], Mapping[str, Tensor]]
"""(network, indices of the batch) -> scalars; `loss` is the one to minimise."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a network learns."""

    steps: int
    head_lr: float
    backbone_lr: float
    lr_schedule: str
    final_lr_share: float
    warmup_steps: int
    weight_decay: float
    clip_norm: float
    accumulation: int
    checkpoint_every: int
    keep: int
    log_every: int
    seed: int

    @classmethod
    def of(cls, settings: TrainSettings, steps: int) -> "Schedule":
        """What the settings say under the same names."""
        names = [field.name for field in fields(cls) if field.name != "steps"]
        return cls(steps=steps, **{name: getattr(settings, name) for name in names})

    def share_at(self, step: int) -> float:
        """Of the learning rates: a function of the step, so that nothing about it needs saving."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.lr_schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_lr_share + (1 - self.final_lr_share) * 0.5 * (1 + math.cos(math.pi * done))


def fit(
    run: Run,
    stop: StopSignal,
    stage: str,
    network: nn.Module,
    loss_of: LossFunction,
    num_samples: int,
    batch_size: int,
    schedule: Schedule,
    validate: Callable[[nn.Module], Mapping[str, float]],
    select: str = "",
) -> nn.Module:
    """Train `network` and return it, unwrapped. Goes on from the newest checkpoint of the stage, if the run has one.

    Args:
        run: where checkpoints and metrics go.
        stop: asked after every step.
        stage: folder of the checkpoints.
        network: a `Teacher`; its `backbone` learns with a rate of its own.
        loss_of: see LossFunction.
        num_samples: samples that the batches index.
        batch_size: samples per forward pass over all processes; a step accumulates several.
        schedule: steps, learning rates, checkpoints.
        validate: figures of the unwrapped network, logged after every epoch.
        select: the figure whose lowest epoch is returned; empty returns the last step.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        UserError: a loss is not finite, `select` is not a figure that is measured, or the batch cannot be shared out.
    """
    accelerator = run.accelerator
    world, rank = accelerator.num_processes, accelerator.process_index
    if batch_size % world:  # or the passes of a step would differ in size
        raise UserError(f"batch_size: expected a multiple of the {world} processes, got {batch_size}")
    network, optimizer = accelerator.prepare(network, torch.optim.AdamW(_groups(network, schedule)))
    saved = Stage(run, stage, Parts({stage: network}, {"optimizer": optimizer}), schedule.keep)
    start = saved.resume()
    sampler = StepSampler(num_samples, batch_size * schedule.accumulation, rank, world, schedule.seed)

    with Progress(stage, schedule.steps, start, quiet=not accelerator.is_main_process) as bar:
        for step in range(start, schedule.steps):
            network.train()
            seed_step(schedule.seed, step, rank, FORWARD)
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * schedule.share_at(step)
            optimizer.zero_grad()
            losses = _accumulate(accelerator, network, loss_of, sampler.batch(step), schedule.accumulation, stage, step)
            if schedule.clip_norm:
                accelerator.clip_grad_norm_(network.parameters(), schedule.clip_norm)
            optimizer.step()

            done = step + 1
            if done % schedule.log_every == 0 or done == schedule.steps:
                figures = averaged(losses, accelerator)
                run.log(done, "train", figures | {"lr": schedule.head_lr * schedule.share_at(step)}, stage)
                bar.update(done, loss=figures["loss"])
            if done % sampler.steps_per_epoch == 0 or done == schedule.steps:
                seed_step(schedule.seed, step, rank, VALIDATE)
                figures = _validated(accelerator.unwrap_model(network), validate)
                run.log(done, "val", figures, stage)
                if select:
                    saved.save_if_best(done, select, figures, lower=True)
            is_stopping = stop.agreed(accelerator)
            if done % schedule.checkpoint_every == 0 or done == schedule.steps or is_stopping:
                saved.save(done)
            if is_stopping:
                raise Stopped
    if select:
        saved.load_best()
    return released(network, accelerator)


def _groups(network: nn.Module, schedule: Schedule) -> list[dict]:
    """Head and backbone, each with a rate of its own; what is frozen is left out."""
    groups = [
        group | {"lr": lr, "peak_lr": lr}
        for part, lr in ((network.head, schedule.head_lr), (network.backbone, schedule.backbone_lr))
        if part is not None
        for group in parameter_groups(part, schedule.weight_decay)
    ]
    return [group for group in groups if group["params"]]


def _accumulate(
    accelerator: object,
    network: nn.Module,
    loss_of: LossFunction,
    indices: np.ndarray,
    passes: int,
    stage: str,
    step: int,
) -> Mapping[str, Tensor]:
    """Gradients of the mean loss over all passes; returns that mean."""
    collected: list[Mapping[str, Tensor]] = []
    for number, batch in enumerate(np.array_split(indices, passes), start=1):
        # Processes exchange gradients once, after the last pass.
        with contextlib.nullcontext() if number == passes else accelerator.no_sync(network):
            with accelerator.autocast():
                losses = loss_of(network, batch)
            require_finite(losses, stage, step)
            accelerator.backward(losses["loss"] / passes)
        collected.append({name: value.detach() for name, value in losses.items()})
    return {name: torch.stack([losses[name] for losses in collected]).mean() for name in collected[0]}


def _validated(network: nn.Module, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
    network.eval()
    with torch.no_grad():
        return dict(validate(network))
