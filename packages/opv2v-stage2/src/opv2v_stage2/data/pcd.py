"""Point clouds in PCD files: ascii, binary and binary_compressed.

OPV2V writes ascii v0.7 with the fields x y z rgb, in the left-handed UE frame of the lidar, and packs the intensity in
the red byte of `rgb`. Source: PCL, "The PCD (Point Cloud Data) file format".
"""

import io
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt32

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_bytes
from opv2v_stage2.data import lzf

Form = Literal["ascii", "binary", "binary_compressed"]

MAX_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 14
MAX_POINT_BYTES = 1 << 14
"""Of all fields of a point."""
_KINDS = {("F", 4): "<f4", ("F", 8): "<f8"} | {
    (kind, size): f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
}
_HEADER = """\
# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z rgb
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH {num_points}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {num_points}
DATA {form}
"""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points as the file has them."""

    points: Float32[np.ndarray, "points 3"]
    """Metres, in the frame of the file: for OPV2V the UE one, y to the right."""
    intensity: Float32[np.ndarray, " points"] | None
    """0 to 1; None where the file has no `rgb`."""


class _Header(NamedTuple):
    dtype: np.dtype
    num_points: int
    form: str
    end: int
    """Where the data begin."""


def write_pcd(
    path: Path,
    points: Float[np.ndarray, "points 3"],
    intensity: Float[np.ndarray, " points"],
    form: Form = "ascii",
) -> None:
    """Write a file like the official ones. Makes missing folders.

    Args:
        path: of the file.
        points: metres, in the frame that the file is to have; ascii keeps millimetres.
        intensity: 0 to 1, of which 8 bits are kept.
        form: of the data.
    """
    red = np.round(np.clip(intensity, 0, 1) * 255).astype(np.uint32)
    header = _HEADER.format(num_points=len(points), form=form).encode()
    if form == "ascii":
        replace_bytes(path, header + _ascii(points, red))
        return
    rows = np.empty((len(points), 4), "<f4")
    rows[:, :3] = points
    rows.view("<u4")[:, 3] = red << 16
    if form == "binary":
        replace_bytes(path, header + rows.tobytes())
        return
    content = rows.T.tobytes()  # field by field, which compresses better
    small = lzf.compress(content)
    replace_bytes(path, header + struct.pack("<II", len(small), len(content)) + small)


def _ascii(points: Float[np.ndarray, "points 3"], red: UInt32[np.ndarray, " points"]) -> bytes:
    """Rows of text. All numbers are made at once as a table of bytes with gaps, four times as fast as by `%`."""
    packed = (np.arange(256, dtype=np.uint32) << 16).view(np.float32).astype("S16")[red]
    rgb = packed.view(np.uint8).reshape(len(points), packed.itemsize)
    line_end = np.full((len(points), 1), ord("\n"), np.uint8)
    table = np.concatenate([*(_decimals(values) for values in points.T), rgb, line_end], axis=1)
    return table[table > 0].tobytes()


def _decimals(values: Float[np.ndarray, " points"]) -> UInt8[np.ndarray, "points columns"]:
    """Each number with three decimals and a blank after it, as characters; 0 is a gap."""
    thousandths = np.rint(np.asarray(values, np.float64) * 1000).astype(np.int64)
    rest = np.abs(thousandths)
    num_digits = max(4, len(str(rest.max(initial=0))))
    table = np.zeros((len(values), num_digits + 3), np.uint8)
    table[:, 0] = np.where(thousandths < 0, ord("-"), 0)
    table[:, -5] = ord(".")
    table[:, -1] = ord(" ")
    places = [-2, -3, -4, *range(-6, -num_digits - 3, -1)]
    for digits_before, place in enumerate(places):
        is_leading = (rest == 0) & (digits_before > 3)
        rest, digit = np.divmod(rest, 10)
        table[:, place] = np.where(is_leading, 0, digit + ord("0"))
    return table


def read_pcd(path: Path) -> PointCloud:
    """Points and intensity; other fields may stand among x, y, z and rgb, in any order.

    Raises:
        UserError: the file is missing, damaged, or says more than it holds.
    """
    try:
        content = _content(path)
        header = _header(content)
        fields = {"ascii": _from_ascii, "binary": _from_binary, "binary_compressed": _from_compressed}[header.form](
            content[header.end :], header
        )
        return _cloud(fields)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES >> 20} MiB, got {size >> 20}")
            return file.read()
    except OSError as error:
        raise ValueError(f"expected a PCD file, got: {error.strerror}") from None


def _header(content: bytes) -> _Header:
    entries: dict[str, list[str]] = {}
    file = io.BytesIO(content[:MAX_HEADER_BYTES])
    for line in file:
        key, *values = line.decode("ascii", "replace").split() or [""]
        if not key.startswith("#"):
            entries[key] = values
        if key == "DATA":
            break
    form = " ".join(entries.get("DATA", ["no such line"]))
    if form not in ("ascii", "binary", "binary_compressed"):
        raise ValueError(f"DATA: expected ascii, binary or binary_compressed, got {form[:40]}")
    dtype, num_points = _dtype(entries), _count(entries, "POINTS")
    if "WIDTH" in entries and _count(entries, "WIDTH") * _count(entries, "HEIGHT") != num_points:
        found = f"{entries['WIDTH'][0]} x {entries['HEIGHT'][0]}"
        raise ValueError(f"POINTS: expected WIDTH x HEIGHT, got {num_points} and {found}")
    return _Header(dtype, num_points, form, file.tell())


def _count(entries: Mapping[str, list[str]], key: str) -> int:
    text = " ".join(entries.get(key, ["no such line"]))
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ValueError(f"{key}: expected a number of points, got {text[:40]}")
    return int(text)


def _dtype(entries: Mapping[str, list[str]]) -> np.dtype:
    """Of one point; fields with the same name, such as padding, are numbered."""
    names, sizes, kinds = (entries.get(key, []) for key in ("FIELDS", "SIZE", "TYPE"))
    counts = entries.get("COUNT", ["1"] * len(names))
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        raise ValueError("FIELDS, SIZE, TYPE, COUNT: expected as many entries in each, and some")
    fields = []
    for index, (name, size, kind, count) in enumerate(zip(names, sizes, kinds, counts, strict=True)):
        text = _KINDS.get((kind, int(size))) if size in ("1", "2", "4", "8") else None
        if text is None or not (count.isascii() and count.isdigit() and len(count) <= 5 and int(count) > 0):
            found = f"{kind[:9]} {size[:9]} {count[:9]}"
            raise ValueError(f"{name[:20]}: expected a TYPE with SIZE and COUNT, such as F 4 1, got {found}")
        unique = f"{name}.{index}" if name in [field[0] for field in fields] else name
        fields.append((unique, text) if count == "1" else (unique, text, (int(count),)))
    missing = [name for name in "xyz" if name not in names]
    if missing:
        raise ValueError(f"FIELDS: expected x, y and z, got no {missing[0]}")
    dtype = np.dtype(fields)
    if dtype.itemsize > MAX_POINT_BYTES:
        raise ValueError(f"SIZE: expected points of at most {MAX_POINT_BYTES} bytes, got {dtype.itemsize}")
    return dtype


def _from_ascii(content: bytes, header: _Header) -> dict[str, np.ndarray]:
    widths = [int(np.prod(header.dtype[name].shape)) for name in header.dtype.names]
    ends = np.cumsum(widths)
    if 2 * ends[-1] * header.num_points > len(content) + 1:
        raise ValueError(f"expected {header.num_points} points, got a file that is too short for them")
    if not header.num_points:
        return {name: np.zeros(0) for name in header.dtype.names}
    try:
        rows = np.loadtxt(io.StringIO(content.decode("ascii")), comments=None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"expected rows of {ends[-1]} numbers, got: {' '.join(str(error).split())}") from None
    if rows.shape != (header.num_points, ends[-1]):
        expected = f"{header.num_points} points of {ends[-1]} numbers"
        raise ValueError(f"expected {expected}, got {rows.shape[0]} of {rows.shape[1]}")
    fields = {name: rows[:, end - width] for name, end, width in zip(header.dtype.names, ends, widths, strict=True)}
    if "rgb" in fields:
        fields["rgb"] = fields["rgb"].astype(header.dtype["rgb"].base)
    return fields


def _from_binary(content: bytes, header: _Header) -> dict[str, np.ndarray]:
    size = header.num_points * header.dtype.itemsize
    if len(content) < size:
        raise ValueError(f"expected {header.num_points} points in {size} bytes, got {len(content)} bytes")
    rows = np.frombuffer(content, header.dtype, header.num_points)
    return {name: rows[name] for name in header.dtype.names}


def _from_compressed(content: bytes, header: _Header) -> dict[str, np.ndarray]:
    if len(content) < 8:
        raise ValueError(f"expected compressed points, got {len(content)} bytes")
    small, size = struct.unpack_from("<II", content)
    if size != header.num_points * header.dtype.itemsize or small > len(content) - 8:
        expected = f"{header.num_points} points of {header.dtype.itemsize} bytes in {len(content) - 8}"
        raise ValueError(f"expected {expected}, got {size} in {small}")
    content = lzf.decompress(content[8 : 8 + small], size)
    fields, position = {}, 0
    for name in header.dtype.names:
        kind = header.dtype[name]
        fields[name] = np.frombuffer(content, kind, header.num_points, position)
        position += kind.itemsize * header.num_points
    return fields


def _cloud(fields: Mapping[str, np.ndarray]) -> PointCloud:
    if any(fields[name].ndim != 1 for name in "xyz"):
        raise ValueError("COUNT: expected one number for each of x, y and z, got more")
    with np.errstate(over="ignore"):
        points = np.stack([fields[name] for name in "xyz"], axis=-1).astype(np.float32)
    if not np.isfinite(points).all():
        count = int((~np.isfinite(points)).any(axis=1).sum())
        raise ValueError(f"expected finite coordinates, got {count} points without")
    rgb = fields.get("rgb")
    if rgb is None or rgb.ndim != 1 or rgb.dtype.itemsize != 4:
        return PointCloud(points, None)
    return PointCloud(points, (rgb.view("<u4") >> 16 & 255).astype(np.float32) / 255)
