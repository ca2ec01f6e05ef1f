"""Arrays of an HDF5 file from outside: read only what is inside this very file, and only what fits into memory.

HDF5 can point elsewhere: a link or a virtual or external dataset reads any file that the user may read.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from drivelab_shared.errors import UserError

MAX_BYTES = 2 << 30
"""Of one array, unpacked. More is taken for an attack."""
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on damaged files."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises:
        UserError: there is none, or it is no whole HDF5 file.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected an HDF5 file, got {'a folder' if path.is_dir() else 'none'}")
    try:
        file = h5py.File(path, "r")
    except _BROKEN as error:
        raise UserError(f"{path}: expected a whole HDF5 file, got: {reason(error)}") from None
    with file:
        yield file


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """What is at `path` below the group, None where there is nothing.

    Raises:
        ValueError: the way leads through a link, or is damaged.
    """
    found: h5py.Group | h5py.Dataset = group
    for name in path.split("/"):
        try:
            link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
            if isinstance(link, h5py.HardLink):
                found = found[name]
        except _BROKEN as error:
            raise ValueError(f"expected an array, got damaged ones: {reason(error)}") from None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError("expected an array in this file, got a link, which is never followed")
    return found


def names(group: h5py.Group, path: str = "") -> list[str]:
    """What is in a group, or in the one at `path` below it; nothing if there is none, or it is damaged."""
    try:
        found = member(group, path) if path else group
        return list(found.keys()) if isinstance(found, h5py.Group) else []
    except _BROKEN:
        return []


def dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """The array at `path`, not yet read.

    Raises:
        ValueError: there is none, or its numbers are in another file.
    """
    found = member(group, path)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"expected an array, got {'none' if found is None else 'a group'}")
    try:
        if found.is_virtual or found.external:
            raise ValueError("expected an array in this file, got one that lies in another, which is never opened")
        found.dtype  # noqa: B018 - there are types in HDF5 that numpy does not know
    except _BROKEN as error:
        raise ValueError(reason(error)) from None
    return found


def read(array: h5py.Dataset, rows: slice = slice(None)) -> np.ndarray:
    """The numbers of an array, or of some of its rows.

    Raises:
        ValueError: they are no numbers, too many, or damaged.
    """
    shape, dtype = array.shape, array.dtype
    if dtype.kind not in "biuf" or shape is None:
        raise ValueError(f"expected numbers, got {dtype}")
    num_rows = len(range(*rows.indices(shape[0]))) if shape else 1
    size = num_rows * dtype.itemsize * math.prod(shape[1:])
    if size > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES >> 30} GiB, got {size / (1 << 30):.1f}")
    try:
        return array[rows] if shape else array[()]
    except _BROKEN as error:
        raise ValueError(f"expected numbers, got damaged ones: {reason(error)}") from None


def whole_number(group: h5py.Group, name: str) -> int | None:
    """An attribute; None where there is none, or something else."""
    try:
        found = group.attrs.get(name)
    except _BROKEN:
        return None
    return int(found) if isinstance(found, np.integer) else None


def reason(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()).strip("'\"") or type(error).__name__
