"""Datasets in Minari's layout, read and written with h5py alone.

    <root>/[<namespace>/]<name>-v<number>/data/metadata.json
                                         /data/main_data.hdf5: episode_<i>/observations[/<key>], actions, rewards,
                                                               terminations, truncations, infos/<key>

An episode of T steps has T + 1 observations and infos. Pictures are written raw: Minari's default, JPEG, loses what
sharp edges say. It is decoded where others have used it.

Source of the layout: Farama-Foundation/Minari:minari/dataset/_storages/hdf5_storage.py, version 0.5.4.
"""

import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from drivelab_shared.errors import UserError
from lapo_mm.data import hdf5
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.inspection import array_name, inspect
from lapo_mm.data.metadata import METADATA, described, interpreted, read_metadata
from lapo_mm.data.spaces import leaves

MAIN_FILE = "data/main_data.hdf5"
NAMESPACE_FILE = "namespace_metadata.json"
_EPISODE = re.compile(r"episode_(0|[1-9]\d{0,8})")
_CHUNK_BYTES = 4 << 20
_PAYS = 0.8
"""Compressed where the first bytes of an array shrink to less than this share."""


def write_dataset(folder: Path, info: DatasetInfo, episodes: Iterable[Episode]) -> None:
    """Write a dataset, which appears whole or not at all. Episodes are written as they come, one in memory at a time.

    Raises:
        UserError: the folder exists, or is not where a dataset of this id belongs.
        ValueError: an episode does not fit the spaces; there are none.
    """
    if folder.exists():
        raise UserError(f"{folder}: data_dir: expected a new folder (data are never overwritten), got one that exists")
    parts = tuple(info.dataset_id.split("/"))
    if folder.absolute().parts[-len(parts) :] != parts:
        raise UserError(f"{folder}: data_dir: expected a folder that ends in {info.dataset_id}, the dataset's id")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as aside:
        written = Path(aside) / folder.name
        (written / MAIN_FILE).parent.mkdir(parents=True)
        counts = _write_episodes(written / MAIN_FILE, info, episodes)
        megabytes = round((written / MAIN_FILE).stat().st_size / 1e6, 1)
        metadata = {**described(info), **counts, "dataset_size": megabytes}
        (written / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
        os.rename(written, folder)
    namespace = folder.parent / NAMESPACE_FILE
    if len(parts) > 1 and not namespace.exists():
        namespace.write_text("{}", encoding="utf-8")  # without it Minari does not list the namespace


def _write_episodes(path: Path, info: DatasetInfo, episodes: Iterable[Episode]) -> dict[str, int]:
    counts = {"total_episodes": 0, "total_steps": 0}
    with h5py.File(path, "w", track_order=True) as file:
        for index, episode in enumerate(episodes):
            group = file.create_group(f"episode_{index}")
            _write_episode(group, info, episode)
            group.attrs["id"] = index
            group.attrs["total_steps"] = len(episode)
            if episode.seed is not None:
                group.attrs["seed"] = episode.seed
            counts = {"total_episodes": index + 1, "total_steps": counts["total_steps"] + len(episode)}
    if not counts["total_episodes"]:
        raise ValueError("episodes: expected at least one, got none")
    return counts


def _write_episode(group: h5py.Group, info: DatasetInfo, episode: Episode) -> None:
    for key in leaves(info.observation_space):
        _write(group, array_name(info.observation_space, key), episode.observations[key])
    for name in ("actions", "rewards", "terminations", "truncations"):
        _write(group, name, getattr(episode, name))
    for key, array in episode.infos.items():
        _write(group, f"infos/{key}", array)
    # Read back, so that nothing is written that cannot be read.
    _, problems = inspect(group, info, "", 0)
    wrong = [problem.text for problem in problems if problem.level == "error"]
    if wrong:
        raise ValueError(f"{group.name[1:]}: {wrong[0]}")


def _write(group: h5py.Group, name: str, array: np.ndarray) -> None:
    array = np.ascontiguousarray(array)
    sample = array.reshape(-1)[: (64 << 10) // array.itemsize].tobytes()
    options = {}
    if len(sample) > 4096 and len(zlib.compress(sample, 1)) < _PAYS * len(sample):
        rows = min(len(array), max(1, _CHUNK_BYTES // array[0].nbytes))
        options = {"compression": "gzip", "compression_opts": 1, "chunks": (rows, *array.shape[1:])}
    group.create_dataset(name, data=array, **options)


def read_info(folder: Path) -> DatasetInfo:
    """What is known of the whole dataset in this folder.

    Raises:
        UserError: there is none, or its metadata cannot be used.
    """
    return interpreted(read_metadata(folder), folder)


def read_episodes(folder: Path, info: DatasetInfo | None = None) -> Iterator[Episode]:
    """All episodes in order, one in memory at a time.

    Args:
        folder: of the dataset.
        info: what `read_info` says of it, if that is known already.

    Raises:
        UserError: the file or an episode is damaged.
    """
    info = info or read_info(folder)
    path = folder / MAIN_FILE
    with hdf5.opened(path) as file:
        for index, group in episode_groups(file).items():
            episode, problems = inspect(group, info, str(path), index)
            if episode is None:
                first = next(problem for problem in problems if problem.level == "error")
                raise UserError(f"{first} (run check-data to see all problems)")
            yield episode


def episode_groups(file: h5py.File) -> dict[int, h5py.Group]:
    """The episodes of an open file by their index, in order. Links are left out, and so is what has another name."""
    found = {}
    for name in hdf5.names(file):
        if match := _EPISODE.fullmatch(name):
            try:
                group = hdf5.member(file, name)
            except ValueError:
                continue
            if isinstance(group, h5py.Group):
                found[int(match[1])] = group
    return dict(sorted(found.items()))
