"""What can be wrong with one trajectory file, every problem at once and without trusting the file.

`trajectory.read` stops at the first problem and believes the sizes that a file declares; here the declared sizes are
checked before anything is unpacked, and every key is looked at.
"""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from latent_predictor.data import trajectory as npz
from latent_predictor.data.trajectory import Trajectory

MAX_BYTES = 2 << 30
"""Of one trajectory, unpacked: 174,000 frames, almost four hours at 12.5 Hz. More is taken for an attack."""
KEYS = ("frames", "actions", "labels", "visual_labels", "state", "track_ahead", "dt", "schema")


@dataclass(frozen=True)
class Problem:
    """One line about one file."""

    file: Path
    text: str
    """`key: expected X, got Y`."""
    level: Literal["fatal", "error", "warning"] = "error"
    """`error` costs `file` its place in the data set; `fatal` leaves nothing to go on with."""

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.text}")


def printable(line: str) -> str:
    """The line without line breaks and escape sequences: names of files and keys are somebody else's text."""
    return "".join(character if character.isprintable() else "?" for character in line)


class Header(NamedTuple):
    """What an array inside an npz file declares about itself."""

    shape: tuple[int, ...]
    dtype: np.dtype


def inspect(path: Path, min_frames: int) -> tuple[Trajectory | None, list[Problem]]:
    """The trajectory, or None where it cannot be used, and everything that is to be said about it."""
    errors = archive_errors(path)
    if errors:
        return None, [Problem(path, text) for text in errors]
    try:
        trajectory = npz.read(path)
    except (ValueError, FileNotFoundError) as error:
        texts = array_errors(path) or [str(error).removeprefix(f"{path}: ")]
        return None, [Problem(path, text) for text in texts]
    problems = [Problem(path, note, "warning") for note in trajectory.notes]
    if not {"labels", "visual_labels"} & keys(path):
        problems.append(Problem(path, "labels: none in the file, read from its pictures instead", "warning"))
    if len(trajectory) < min_frames:
        problems.append(Problem(path, f"frames: expected at least {min_frames}, got {len(trajectory)}"))
        return None, problems
    return trajectory, problems


def keys(path: Path) -> set[str]:
    """Names of the arrays in a valid file."""
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def archive_errors(path: Path) -> list[str]:
    """What forbids unpacking the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            wanted = [members[f"{key}.npy"] for key in KEYS if f"{key}.npy" in members]
            size = sum(info.file_size for info in wanted)
            if size > MAX_BYTES:
                return [f"expected at most {MAX_BYTES >> 30} GiB of unpacked arrays, got {size / (1 << 30):.1f}"]
            present = ", ".join(sorted(members)[:8]) or "an empty archive"
            missing = [key for key in ("frames", "actions") if f"{key}.npy" not in members]
            errors = [f"{key}: expected this key, got only {present}" for key in missing]
            return errors + [text for info in wanted if (text := _header_error(archive, info))]
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        return [f"expected an npz archive, got {_reason(error)}"]


def _header_error(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str | None:
    key = info.filename.removesuffix(".npy")
    try:
        with archive.open(info) as member:
            header = _read_header(member)
            data_bytes = info.file_size - member.tell()
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile) as error:
        return f"{key}: expected a numpy array, got {_reason(error)}"
    if header.dtype.hasobject:
        return f"{key}: expected plain numbers, got pickled objects, which are never loaded because they can run code"
    declared = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    if declared != data_bytes:
        return f"{key}: expected {declared} bytes for {header.dtype} {list(header.shape)}, got {data_bytes}"
    return None


def _read_header(member: zipfile.ZipExtFile) -> Header:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"npy format {version[0]}.{version[1]}")
    return Header(shape, dtype)


def array_errors(path: Path) -> list[str]:
    """What `trajectory.read` would reject, key by key instead of the first only."""
    try:
        arrays = npz._load(path)
    except ValueError as error:
        return [str(error).removeprefix(f"{path}: ")]
    frames = arrays["frames"]
    num_frames = len(frames) if frames.ndim else 0
    checks: list[Callable[[], object]] = [lambda: npz._check_schema(arrays), lambda: npz._frames(arrays, [])]
    if num_frames:
        checks += [
            lambda: npz._actions(arrays, num_frames, []),
            lambda: npz._labels(arrays, "labels", num_frames),
            lambda: npz._labels(arrays, "visual_labels", num_frames),
            lambda: npz._optional_table(arrays, "state", num_frames, len(npz.STATE_COLUMNS), []),
            lambda: npz._optional_table(arrays, "track_ahead", num_frames, npz.NUM_TILES_AHEAD, []),
        ]
    checks.append(lambda: npz._dt(arrays, []))
    errors = [text for check in checks if (text := _error_of(check))]
    if arrays["actions"].ndim and len(arrays["actions"]) == num_frames + 1:
        errors.append("actions: one more than frames (off by one: is the first one applied before the first frame?)")
    return errors


def _error_of(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ValueError as error:
        return str(error)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
