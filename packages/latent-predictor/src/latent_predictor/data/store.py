"""All trajectories of a folder as a few flat arrays that are mapped into memory instead of loaded.

The conversion is done once per content of the folder. It holds one trajectory at a time, and a reader holds none, so
neither needs more memory for more data.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int8, Int64, UInt8

from drivelab_shared.arrays import RowWriter
from drivelab_shared.digests import digests
from drivelab_shared.errors import UserError
from latent_predictor.data import trajectory as npz
from latent_predictor.data.labels import visual_labels
from latent_predictor.data.problems import keys
from latent_predictor.data.splits import SPLITS, SPLITS_FILE, Span
from latent_predictor.data.survey import Survey, list_files, summary, survey
from latent_predictor.data.trajectory import UNKNOWN, Trajectory

MIN_FRAMES = 31
"""10 real frames, 20 imagined ones and one more."""
_VERSION = 1
"""Part of the key: raise it when the conversion, or what the visual labels are, changes."""
_INDEX = "index.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """The usable trajectories, one behind the other. All arrays share the first axis and are read only."""

    data_dir: Path
    frames: UInt8[np.ndarray, "rows 64 64 3"]
    actions: Float32[np.ndarray, "rows actions"]
    labels: Int8[np.ndarray, " rows"]
    """The labels that were asked for; -1 is unknown."""
    judge_labels: Int8[np.ndarray, " rows"]
    """The best labels there are, whatever was asked for: the file's where it has them, else the visual ones."""
    state: Float32[np.ndarray, "rows 7"] | None
    """Only where every trajectory has it, as `track_ahead`."""
    track_ahead: Float32[np.ndarray, "rows 24"] | None
    trajectories: tuple[Span, ...]
    """Without overlap, `start` counting rows. No window crosses from one to the next."""
    dt: float
    """Seconds between frames."""
    frames_fingerprint: str
    """Of everything here but the choice of labels."""
    fingerprint: str
    """Of everything here."""
    left_out: tuple[str, ...]
    """What skip_invalid went on without, as `file: key: expected X, got Y`."""

    @property
    def action_size(self) -> int:
        """Numbers in an action; 0 where the drives have none."""
        return self.actions.shape[1]

    def spans(self, split: str) -> list[Span]:
        """The trajectories of `train`, `val`, `test` or `all`.

        Raises:
            UserError: there are none.
        """
        spans = [span for span in self.trajectories if split in ("all", span.split)]
        if not spans:
            raise UserError(f"{self.data_dir}: expected a trajectory for {split}, got none")
        return spans

    def indices(self, split: str) -> Int64[np.ndarray, " frames"]:
        """Rows of a split."""
        return np.concatenate([np.arange(span.start, span.start + span.length) for span in self.spans(split)])


def window_starts(store: Store, split: str, window_frames: int, stride: int) -> Int64[np.ndarray, " windows"]:
    """First rows of all windows of `window_frames` frames that lie within one trajectory.

    In a window that starts at row i, the frame that follows frame i+t is i+t+1; the action between the two is
    `actions[i+t]`, and the label of a prediction of it is `labels[i+t+1]`. The last frame's own action is not used.
    """
    starts = [
        np.arange(span.start, span.start + span.length - window_frames + 1, stride, dtype=np.int64)
        for span in store.spans(split)
    ]
    return np.concatenate(starts)


def open_store(
    data_dir: Path,
    cache_dir: Path,
    *,
    npz_files: tuple[str, ...] = (),
    labels: Literal["auto", "state", "visual"] = "auto",
    skip_invalid: bool = False,
    min_frames: int = MIN_FRAMES,
    require: tuple[str, ...] = SPLITS,
) -> Store:
    """The folder's trajectories, converted below `cache_dir` unless they are there already.

    Any number of processes may ask at the same time.

    Args:
        data_dir: folder of npz files, and perhaps a splits.json.
        cache_dir: folder that is safe to delete.
        npz_files: names of the files to use; empty means all.
        labels: `state`: the file's own. `visual`: read from the picture. `auto`: frame by frame, the file's if known.
        skip_invalid: go on without unusable trajectories, and list them on stderr.
        min_frames: shortest usable trajectory.
        require: splits that must not be empty. Where splits.json leaves one of them empty among `npz_files`, the files
            are split without it. A reader that trains nothing passes ().

    Raises:
        UserError: something is wrong with the folder or its files, and skip_invalid is off or does not help.
    """
    paths, problems = list_files(data_dir, npz_files)
    sources = [*paths, data_dir / SPLITS_FILE]
    key = {
        "version": _VERSION,
        "files": [path.name for path in sources],
        "digests": digests(sources, cache_dir / "hashes.json"),
        "listing": [problem.text for problem in problems],
        "settings": [npz_files == (), skip_invalid, min_frames, require],
    }
    fingerprint = _hash(key)
    folder = cache_dir / f"frames-{fingerprint[:16]}"
    if not (folder / _INDEX).exists():
        found = survey(data_dir, npz_files, min_frames=min_frames, require=require)
        _stop_at_errors(found, skip_invalid)
        _convert(found, folder)
    return _load(folder, data_dir, labels, fingerprint)


