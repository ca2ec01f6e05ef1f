"""A folder of npz files, one per episode of T steps.

    observations, observations/<key> or obs_<key> [T or T + 1, ...], actions [T, A], rewards [T],
    terminals [T], or terminations [T] and truncations [T]

Episodes are in natural order of the files' names.
"""

import re
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import Episode
from lapo_mm.data.hdf5 import MAX_BYTES, reason
from lapo_mm.data.importers.pieces import assembled, is_lost, loss_note
from lapo_mm.data.spaces import SINGLE

_OBSERVATION = re.compile(r"(?:observations/|obs_)(?P<key>.+)|observations")


class NpzFolder:
    """A folder of episodes. Every file is read as often as a question needs it, and none is kept."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.npz"), key=_natural)
        if not self._paths:
            raise UserError(f"{folder}: source: expected npz files, one per episode, got none")

    def observation_forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each observation, as in the first file."""
        observations = _observations(_load(self._paths[0]), self._paths[0])
        return {key: (array.shape[1:], array.dtype) for key, array in observations.items()}

    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each number of an action."""
        lows, highs, _ = zip(*self._facts, strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def note(self) -> str:
        """What had to be left out."""
        return loss_note(sum(lost for _, _, lost in self._facts))

    def episodes(self) -> Iterator[Episode]:
        """All of them in order.

        Raises:
            UserError: a file has other observations than the first one.
        """
        forms = self.observation_forms()
        for path in self._paths:
            arrays = _load(path)
            observations = _observations(arrays, path)
            found = {key: (array.shape[1:], array.dtype) for key, array in observations.items()}
            if found != forms:
                raise UserError(f"{path}: observations: expected {forms} as in {self._paths[0].name}, got {found}")
            episode = assembled(observations, arrays["actions"], arrays["rewards"], _is_terminal(arrays, path))
            if episode is not None:
                yield episode

    @cached_property
    def _facts(self) -> list[tuple[np.ndarray, np.ndarray, bool]]:
        """Of each file: extremes of its actions, and whether its last step is lost."""
        return [_facts(path) for path in self._paths]


def _natural(path: Path) -> list[str | int]:
    """Puts episode2 before episode10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", path.name)]


def _facts(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    arrays = _load(path)
    actions = arrays["actions"]
    num_frames = len(next(iter(_observations(arrays, path).values())))
    return actions.min(axis=0), actions.max(axis=0), is_lost(num_frames, len(actions), _is_terminal(arrays, path))


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, the ones that every episode needs checked."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise ValueError(f"{size / (1 << 30):.1f} GiB, more than {MAX_BYTES >> 30}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as loaded:
                arrays = {key: loaded[key] for key in loaded}
    except Exception as error:  # broken archives raise whatever zipfile, zlib, numpy or its parser stumble over
        raise UserError(f"{path}: expected an npz archive of plain arrays, got: {reason(error)}") from None
    for key, ndim in {"actions": 2, "rewards": 1}.items():
        array = arrays.get(key)
        if array is None or array.ndim != ndim or array.dtype.kind != "f" or not len(array):
            found = "none" if array is None else f"{array.dtype} {list(array.shape)}"
            raise UserError(f"{path}: {key}: expected floats {'[T, A]' if ndim == 2 else '[T]'}, got {found}")
    if len(arrays["rewards"]) != len(arrays["actions"]):
        found = f"{len(arrays['actions'])} actions and {len(arrays['rewards'])} rewards"
        raise UserError(f"{path}: expected an action and a reward per step, got {found}")
    return arrays


def _observations(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    steps = len(arrays["actions"])
    found = {match["key"] or SINGLE: arrays[name] for name in arrays if (match := _OBSERVATION.fullmatch(name))}
    if not found:
        raise UserError(f"{path}: observations: expected observations, observations/<key> or obs_<key>, got none")
    lengths = {len(array) if array.ndim else 0 for array in found.values()}
    if lengths not in ({steps}, {steps + 1}):
        expected = f"{steps + 1} rows, one more than there are actions (or as many)"
        raise UserError(f"{path}: observations: expected {expected}, got {' and '.join(map(str, sorted(lengths)))}")
    return found


def _is_terminal(arrays: dict[str, np.ndarray], path: Path) -> bool:
    """Whether the task was over with the last step."""
    steps = len(arrays["actions"])
    flags = {name: arrays[name] for name in ("terminals", "terminations", "truncations") if name in arrays}
    if not flags.keys() & {"terminals", "terminations"}:
        raise UserError(f"{path}: terminals: expected terminals, or terminations and truncations, got neither")
    for name, array in flags.items():
        if array.shape != (steps,) or not np.isin(array, (0, 1)).all():
            found = f"{array.dtype} {list(array.shape)}"
            raise UserError(f"{path}: {name}: expected {steps} times true or false, got {found}")
        if array[:-1].any():
            raise UserError(f"{path}: {name}: expected one episode per file, got an end in step {array.argmax()}")
    return bool(flags.get("terminals", flags.get("terminations"))[-1])
