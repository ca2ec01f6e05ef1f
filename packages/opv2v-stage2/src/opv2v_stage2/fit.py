"""The training loop of a stage: batches, steps, exact resume, logging, checkpoints, a polite end."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from drivelab_shared.checkpoint import Parts
from drivelab_shared.engine import Stopped, StopSignal, averaged, released, require_finite
from drivelab_shared.modules import parameter_groups
from drivelab_shared.runs import Progress, Run
from drivelab_shared.seeding import seed_step
from drivelab_shared.stage import Stage
from opv2v_stage2.config import TrainSettings
from opv2v_stage2.losses.targets import Targets
from opv2v_stage2.losses.terms import Stage as StageName
from opv2v_stage2.losses.terms import total_loss
from opv2v_stage2.memory import SavedBytes, require_memory, step_bytes
from opv2v_stage2.models.interface import Reconstruction, View

FORWARD, VALIDATE = range(2)
"""Streams of random numbers within a step, so that none depends on how many numbers another drew."""
ENCODERS = ("stem.", "model.encoder.")
"""How the names of a picture encoder's parameters begin: the compact model's, MapAnything's."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step works on."""

    views: Sequence[View]
    targets: Targets


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What a stage learns from."""

    name: StageName
    steps: int
    lr: float
    draw: Callable[[int], Batch]
    """The batch of a step, on the device: a function of the step alone."""
    after: Callable[[nn.Module], None] = lambda _: None
    """Called with the network behind every step."""


def fit(
    run: Run,
    stop: StopSignal,
    lesson: Lesson,
    network: nn.Module,
    settings: TrainSettings,
    validate: Callable[[nn.Module], Mapping[str, float]],
    extra: Mapping[str, nn.Module] = {},
) -> nn.Module:
    """Train a network in place and return it in eval mode. Goes on from the newest checkpoint of the stage.

    Args:
        run: where checkpoints and metrics go.
        stop: asked after every step.
        lesson: what is learned.
        network: on the engine's device.
        settings: learning rates, weights of the losses, how often what is logged.
        validate: figures of the network, logged every `eval_every` steps and at the end.
        extra: networks that change with it without being trained, and are saved with it.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        UserError: a loss is not finite, or a step does not fit into memory.
    """
    accelerator = run.accelerator
    optimizer = torch.optim.AdamW(_groups(network, settings), lr=lesson.lr, betas=(0.9, 0.98))
    paces = [group["lr"] * lesson.lr for group in optimizer.param_groups]
    prepared, optimizer = accelerator.prepare(network, optimizer)
    saved = Stage(run, lesson.name, Parts({"model": prepared, **extra}, {"optimizer": optimizer}), settings.keep)
    start = saved.resume()
    if start < lesson.steps:
        accelerator.print(f"{lesson.name}: {_memory_line(network, lesson.draw(start), accelerator)}")
    with Progress(lesson.name, lesson.steps, start, quiet=not accelerator.is_main_process) as bar:
        for step in range(start, lesson.steps):
            done, is_last = step + 1, step + 1 == lesson.steps
            seed_step(settings.seed, step, accelerator.process_index, FORWARD)
            for group, pace in zip(optimizer.param_groups, paces, strict=True):
                group["lr"] = pace * cosine(step, lesson.steps)
            prepared.train()
            batch = lesson.draw(step)
            with accelerator.autocast():
                predictions = prepared(batch.views)
            losses = total_loss(Reconstruction.of(predictions), batch.targets, settings.loss, lesson.name)
            require_finite(losses, lesson.name, step)
            optimizer.zero_grad()
            accelerator.backward(losses["loss"])
            if settings.clip_norm:
                accelerator.clip_grad_norm_(prepared.parameters(), settings.clip_norm)
            optimizer.step()
            lesson.after(accelerator.unwrap_model(prepared))
            if done % settings.log_every == 0 or is_last:
                figures = averaged(losses, accelerator)
                run.log(done, "train", figures, lesson.name)
                bar.update(done, loss=figures["loss"])
            if (done % settings.eval_every == 0 or is_last) and accelerator.is_main_process:
                seed_step(settings.seed, step, 0, VALIDATE)
                run.log(done, "val", validate(accelerator.unwrap_model(prepared)), lesson.name)
            is_stopping = stop.agreed(accelerator)
            if done % settings.checkpoint_every == 0 or is_last or is_stopping:
                saved.save(done)
            if is_stopping:
                raise Stopped
    return released(prepared, accelerator)


def cosine(step: int, steps: int) -> float:
    """Share of the learning rate: a function of the step, so that nothing about it needs saving."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _groups(network: nn.Module, settings: TrainSettings) -> list[dict]:
    """Parameters with and without weight decay, the encoder's at a pace of its own. `lr` is a share here."""
    encoder = {id(parameter) for name, parameter in network.named_parameters() if name.startswith(ENCODERS)}
    groups = []
    for group in parameter_groups(network, settings.weight_decay):
        inside = [parameter for parameter in group["params"] if id(parameter) in encoder]
        outside = [parameter for parameter in group["params"] if id(parameter) not in encoder]
        groups.append(group | {"params": inside, "lr": settings.encoder_lr_share})
        groups.append(group | {"params": outside, "lr": 1.0})
    return [group for group in groups if group["params"]]


def _memory_line(network: nn.Module, batch: Batch, accelerator: Accelerator) -> str:
    """Measured on the first sample of a batch."""
    samples = len(batch.views[0]["img"])
    one = [{key: value[:1] for key, value in view.items()} for view in batch.views]
    with SavedBytes(network) as memory, accelerator.autocast():
        network(one)
    return require_memory(step_bytes(network, memory.total, samples), accelerator.device)
