"""The training loop: batches, steps, exact resume, logging, checkpoints, a polite end."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from drivelab_shared.checkpoint import Parts
from drivelab_shared.engine import Stopped, StopSignal, averaged, require_finite
from drivelab_shared.modules import grad_norm
from drivelab_shared.runs import Progress, Run
from drivelab_shared.seeding import StepSampler, seed_step
from drivelab_shared.stage import Stage
from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batches

FORWARD, VALIDATE = range(2)
"""Streams of random numbers within a step, so that none depends on how many numbers another drew."""


def fit(
    run: Run,
    stop: StopSignal,
    stage: str,
    algorithm: Algorithm,
    batches: Batches,
    indices: Int[np.ndarray, " transitions"],
    validate: Callable[[Algorithm], Mapping[str, float]],
) -> None:
    """Train `algorithm` in place. Goes on from the newest checkpoint of the stage, if the run has one.

    Args:
        run: where checkpoints and metrics go.
        stop: asked after every step.
        stage: folder of the checkpoints.
        algorithm: on the engine's device, its units set; its settings say how long.
        batches: where transitions come from.
        indices: the transitions to train on.
        validate: figures of the algorithm, logged every `eval_every` steps and at the end. The first process asks.

    Raises:
        Stopped: a signal asked for it; the state is saved.
        UserError: a loss is not finite, or the batch cannot be shared out.
    """
    accelerator, settings = run.accelerator, algorithm.settings
    world, rank = accelerator.num_processes, accelerator.process_index
    algorithm.start_training(accelerator)
    saved = Stage(run, stage, Parts(algorithm.networks(), algorithm.optimizers), settings.keep)
    start = saved.resume()
    sampler = StepSampler(len(indices), settings.batch_size, rank, world, settings.seed)

    with Progress(stage, settings.steps, start, quiet=not accelerator.is_main_process) as bar:
        for step in range(start, settings.steps):
            done = step + 1
            is_last = done == settings.steps
            algorithm.train()
            seed_step(settings.seed, step, rank, FORWARD)
            batch = batches.fetch(indices[sampler.batch(step)])

            def backward(name: str, loss: Tensor, step: int = step) -> None:
                require_finite({name: loss}, stage, step)
                accelerator.backward(loss)

            losses = algorithm.update(batch, backward)
            if done % settings.log_every == 0 or is_last:
                losses["encoder_grad_norm"] = torch.tensor(grad_norm(algorithm.obs_encoder.parameters()))
                figures = averaged(losses, accelerator)
                run.log(done, "train", figures, stage)
                bar.update(done, **{name: figures[name] for name in ("critic", "vae", "actor") if name in figures})
            if (done % settings.eval_every == 0 or is_last) and accelerator.is_main_process:
                seed_step(settings.seed, step, rank, VALIDATE)
                run.log(done, "val", validate(algorithm), stage)
            is_stopping = stop.agreed(accelerator)
            if done % settings.checkpoint_every == 0 or is_last or is_stopping:
                saved.save(done)
            if is_stopping:
                raise Stopped
    algorithm.release(accelerator)
