"""The verb `make-data`: a folder of simulated drives, or one more trajectory from a video."""

import itertools
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from drivelab_shared.errors import UserError
from drivelab_shared.workers import in_processes
from latent_predictor.config import MakeDataSettings
from latent_predictor.data import simulate, splits
from latent_predictor.data.summary import summary
from latent_predictor.data.trajectory import file_name, read, write
from latent_predictor.data.video import read_video

RECORD = "data.json"
"""The settings that made the folder; written first. splits.json is written last and says that the data are complete."""


def make_data(settings: MakeDataSettings) -> None:
    """Drive or import, and print what the folder holds then. Nothing that exists is overwritten.

    Raises:
        UserError: there are trajectories of other origin, the video cannot be used, or the folder cannot be written.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        report = _drive(settings) if settings.video is None else _import(settings)
    except OSError as error:
        found = error.strerror or error
        raise UserError(f"{settings.data_dir}: data_dir: expected a folder to write to, got {found}") from None
    print(report)


def ensure_data(data_dir: Path) -> None:
    """Make the default data where there is no folder or an empty one; finish them where that was interrupted.

    Raises:
        UserError: an interrupted run with other settings is found.
    """
    settings = MakeDataSettings(data_dir=data_dir)
    if not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir())):
        make_data(settings)
    elif (data_dir / RECORD).exists() and not (data_dir / splits.SPLITS_FILE).exists():
        if _read_record(data_dir) != _record(settings):
            found = f"unfinished data: run make-data again with the settings in {data_dir / RECORD}"
            raise UserError(f"{data_dir}: data_dir: expected finished data, got {found}")
        make_data(settings)


def _drive(settings: MakeDataSettings) -> str:
    missing = _begin(settings)
    start = time.perf_counter()
    for _ in tqdm(_drives(settings, missing), total=len(missing), desc="driving", unit="drive", disable=None):
        pass
    seconds = time.perf_counter() - start
    names = [file_name(index).removesuffix(".npz") for index in range(settings.num_trajectories)]
    split_of = splits.split_evenly(names)
    _write_json(settings.data_dir / splits.SPLITS_FILE, _by_split(split_of))
    num_made = len(missing) * settings.num_frames
    return (
        f"{settings.data_dir}: {len(names)} drives of {settings.num_frames} frames, {settings.view} view\n"
        f"made {num_made} frames in {seconds:.1f} s: {num_made / seconds:.0f} frames/s\n\n"
        + summary((split_of[name], read(settings.data_dir / f"{name}.npz")) for name in names)
    )


def _begin(settings: MakeDataSettings) -> list[int]:
    """Which drives are still to be made. Marks the folder as ours on the way."""
    record = _record(settings)
    interrupted = _read_record(settings.data_dir) == record and not (settings.data_dir / splits.SPLITS_FILE).exists()
    ours = {file_name(index) for index in range(settings.num_trajectories)} if interrupted else set()
    others = {path.name for path in settings.data_dir.glob("*.npz")} - ours
    if others:
        first = settings.data_dir / min(others, key=splits.natural)
        raise UserError(f"{first}: expected a folder without trajectories (they are never overwritten), got this one")
    _write_json(settings.data_dir / RECORD, record)
    return [i for i in range(settings.num_trajectories) if not (settings.data_dir / file_name(i)).exists()]


def _drives(settings: MakeDataSettings, indices: list[int]) -> Iterator[None]:
    return in_processes(partial(_make_drive, settings), indices, settings.workers)


def _make_drive(settings: MakeDataSettings, index: int) -> None:
    path = settings.data_dir / file_name(index)
    write(path, simulate.drive(settings.seed, index, settings.num_frames, settings.view, path.stem))


def _import(settings: MakeDataSettings) -> str:
    paths = (settings.data_dir / file_name(index) for index in itertools.count())
    path = next(path for path in paths if not path.exists())
    video = read_video(settings.video, settings.rate_hz, path.stem)
    _check_company(settings)
    write(path, video)
    lines = [f"{settings.video}: {note}" for note in video.notes]
    length = f"{len(video)} frames at {settings.rate_hz:g} Hz"
    lines.append(f"{path}: {length} from {settings.video.name}, no actions, no labels")
    if (settings.data_dir / splits.SPLITS_FILE).exists():
        lines.append(f"{settings.data_dir / splits.SPLITS_FILE}: add {path.stem} to a split, or it will not be used")
    return "\n".join(lines)


def _check_company(settings: MakeDataSettings) -> None:
    """One model reads a whole folder, so its trajectories need the same actions and the same rate."""
    neighbour = min(settings.data_dir.glob("*.npz"), default=None)
    if neighbour is None:
        return
    try:
        other = read(neighbour)
    except ValueError as error:
        raise UserError(str(error)) from None
    if other.actions.shape[1]:
        raise UserError(
            f"{settings.data_dir}: data_dir: expected a folder of trajectories without actions, as a video has none, "
            f"got {other.actions.shape[1]} actions in {neighbour.name}; choose another folder"
        )
    if round(1 / other.dt, 3) != round(settings.rate_hz, 3):
        raise UserError(
            f"{settings.data_dir}: rate_hz: expected {1 / other.dt:g} as in {neighbour.name}, got {settings.rate_hz:g}"
        )


def _record(settings: MakeDataSettings) -> dict[str, object]:
    """What the bytes of the folder depend on."""
    return {
        "made_by": f"latent-predictor make-data, drives version {simulate.VERSION}",
        "view": settings.view,
        "num_trajectories": settings.num_trajectories,
        "num_frames": settings.num_frames,
        "seed": settings.seed,
    }


def _read_record(data_dir: Path) -> object:
    try:
        return json.loads((data_dir / RECORD).read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _by_split(split_of: dict[str, str]) -> dict[str, list[str]]:
    return {split: [f"{name}.npz" for name in split_of if split_of[name] == split] for split in splits.SPLITS}


def _write_json(path: Path, content: object) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(aside, path)
