"""One drive in one npz file: what is in it, how it is written, and what is accepted from others.

`actions[t]` is applied between frame t and frame t+1, so predicting frame t+1 may use frames and actions up to t.
"""

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int8, UInt8

SCHEMA = 1
SIZE = 64
DT_S = 0.08
STATE_COLUMNS = ("x", "y", "heading", "offset", "heading_error", "speed", "track_index")
NUM_TILES_AHEAD = 24
LEFT, CENTER, RIGHT, UNKNOWN = 0, 1, 2, -1
LABEL_NAMES = ("left", "center", "right")

# What numpy and zipfile raise when they read a damaged file.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    KeyError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

Frames = UInt8[np.ndarray, "time 64 64 3"]
Labels = Int8[np.ndarray, " time"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Frames, and what happened between them. Arrays share the first axis, time."""

    frames: Frames
    """RGB, height before width."""
    actions: Float32[np.ndarray, "time actions"]
    """Held from frame t to frame t+1. CarRacing: steer [-1, 1] (positive is right), gas [0, 1], brake [0, 1]."""
    labels: Labels
    """Where in the lane the car is, from the simulator: 0 left, 1 center, 2 right, -1 unknown."""
    visual_labels: Labels
    """The same, read from the picture."""
    state: Float32[np.ndarray, "time 7"] | None = None
    """Simulator's truth, see STATE_COLUMNS: x, y and speed in its units (per second), angles in radians,
    lateral offset in half road widths (positive is right)."""
    track_ahead: Float32[np.ndarray, "time 24"] | None = None
    """Heading of each of the next 24 track tiles, relative to the tile the car is on, in radians."""
    dt: float = DT_S
    """Seconds between frames."""
    name: str = ""
    """File name without its ending."""
    notes: tuple[str, ...] = ()
    """What `read` had to convert or fill in, as `key: found, what was made of it`."""

    def __len__(self) -> int:
        return len(self.frames)


def file_name(index: int) -> str:
    """`traj<index>_64x64.npz`, the name that the request's files have."""
    return f"traj{index}_{SIZE}x{SIZE}.npz"


def write(path: Path, trajectory: Trajectory) -> None:
    """Write the file in one piece: whoever looks finds the whole trajectory or none."""
    arrays = {
        "frames": trajectory.frames,
        "actions": trajectory.actions,
        "labels": trajectory.labels,
        "visual_labels": trajectory.visual_labels,
        "state": trajectory.state,
        "track_ahead": trajectory.track_ahead,
        "dt": np.float32(trajectory.dt),
        "schema": np.int64(SCHEMA),
    }
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            np.savez_compressed(file, **{key: array for key, array in arrays.items() if array is not None})
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path) -> Trajectory:
    """The trajectory in this file, brought to the form above; `notes` says what had to be changed.

    Accepted besides what `write` writes: one action fewer than frames, no labels, no state, no dt, float frames in
    [0, 1], channels first, extra keys.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: anything that cannot be accepted, as `file: key: expected X, got Y`.
    """
    path = Path(path)
    arrays = _load(path)
    notes: list[str] = []
    try:
        _check_schema(arrays)
        frames = _frames(arrays, notes)
        num_frames = len(frames)
        return Trajectory(
            frames=frames,
            actions=_actions(arrays, num_frames, notes),
            labels=_labels(arrays, "labels", num_frames),
            visual_labels=_labels(arrays, "visual_labels", num_frames),
            state=_optional_table(arrays, "state", num_frames, len(STATE_COLUMNS), notes),
            track_ahead=_optional_table(arrays, "track_ahead", num_frames, NUM_TILES_AHEAD, notes),
            dt=_dt(arrays, notes),
            name=path.name.removesuffix(".npz"),
            notes=tuple(notes),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _load(path: Path) -> dict[str, np.ndarray]:
    keys = ("frames", "actions", "labels", "visual_labels", "state", "track_ahead", "dt", "schema")
    try:
        # Opened here, because numpy forgets to close what it cannot read.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, Mapping):
                raise ValueError("a single array")
            with archive:
                found = sorted(archive)
                arrays = {key: archive[key] for key in keys if key in found}
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise ValueError(f"{path}: expected an npz archive of plain arrays, got {_reason(error)}") from None
    for key in ("frames", "actions"):
        if key not in arrays:
            raise ValueError(f"{path}: {key}: expected this key, got only {', '.join(found) or 'an empty archive'}")
    return arrays


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "allow_pickle" in text:
        return "pickled objects, which are never loaded because they can run code"
    return text or type(error).__name__


def _check_schema(arrays: Mapping[str, np.ndarray]) -> None:
    schema = arrays.get("schema", np.int64(SCHEMA))
    if schema.ndim or schema.dtype.kind not in "iu" or not 1 <= schema <= SCHEMA:
        raise ValueError(f"schema: expected 1 to {SCHEMA}, got {_describe(schema)}")


def _frames(arrays: Mapping[str, np.ndarray], notes: list[str]) -> Frames:
    frames = arrays["frames"]
    expected = f"uint8 [T, {SIZE}, {SIZE}, 3] with T >= 2"
    if frames.ndim == 4 and frames.shape[1:] == (3, SIZE, SIZE):
        notes.append("frames: channels first, moved to the end")
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[1:] != (SIZE, SIZE, 3) or len(frames) < 2:
        raise ValueError(f"frames: expected {expected}, got {_describe(arrays['frames'])}")
    if frames.dtype.kind == "f":
        # NaN fails this comparison too.
        if not (frames.min() >= 0 and frames.max() <= 1):
            raise ValueError(f"frames: expected floats in [0, 1], got {_range(frames)}")
        notes.append(f"frames: {frames.dtype} in [0, 1], converted to uint8")
        frames = np.rint(frames * 255)
    elif frames.dtype != np.uint8:
        raise ValueError(f"frames: expected {expected}, got {_describe(arrays['frames'])}")
    return np.ascontiguousarray(frames, dtype=np.uint8)


def _actions(
    arrays: Mapping[str, np.ndarray], num_frames: int, notes: list[str]
) -> Float32[np.ndarray, "time actions"]:
    found = arrays["actions"]
    lengths = (num_frames, num_frames - 1)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) not in lengths:
        expected = f"numbers [T, A] with T = {num_frames} as in frames (or one fewer)"
        raise ValueError(f"actions: expected {expected}, got {_describe(found)}")
    actions = _finite(found, "actions")
    if len(actions) < num_frames:
        # Nothing is predicted from the last action; repeating one keeps it inside the others' statistics.
        notes.append("actions: one fewer than frames, the last one repeated")
        actions = np.concatenate([actions, actions[-1:]])
    return actions


