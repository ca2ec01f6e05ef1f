"""Predict: watch a few real frames, imagine the ones after them, and show both side by side."""

from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, runs
from drivelab_shared.errors import UserError, nearest
from drivelab_shared.files import replace_bytes
from drivelab_shared.modules import freeze
from drivelab_shared.pictures import Picture
from drivelab_shared.settings import load
from drivelab_shared.video_file import write_mp4
from latent_predictor.config import PredictSettings, TrainSettings
from latent_predictor.data.problems import inspect
from latent_predictor.data.store import fill_visual_labels, open_store
from latent_predictor.data.trajectory import Trajectory
from latent_predictor.models import KINDS
from latent_predictor.predict.drawing import draw_film, draw_strip
from latent_predictor.predict.prediction import Networks, Prediction, imagine_one, lane_name
from latent_predictor.storage import load_network

PACKAGE = "latent-predictor"


def predict(settings: PredictSettings) -> None:
    """Write strip.png, imagined.mp4, imagined.gif and prediction.npz, and print the lane step by step.

    Raises:
        UserError: there is no such run or trajectory, or the two do not fit.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    path, start = _locate(settings, load(TrainSettings, run / "settings.yaml"))
    trajectory = _read(path, start, settings)
    prediction = imagine_one(_networks(run, device), trajectory, start, settings)

    output = settings.output_dir or run / "predict"
    output.mkdir(parents=True, exist_ok=True)
    _save(output / "prediction.npz", prediction)
    strip, film, fps = draw_strip(prediction), draw_film(prediction), 1 / prediction.dt
    replace_bytes(output / "strip.png", Picture(strip[None], prediction.title, strip.shape[1]).encoded())
    replace_bytes(output / "imagined.gif", Picture(film, prediction.title, film.shape[2], fps).encoded())
    write_mp4(output / "imagined.mp4", film, fps)
    print(_table(prediction))
    print(f"{output}: strip.png, imagined.mp4, imagined.gif, prediction.npz")


def _networks(run: Path, device: torch.device) -> Networks:
    """Without the data that the run was trained on: a trajectory from elsewhere does not need them."""
    names = ("vae", "predictor", "classifier", "judge_latent", "judge_pixel")
    modules = {name: freeze(load_network(run, *KINDS, name=name).module.to(device)) for name in names}
    return Networks(**modules, device=device)


def _locate(settings: PredictSettings, trained: TrainSettings) -> tuple[Path, int]:
    """The file of the trajectory, and its first frame to use."""
    data_dir = settings.data_dir or trained.data_dir
    if settings.trajectory is not None:
        candidates = (
            Path(settings.trajectory),
            data_dir / settings.trajectory,
            data_dir / f"{settings.trajectory}.npz",
        )
        for path in candidates:
            if path.is_file():
                return path, settings.start
        known = [path.name for path in data_dir.glob("*.npz")]
        expected = f"expected a file in {data_dir} or a path, got {settings.trajectory!r}"
        raise UserError(f"trajectory: {expected}{nearest(settings.trajectory, known)}")
    store = open_store(
        data_dir,
        trained.cache_dir,
        npz_files=settings.npz_files or (trained.npz_files if settings.data_dir is None else ()),
        skip_invalid=settings.skip_invalid or trained.skip_invalid,
        require=() if settings.data_dir else ("train", "val", "test"),
    )
    first = store.spans(settings.split)[0]
    # Of a trajectory that was cut into splits, only this split's block may be shown.
    first_row = min(span.start for span in store.trajectories if span.name == first.name)
    return data_dir / f"{first.name}.npz", settings.start + first.start - first_row


def _read(path: Path, start: int, settings: PredictSettings) -> Trajectory:
    """The trajectory, which has all frames from `start` on that are watched, and as many as are imagined."""
    for name, least in (("start", 0), ("context", 1), ("steps", 1)):
        if getattr(settings, name) < least:
            raise UserError(f"{name}: expected a number >= {least}, got {getattr(settings, name)}")
    trajectory, problems = inspect(path, min_frames=2)
    if trajectory is None:
        raise UserError(str(problems[0]))
    end = start + settings.context + settings.steps
    if len(trajectory) < end:
        needed = f"{end} (start {start}, context {settings.context}, steps {settings.steps})"
        raise UserError(f"{path}: frames: expected at least {needed}, got {len(trajectory)}")
    return fill_visual_labels(path, trajectory)


def _save(path: Path, prediction: Prediction) -> None:
    """Row t of every array belongs to the imagined frame t; `actions[t]` is the one that leads to it."""
    np.savez_compressed(
        path,
        frames=prediction.imagined,
        latents=prediction.latents,
        actions=prediction.actions,
        labels=prediction.true_lanes,
        **{f"lane_{judge}": lanes for judge, lanes in prediction.lanes.items()},
        dt=np.float32(prediction.dt),
    )


def _table(prediction: Prediction) -> str:
    columns = {"drive": prediction.true_lanes} | {f"judge {name}": read for name, read in prediction.lanes.items()}
    lines = [prediction.title, "  ".join(["step", "seconds", *(f"{name:7}" for name in columns)])]
    for step in range(prediction.steps):
        words = (f"{lane_name(lanes[step]):7}" for lanes in columns.values())
        lines.append("  ".join([f"{step + 1:4}", f"{(step + 1) * prediction.dt:7.2f}", *words]))
    return "\n".join(line.rstrip() for line in lines)
