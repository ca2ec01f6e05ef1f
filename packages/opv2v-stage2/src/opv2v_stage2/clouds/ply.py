"""Points and colours in PLY files, ascii and binary little endian. Written in binary, as float x y z and uchar colours.

Source: Turk, The PLY Polygon File Format, 1994.
"""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_bytes

MAX_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 14
COLOURS = ("red", "green", "blue")
_TYPES = {"char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"}
_TYPES |= {"float": "<f4", "double": "<f8", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2"}
_TYPES |= {"int32": "<i4", "uint32": "<u4", "float32": "<f4", "float64": "<f8"}


def write_ply(
    path: Path, points: Float[np.ndarray, "points 3"], colours: UInt8[np.ndarray, "points 3"] | None = None
) -> None:
    """Write points, with colours where there are any. Makes missing folders."""
    dtype = [(name, "<f4") for name in "xyz"]
    dtype += [(name, "u1") for name in COLOURS] if colours is not None else []
    rows = np.empty(len(points), dtype)
    for index, name in enumerate("xyz"):
        rows[name] = points[:, index]
    for index, name in enumerate(COLOURS if colours is not None else ()):
        rows[name] = colours[:, index]
    properties = [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in dtype]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *properties, "end_header", ""]
    replace_bytes(path, "\n".join(header).encode() + rows.tobytes())


def read_ply(path: Path) -> tuple[Float32[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"] | None]:
    """Points, and colours where the file has them. Other properties are passed over, and so is all that follows.

    Raises:
        UserError: the file is missing, damaged, of another form, or says more than it holds.
    """
    try:
        content = _content(path)
        header = _header(content)
        rows = (_from_ascii if header.is_ascii else _from_binary)(content, header)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    with np.errstate(over="ignore"):
        points = np.stack([rows[name] for name in "xyz"], axis=-1).astype(np.float32)
    if not set(COLOURS) <= set(header.dtype.names) or any(header.dtype[name] != np.uint8 for name in COLOURS):
        return points, None
    return points, np.stack([rows[name] for name in COLOURS], axis=-1)


class _Header(NamedTuple):
    is_ascii: bool
    dtype: np.dtype
    """Of one vertex."""
    num_points: int
    end: int
    """Where the data begin."""


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES >> 20} MiB, got {size >> 20}")
            return file.read()
    except OSError as error:
        raise ValueError(f"expected a PLY file, got: {error.strerror}") from None


def _header(content: bytes) -> _Header:
    file = io.BytesIO(content[:MAX_HEADER_BYTES])
    lines = []
    for line in file:
        lines.append(line.decode("ascii", "replace").split())
        if lines[-1] == ["end_header"]:
            break
    else:
        raise ValueError("expected a PLY header, got none")
    lines = [words for words in lines if words and words[0] not in ("comment", "obj_info")]
    form = " ".join(lines[1]) if len(lines) > 1 else ""
    if lines[0] != ["ply"] or form not in ("format ascii 1.0", "format binary_little_endian 1.0"):
        raise ValueError(f"expected PLY, ascii or binary_little_endian 1.0, got {form[:60] or 'no format'}")
    return _Header("ascii" in form, *_vertices(lines[2:-1]), file.tell())


def _vertices(lines: list[list[str]]) -> tuple[np.dtype, int]:
    """Type and number of the vertices, which have to come first."""
    first = lines[0] if lines else []
    count = first[2] if len(first) == 3 and first[:2] == ["element", "vertex"] else ""
    if not (count.isascii() and count.isdigit() and len(count) <= 12):
        raise ValueError(f"expected `element vertex COUNT` first, got {' '.join(first)[:60]!r}")
    fields: dict[str, str] = {}
    for words in lines[1:]:
        if words[0] == "element":
            break
        if len(words) != 3 or words[0] != "property" or words[1] not in _TYPES or words[2] in fields:
            raise ValueError(f"expected `property TYPE NAME`, each once, got {' '.join(words)[:60]!r}")
        fields[words[2]] = _TYPES[words[1]]
    if missing := [name for name in "xyz" if name not in fields]:
        raise ValueError(f"vertex: expected x, y and z, got no {missing[0]}")
    return np.dtype(list(fields.items())), int(count)


def _from_binary(content: bytes, header: _Header) -> np.ndarray:
    size = header.num_points * header.dtype.itemsize
    if len(content) - header.end < size:
        found = len(content) - header.end
        raise ValueError(f"expected {header.num_points} points in {size} bytes, got {found} bytes")
    return np.frombuffer(content, header.dtype, header.num_points, header.end)


def _from_ascii(content: bytes, header: _Header) -> np.ndarray:
    width = len(header.dtype.names)
    if 2 * width * header.num_points > len(content) - header.end + 1:
        raise ValueError(f"expected {header.num_points} points, got a file that is too short for them")
    if not header.num_points:
        return np.zeros(0, header.dtype)
    text = io.StringIO(content[header.end :].decode("ascii", "replace"))
    try:
        rows = np.loadtxt(text, header.dtype, comments=None, ndmin=1, max_rows=header.num_points)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected rows of {width} numbers, got: {' '.join(str(error).split())}") from None
    if len(rows) < header.num_points:
        raise ValueError(f"expected {header.num_points} points, got {len(rows)}")
    return rows