def fill_visual_labels(path: Path, trajectory: Trajectory) -> Trajectory:
    """The trajectory with labels read from its pictures, if its file has no `visual_labels` at all.

    A file that has them and says -1 throughout, like an imported video, keeps them: nothing can be read from it.
    """
    if "visual_labels" in keys(path):
        return trajectory
    top_rows = trajectory.frames[:, :8].reshape(-1, 3).mean(axis=0)
    view = "road" if top_rows.argmax() == 2 else "top"  # the road camera sees the sky there, the other one the ground
    return dataclasses.replace(trajectory, visual_labels=visual_labels(trajectory.frames, view))


def _stop_at_errors(found: Survey, skip_invalid: bool) -> None:
    stopping = [problem for problem in found.errors if problem.level == "fatal" or not skip_invalid]
    if stopping:
        others = f" (and {len(stopping) - 1} more: run check-data)" if len(stopping) > 1 else ""
        raise UserError(f"{stopping[0]}{others}")


def _convert(found: Survey, folder: Path) -> None:
    """Write beside `folder`, then rename: the folder is complete or not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for line in summary(problem for problem in found.problems if problem.level == "warning"):
        print(f"warning: {line}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as aside:
        written = Path(aside) / folder.name
        written.mkdir()
        _write_arrays(found, written)
        # Last, because its presence says that the rest is complete.
        (written / _INDEX).write_text(json.dumps(_index(found)), encoding="utf-8")
        if folder.exists() and not (folder / _INDEX).exists():
            shutil.rmtree(folder)
        try:
            os.rename(written, folder)
        except OSError:
            # Another process was faster; its files are the same.
            if not (folder / _INDEX).exists():
                raise


def _write_arrays(found: Survey, folder: Path) -> None:
    num_rows = sum(facts.length for facts in found.facts)
    action_size = found.facts[0].action_size
    shapes = {
        "frames": ((npz.SIZE, npz.SIZE, 3), np.uint8),
        "actions": ((action_size,), np.float32),
        "state_labels": ((), np.int8),
        "visual_labels": ((), np.int8),
        "labels": ((), np.int8),
    }
    if all(facts.has_state for facts in found.facts):
        shapes["state"] = ((len(npz.STATE_COLUMNS),), np.float32)
    if all(facts.has_track_ahead for facts in found.facts):
        shapes["track_ahead"] = ((npz.NUM_TILES_AHEAD,), np.float32)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(RowWriter(folder / f"{name}.npy", num_rows, shape, dtype))
            for name, (shape, dtype) in shapes.items()
        }
        for facts in found.facts:
            rows = _rows(facts.path)
            for name, writer in writers.items():
                writer.write(rows[name])


def _rows(path: Path) -> dict[str, np.ndarray | None]:
    trajectory = fill_visual_labels(path, npz.read(path))
    known = trajectory.labels != UNKNOWN
    return {
        "frames": trajectory.frames,
        "actions": trajectory.actions,
        "state_labels": trajectory.labels,
        "visual_labels": trajectory.visual_labels,
        "labels": np.where(known, trajectory.labels, trajectory.visual_labels),
        "state": trajectory.state,
        "track_ahead": trajectory.track_ahead,
    }


def _index(found: Survey) -> dict[str, object]:
    first_row, row = {}, 0
    for facts in found.facts:
        first_row[facts.path.stem] = row
        row += facts.length
    spans = [dataclasses.replace(span, start=span.start + first_row[span.name]) for span in found.spans]
    return {
        "dt": found.facts[0].dt,
        "trajectories": [dataclasses.asdict(span) for span in spans],
        "left_out": [str(problem) for problem in found.errors],
    }


def _load(folder: Path, data_dir: Path, labels: str, fingerprint: str) -> Store:
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    for line in index["left_out"]:
        print(f"left out: {line}", file=sys.stderr)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    chosen = arrays["labels" if labels == "auto" else f"{labels}_labels"]
    if labels == "state" and (chosen == UNKNOWN).all():
        raise UserError(f"{data_dir}: labels: expected files that have labels of their own for 'state', got none")
    return Store(
        data_dir=data_dir,
        frames=arrays["frames"],
        actions=arrays["actions"],
        labels=chosen,
        judge_labels=arrays["labels"],
        state=arrays.get("state"),
        track_ahead=arrays.get("track_ahead"),
        trajectories=tuple(Span(**span) for span in index["trajectories"]),
        dt=index["dt"],
        frames_fingerprint=fingerprint,
        fingerprint=_hash([fingerprint, labels]),
        left_out=tuple(index["left_out"]),
    )


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
