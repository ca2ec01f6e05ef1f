"""D4RL's layout: one HDF5 file with the steps of all episodes behind each other.

    observations [N, ...] (an array, or a group of them), actions [N, A], rewards [N], terminals [N],
    timeouts [N], next_observations [N, ...]: one of these two says where episodes were cut

Source of the layout: Farama-Foundation/D4RL:d4rl/offline_env.py.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool

from drivelab_shared.errors import UserError
from lapo_mm.data import hdf5
from lapo_mm.data.episodes import Episode
from lapo_mm.data.importers.pieces import assembled, loss_note
from lapo_mm.data.spaces import SINGLE

_CHUNK_ROWS = 4096


class D4rlFile:
    """A file of flat arrays. It is opened anew for every question, so that no handle stays behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with hdf5.opened(path) as file:
            self._num_steps = len(self._array(file, "actions"))
            self._keys = self._observation_keys(file)
            self._has_next = "next_observations" in hdf5.names(file)
            self._has_timeouts = "timeouts" in hdf5.names(file)
            if not self._has_next and not self._has_timeouts:
                expected = "timeouts: expected this key, or next_observations, to tell where an episode was cut"
                raise UserError(f"{path}: {expected}, got neither (all false if every episode ends with a terminal)")
            for name in ["rewards", "terminals", *(["timeouts"] if self._has_timeouts else []), *self._frame_names]:
                self._require_length(self._array(file, name), name)

    def observation_forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each observation."""
        with hdf5.opened(self._path) as file:
            arrays = {key: self._array(file, name) for key, name in self._keys.items()}
            return {key: (array.shape[1:], array.dtype) for key, array in arrays.items()}

    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each number of an action."""
        with hdf5.opened(self._path) as file:
            actions = self._read(file, "actions")
        if actions.ndim != 2 or actions.dtype.kind != "f":
            raise UserError(f"{self._path}: actions: expected floats [N, A], got {actions.dtype} {list(actions.shape)}")
        return actions.min(axis=0), actions.max(axis=0)

    def note(self) -> str:
        """What had to be left out."""
        cut = [end for _, end in self._spans if not self._terminals[end - 1]]
        return "" if self._has_next else loss_note(len(cut))

    def episodes(self) -> Iterator[Episode]:
        """All of them in order; the last one ends with the file, flagged or not."""
        with hdf5.opened(self._path) as file:
            for first, end in self._spans:
                rows = slice(first, end)
                observations = {key: self._read(file, name, rows) for key, name in self._keys.items()}
                if self._has_next:
                    last = slice(end - 1, end)
                    for key, name in self._keys.items():
                        after = self._read(file, f"next_{name}", last)
                        observations[key] = np.concatenate([observations[key], after])
                actions, rewards = self._read(file, "actions", rows), self._read(file, "rewards", rows)
                episode = assembled(observations, actions, rewards, bool(self._terminals[end - 1]))
                if episode is not None:
                    yield episode

    @property
    def _frame_names(self) -> list[str]:
        prefixes = ("", "next_") if self._has_next else ("",)
        return [prefix + name for prefix in prefixes for name in self._keys.values()]

    @cached_property
    def _terminals(self) -> Bool[np.ndarray, " steps"]:
        return self._flags("terminals")

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        """First step of each episode, and the one behind its last."""
        ends = self._terminals | (self._flags("timeouts") if self._has_timeouts else self._jumps())
        ends[-1] = True
        stops = np.flatnonzero(ends) + 1
        return list(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True))

    def _flags(self, name: str) -> Bool[np.ndarray, " steps"]:
        with hdf5.opened(self._path) as file:
            found = self._read(file, name)
        if not np.isin(found, (0, 1)).all():
            raise UserError(f"{self._path}: {name}: expected true and false, or 0 and 1, got other values")
        return found.astype(bool)

    def _jumps(self) -> Bool[np.ndarray, " steps"]:
        """Where the next observation is not the one that the next row starts from: another episode begins there."""
        jumps = np.zeros(self._num_steps, dtype=bool)
        with hdf5.opened(self._path) as file:
            for name in self._keys.values():
                for first in range(0, self._num_steps - 1, _CHUNK_ROWS):
                    end = min(first + _CHUNK_ROWS, self._num_steps - 1)
                    after = self._read(file, f"next_{name}", slice(first, end))
                    differs = after != self._read(file, name, slice(first + 1, end + 1))
                    jumps[first:end] |= differs.reshape(end - first, -1).any(axis=1)
        return jumps

    def _observation_keys(self, file: h5py.File) -> dict[str, str]:
        """Name in the file by key."""
        found = self._guarded("observations", lambda: hdf5.member(file, "observations"))
        if not isinstance(found, h5py.Group):
            return {SINGLE: "observations"}
        return {key: f"observations/{key}" for key in hdf5.names(found)}

    def _array(self, file: h5py.File, name: str) -> h5py.Dataset:
        array = self._guarded(name, lambda: hdf5.dataset(file, name))
        if not array.shape or not len(array):
            raise UserError(f"{self._path}: {name}: expected a row per step, got {list(array.shape or ())}")
        return array

    def _read(self, file: h5py.File, name: str, rows: slice = slice(None)) -> np.ndarray:
        return self._guarded(name, lambda: hdf5.read(self._array(file, name), rows))

    def _guarded(self, name: str, read: Callable[[], object]) -> object:
        try:
            return read()
        except ValueError as error:
            raise UserError(f"{self._path}: {name}: {error}") from None

    def _require_length(self, array: h5py.Dataset, name: str) -> None:
        if len(array) != self._num_steps:
            raise UserError(f"{self._path}: {name}: expected {self._num_steps} rows as in actions, got {len(array)}")
