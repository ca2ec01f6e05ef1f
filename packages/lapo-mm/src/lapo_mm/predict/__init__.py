"""Predict: let the policy act, and keep what it saw and did."""

from pathlib import Path

import numpy as np

from drivelab_shared import engine, runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_bytes
from drivelab_shared.pictures import Picture
from drivelab_shared.video_file import write_mp4
from lapo_mm.config import PredictSettings
from lapo_mm.drawing import film
from lapo_mm.rollouts import Trace, acting, roll_out, seeds
from lapo_mm.trained import open_trained

PACKAGE = "lapo-mm"
FPS = 12.0


def predict(settings: PredictSettings) -> None:
    """Write episode-<n>.mp4, .gif and .npz, and print the returns.

    Raises:
        UserError: there is no such run, or nobody knows its environment.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    trained = open_trained(run, device, settings)
    task = trained.task
    if task is None:
        raise UserError(f"{trained.store.data_dir}: expected a dataset that names its environment, got none")
    resets = seeds(settings.seed, settings.num_episodes)
    done = roll_out(acting(trained.agent), task.make_env, task.read, resets, device, num_traces=settings.num_episodes)
    output = settings.output_dir or run / "predict"
    output.mkdir(parents=True, exist_ok=True)
    for number, trace in enumerate(done.traces):
        _write(output, f"episode-{number}", trace, settings.scale)
        ending = "terminated" if done.terminated[number] else "truncated"
        score = f", score {task.score(done.returns[number]):.1f}" if task.references else ""
        print(f"episode {number}: {done.lengths[number]} steps, {ending}, return {done.returns[number]:.2f}{score}")
    print(f"{output}: {len(done.traces)} episodes as mp4, gif and npz")


def _write(folder: Path, name: str, trace: Trace, scale: int) -> None:
    """Row t of `actions` and `rewards` leads from row t of the observations to row t + 1."""
    frames = film(trace, scale)
    write_mp4(folder / f"{name}.mp4", frames, FPS)
    replace_bytes(folder / f"{name}.gif", Picture(frames, name, frames.shape[2], FPS).encoded())
    observations = {
        f"observations/{key}": np.stack([one[key] for one in trace.observations]) for key in trace.observations[0]
    }
    np.savez_compressed(
        folder / f"{name}.npz", actions=np.stack(trace.actions), rewards=np.array(trace.rewards), **observations
    )
