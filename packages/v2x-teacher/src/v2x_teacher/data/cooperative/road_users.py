"""Labelled road users: boxes from cooperative labels, without the vehicle that carries the camera."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from v2x_teacher.data.cooperative.calibration import inverse
from v2x_teacher.data.documents import number, read_json, shown
from v2x_teacher.data.recording import Box

Transform = Float64[np.ndarray, "4 4"]


def read_boxes(path: str | Path, world_from_label: Transform, ego_in_world: Float64[np.ndarray, " 3"]) -> list[Box]:
    """Boxes of one label file, in the world.

    Left out: boxes without size, which official files have, and the one around `ego_in_world`: some labels contain the
    recording vehicle itself.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be understood.
    """
    try:
        rows = read_json(path)
        if not isinstance(rows, list):
            raise ValueError(f"expected a list of labels, got {shown(rows)}")
        boxes = [box for row in rows if (box := _box(row, world_from_label))]
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return [box for box in boxes if not _contains(box, ego_in_world)]


def _box(row: object, world_from_label: Transform) -> Box | None:
    if not isinstance(row, Mapping):
        raise ValueError(f"expected labels with named fields, got {shown(row)}")
    kind, track = row.get("type"), row.get("track_id")
    if not isinstance(kind, str):
        raise ValueError(f"type: expected a name such as 'Car', got {shown(kind)}")
    corners = row.get("world_8_points")
    label_from_box, size = _from_corners(corners) if corners is not None else _from_fields(row)
    if min(size) <= 0:
        return None
    known = isinstance(track, int | str) and str(track) not in ("", "-1")
    seen_by = side if (side := row.get("from_side")) in ("veh", "inf", "coop") else None
    return Box(kind, str(track) if known else None, world_from_label @ label_from_box, size, seen_by)


def _from_fields(row: Mapping[str, object]) -> tuple[Transform, tuple[float, float, float]]:
    x, y, z = _numbers(row, "3d_location", "xyz")
    yaw = number(row.get("rotation"))
    return _upright(x, y, z, yaw), _numbers(row, "3d_dimensions", "lwh")


def _numbers(row: Mapping[str, object], field: str, names: Sequence[str]) -> tuple[float, float, float]:
    values = row.get(field)
    if not isinstance(values, Mapping) or not set(names) <= values.keys():
        raise ValueError(f"{field}: expected {', '.join(names)}, got {shown(values)}")
    a, b, c = (number(values[name]) for name in names)
    return a, b, c


def _from_corners(points: object) -> tuple[Transform, tuple[float, float, float]]:
    """The box around 8 corners in any order: its axes are those along which they spread most and least.

    Officially the first, second, fifth and sixth are the front; that only decides which way x points.
    """
    try:
        corners = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        corners = np.zeros(0)
    if corners.shape != (8, 3) or not np.isfinite(corners).all():
        raise ValueError(f"world_8_points: expected 8 corners of 3 numbers, got {shown(points)}")
    centre = corners.mean(axis=0)
    around = corners - centre
    # Half the edge is the standard deviation along it.
    variances, axes = np.linalg.eigh(around[:, :2].T @ around[:, :2] / 8)
    width, length = 2 * np.sqrt(np.maximum(variances, 0))
    heights = np.sort(corners[:, 2])
    forward = axes[:, 1]
    if forward @ around[[0, 1, 4, 5], :2].sum(axis=0) < 0:
        forward = -forward
    size = (float(length), float(width), float(heights[4:].mean() - heights[:4].mean()))
    return _upright(*centre, float(np.arctan2(forward[1], forward[0]))), size


def _upright(x: float, y: float, z: float, yaw: float) -> Transform:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1]])


def _contains(box: Box, point: Float64[np.ndarray, " 3"]) -> bool:
    """Seen from above: reference points lie on the ground, on the roof, or between them."""
    inside = inverse(box.world_from_box) @ [*point, 1.0]
    return bool(abs(inside[0]) <= box.size_m[0] / 2 and abs(inside[1]) <= box.size_m[1] / 2)
