"""Datasets in other layouts, as episodes: a D4RL-style HDF5 file, or a folder of npz files, one per episode.

Neither says which environment it is from, nor what its bounds are: actions are taken to be bounded by [-1, 1] where all
are in there, else by the smallest and largest there are.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gymnasium import spaces

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.importers.d4rl import D4rlFile
from lapo_mm.data.importers.npz import NpzFolder
from lapo_mm.data.spaces import SINGLE


def import_episodes(source: Path) -> tuple[DatasetInfo, Iterator[Episode]]:
    """What is known of the dataset, and its episodes one at a time. What had to be left out is said on stderr.

    Raises:
        UserError: it is neither of the two layouts, or damaged; also while episodes are read.
    """
    if source.is_dir():
        opened: NpzFolder | D4rlFile = NpzFolder(source)
    elif source.is_file():
        opened = D4rlFile(source)
    else:
        raise UserError(f"{source}: source: expected a D4RL-style HDF5 file or a folder of npz files, got neither")
    boxes = {key: _observation_box(source, key, *form) for key, form in opened.observation_forms().items()}
    note = opened.note()
    if note:
        print(f"warning: {source}: {note}", file=sys.stderr)
    info = DatasetInfo(
        dataset_id=_id(source.stem),
        env_spec=None,
        observation_space=boxes[SINGLE] if list(boxes) == [SINGLE] else spaces.Dict(boxes),
        action_space=_action_box(opened.action_range()),
        description=f"Imported from {source.name}. {note}".strip(),
    )
    return info, opened.episodes()


def _observation_box(source: Path, key: str, shape: tuple[int, ...], dtype: np.dtype) -> spaces.Box:
    if dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    if dtype.kind != "f":
        raise UserError(f"{source}: {key}: expected floats or, for images, uint8, got {dtype}")
    return spaces.Box(-np.inf, np.inf, shape, dtype.type)


def _action_box(extremes: tuple[np.ndarray, np.ndarray]) -> spaces.Box:
    low, high = (edge.astype(np.float32) for edge in extremes)
    if (low >= -1).all() and (high <= 1).all():
        low, high = np.full_like(low, -1), np.full_like(high, 1)
    return spaces.Box(low, high, dtype=np.float32)


def _id(stem: str) -> str:
    name = re.sub(r"[^-\w]+", "-", stem, flags=re.ASCII).strip("-") or "imported"
    return name if re.search(r"-v\d+$", name) else f"{name}-v0"
