"""Large .npy files: written from front to back, there whole or not at all, mapped instead of loaded.

And small .npz files, read with doubt.
"""

import contextlib
import hashlib
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from drivelab_shared.errors import UserError

Content = TypeVar("Content")
HASH_CHUNK_BYTES = 1 << 24


class RowWriter:
    """Fills a .npy file of known shape block by block, with the memory of one block.

    Blocks are written, not mapped: on a full disk a write raises OSError, touching a mapped page kills the process.
    """

    def __init__(self, path: Path, num_rows: int, row_shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._path = path
        self._row_shape = row_shape
        self._dtype = np.dtype(dtype)
        self._missing = num_rows
        self._file = path.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (num_rows, *row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, block: np.ndarray) -> None:
        """Append rows.

        Raises:
            ValueError: rows of another shape or dtype, or more of them than the file was opened for.
        """
        if block.shape[1:] != self._row_shape or block.dtype != self._dtype or len(block) > self._missing:
            expected = f"at most {self._missing} rows of {self._dtype} {list(self._row_shape)}"
            raise ValueError(f"{self._path}: expected {expected}, got {block.dtype} {list(block.shape)}")
        self._file.write(np.ascontiguousarray(block).data)
        self._missing -= len(block)

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            # Whoever renames the file after this must not lose its content with the power.
            self._file.flush()
            os.fsync(self._file.fileno())
        if error is None and self._missing:
            raise ValueError(f"{self._path}: expected {self._missing} more rows")


def write_rows(
    path: Path, blocks: Iterable[np.ndarray], num_rows: int, row_shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> None:
    """Write a .npy file of `num_rows` rows that appears whole or not at all: if it exists, it is complete.

    Two processes may write the same file at the same time: each writes aside, and the later one replaces the earlier.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with RowWriter(aside, num_rows, row_shape, dtype) as writer:
            for block in blocks:
                writer.write(block)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_arrays(folder: Path, blocks: Iterable[Mapping[str, np.ndarray]], num_rows: int) -> None:
    """Write a folder of .npy files, one for each name, that appears whole or not at all.

    Args:
        folder: if it exists, it is complete. Two processes may write it at the same time.
        blocks: rows of all arrays, from front to back; every block has the same names. One is held at a time.
        num_rows: of all blocks together.
    """
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    aside.mkdir(parents=True)
    try:
        with contextlib.ExitStack() as stack:
            writers: dict[str, RowWriter] = {}
            for block in blocks:
                for name, rows in block.items():
                    if name not in writers:
                        writer = RowWriter(aside / f"{name}.npy", num_rows, rows.shape[1:], rows.dtype)
                        writers[name] = stack.enter_context(writer)
                    writers[name].write(rows)
        try:
            os.replace(aside, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster and wrote the same
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def map_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of such a folder by name, read-only; pages are loaded as they are touched."""
    return {path.stem: map_rows(path) for path in folder.glob("*.npy")}


def map_rows(path: Path) -> np.ndarray:
    """The array of a .npy file, read-only; pages are loaded as they are touched."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def array_hash(array: np.ndarray) -> str:
    """Of dtype, shape and content, read in pieces."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    rows = max(1, HASH_CHUNK_BYTES // max(1, array.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def read_archive(path: Path, what: str, build: Callable[[dict[str, np.ndarray]], Content]) -> Content:
    """What `build` makes of the arrays in a .npz file; pickled objects are not loaded.

    Raises:
        UserError: there is no such file, it is damaged, or `build` raises because it holds something else. The message
            says that `what` was expected.
    """
    try:
        # Opened here, because numpy leaves a broken archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return build(dict(file))
    except Exception as problem:
        # Broken archives raise whatever zipfile, zlib, numpy or its parser of headers stumble over.
        found = " ".join(str(problem).split()) or type(problem).__name__
        raise UserError(f"{path}: expected {what}, got {found}") from problem