def _labels(arrays: Mapping[str, np.ndarray], key: str, num_frames: int) -> Labels:
    if key not in arrays:
        return np.full(num_frames, UNKNOWN, np.int8)
    labels = arrays[key]
    if labels.shape != (num_frames,) or labels.dtype.kind not in "iu":
        raise ValueError(f"{key}: expected whole numbers [{num_frames}], one per frame, got {_describe(labels)}")
    if labels.min() < UNKNOWN or labels.max() > RIGHT:
        raise ValueError(f"{key}: expected 0 left, 1 center, 2 right or -1 unknown, got {_range(labels)}")
    return labels.astype(np.int8)


def _optional_table(
    arrays: Mapping[str, np.ndarray], key: str, num_frames: int, num_columns: int, notes: list[str]
) -> Float32[np.ndarray, "time columns"] | None:
    if key not in arrays:
        return None
    table = arrays[key]
    if table.ndim != 2 or len(table) != num_frames or table.dtype.kind not in "fiu":
        raise ValueError(f"{key}: expected numbers [{num_frames}, {num_columns}], got {_describe(table)}")
    if table.shape[1] != num_columns:
        # Other people's `state` means something else; only the oracle's row needs ours.
        notes.append(f"{key}: expected {num_columns} columns, got {table.shape[1]}, left out")
        return None
    return _finite(table, key)


def _dt(arrays: Mapping[str, np.ndarray], notes: list[str]) -> float:
    if "dt" not in arrays:
        notes.append(f"dt: missing, taken as {DT_S} s")
        return DT_S
    dt = arrays["dt"]
    if dt.size != 1 or dt.dtype.kind not in "fiu" or not 0 < dt.item() < np.inf:
        raise ValueError(f"dt: expected a number of seconds > 0, got {_describe(dt)}")
    # By way of its shortest text, so that a float32 0.08 comes back as 0.08.
    return float(str(dt.reshape(())))


def _finite(array: np.ndarray, key: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    bad = ~np.isfinite(array)
    if bad.any():
        first = int(np.argwhere(bad)[0, 0])
        raise ValueError(f"{key}: expected finite numbers, got {int(bad.sum())} NaN or infinite, first in row {first}")
    return array


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.item()!r}" if array.ndim == 0 else f"{array.dtype} {list(array.shape)}"


def _range(array: np.ndarray) -> str:
    return f"{array.min()} to {array.max()}"
