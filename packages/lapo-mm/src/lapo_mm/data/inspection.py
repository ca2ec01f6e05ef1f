"""One episode of a dataset, and everything that is wrong with it at once."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import h5py
import numpy as np
from gymnasium import Space, spaces

from lapo_mm.data import hdf5, jpeg
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.problems import Problem
from lapo_mm.data.roles import Roles
from lapo_mm.data.spaces import leaves

LOSSY = "stored as JPEG, so these are not the pictures that were seen; record with jpeg_encoding=False"
_EDGE = 1e-5
"""How far beyond the action box still counts as on its edge, as a share of its width: rounding."""

Rows = int | None
"""Expected number of rows; None where nothing says how many there should be."""


def inspect(
    group: h5py.Group, info: DatasetInfo, source: str, index: int, roles: Roles | None = None
) -> tuple[Episode | None, list[Problem]]:
    """The episode, or None where it cannot be used, and what is to be said about it.

    Args:
        group: `episode_<index>` of the file.
        info: what the dataset says of all episodes.
        source: name of the file, for the problems.
        index: of the episode.
        roles: only these observations are read; None means all.
    """
    problems: list[Problem] = []

    def read(name: str, check: Callable[[h5py.Dataset], np.ndarray]) -> np.ndarray | None:
        try:
            return check(hdf5.dataset(group, name))
        except ValueError as error:
            problems.append(Problem(source, f"{name}: {error}", episode=index))
            return None

    def warn(text: str, name: str = "") -> None:
        problems.append(Problem(source, name + text, "warning", index))

    actions = read("actions", partial(_numbers, shape=(None, *info.action_space.shape)))
    steps = None if actions is None else len(actions)
    rewards = read("rewards", partial(_numbers, shape=(steps,)))
    terminations = read("terminations", partial(_flags, rows=steps))
    truncations = read("truncations", partial(_flags, rows=steps))
    frames = None if steps is None else steps + 1
    observations = {}
    for key, box in leaves(info.observation_space).items():
        if roles is not None and key not in roles.keys:
            continue
        name = array_name(info.observation_space, key)
        note = partial(warn, name=f"{name}: ")
        observations[key] = read(name, partial(_observations, box=box, rows=frames, warn=note))
    if any(problem.level == "error" for problem in problems):
        return None, problems
    ends = np.flatnonzero(terminations | truncations)
    if len(ends) and ends[0] < steps - 1:
        text = f"terminations, truncations: expected flags in the last of {steps} steps only, got one in step {ends[0]}"
        return None, [*problems, Problem(source, text, episode=index)]
    for text in [*_end(terminations, truncations), *_outside(actions, info.action_space)]:
        warn(text)
    episode = Episode(
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        infos=dict(_infos(group, frames)),
        seed=hdf5.whole_number(group, "seed"),
    )
    return episode, problems


def array_name(space: Space, key: str) -> str:
    """Where an observation is in the group of an episode."""
    return "observations" if isinstance(space, spaces.Box) else f"observations/{key}"


def _numbers(array: h5py.Dataset, shape: tuple[Rows, ...]) -> np.ndarray:
    """Finite numbers of this shape, as floats."""
    _require_shape(array, shape)
    found = hdf5.read(array)
    if found.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers, got {found.dtype}")
    _require_finite(found)
    return found if found.dtype.kind == "f" else found.astype(np.float64)


def _flags(array: h5py.Dataset, rows: Rows) -> np.ndarray:
    """One truth value per step; whole numbers will do if they are 0 and 1."""
    _require_shape(array, (rows,))
    found = hdf5.read(array)
    if found.dtype.kind == "b":
        return found
    if found.dtype.kind not in "iu" or not np.isin(found, (0, 1)).all():
        raise ValueError(f"expected true and false, or 0 and 1, got {found.dtype} with other values")
    return found.astype(bool)


def _observations(array: h5py.Dataset, box: spaces.Box, rows: Rows, warn: Callable[[str], None]) -> np.ndarray:
    """What the space allows: its shape and its kind of numbers, finite; one row more than there are steps."""
    if jpeg.is_encoded(array, box.shape):
        _require_shape(array, (rows, *array.shape[1:]))
        warn(LOSSY)
        return jpeg.decoded(array, box.shape)
    if rows is not None and array.shape == (rows - 1, *box.shape):
        raise ValueError(f"expected {rows} rows, one more than there are actions, got as many: the last one is missing")
    _require_shape(array, (rows, *box.shape))
    if array.dtype.kind != box.dtype.kind or (box.dtype.kind != "f" and array.dtype != box.dtype):
        raise ValueError(f"expected {box.dtype} as in observation_space, got {array.dtype}")
    found = hdf5.read(array)
    _require_finite(found)
    if found.dtype.kind == "f":
        outside = (found < box.low - np.abs(box.low) * _EDGE) | (found > box.high + np.abs(box.high) * _EDGE)
        if outside.any():
            warn(f"expected numbers inside observation_space, got {int(outside.sum())} outside")
    return found


def _require_shape(array: h5py.Dataset, shape: tuple[Rows, ...]) -> None:
    found = array.shape or ()
    if len(found) != len(shape) or 0 in found or any(s not in (None, f) for s, f in zip(shape, found, strict=True)):
        expected = ", ".join("T" if size is None else str(size) for size in shape)
        raise ValueError(f"expected [{expected}], got {list(found)}")


def _require_finite(found: np.ndarray) -> None:
    """Also in float32, which is what networks get."""
    if found.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(found.astype(np.float32, copy=False))
    if wrong.any():
        first, count = int(np.argwhere(wrong)[0, 0]), int(wrong.sum())
        raise ValueError(f"expected finite numbers, got {count} NaN or infinite, first in row {first}")


def _end(terminations: np.ndarray, truncations: np.ndarray) -> Iterator[str]:
    if terminations[-1] and truncations[-1]:
        yield "terminations, truncations: both in the last step; it counts as terminated"
    if not terminations[-1] and not truncations[-1]:
        yield "terminations, truncations: expected one of them in the last step, got none; it counts as truncated"


def _outside(actions: np.ndarray, box: spaces.Box) -> Iterator[str]:
    slack = np.nan_to_num((box.high - box.low) * _EDGE, posinf=0.0)
    outside = int(((actions < box.low - slack) | (actions > box.high + slack)).any(axis=1).sum())
    if outside:
        yield f"actions: expected them inside action_space, got {outside} outside; a policy cannot repeat those"


def _infos(group: h5py.Group, frames: int) -> Iterator[tuple[str, np.ndarray]]:
    """What is known beside the observations, where it is numbers with a row for each of them."""
    for name in hdf5.names(group, "infos"):
        with contextlib.suppress(ValueError):
            array = hdf5.dataset(group, f"infos/{name}")
            if array.ndim and len(array) == frames and array.dtype.kind in "biuf":
                yield name, hdf5.read(array)
