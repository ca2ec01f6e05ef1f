"""Rotations, translations and lenses of DAIR-V2X and V2X-Seq: the same numbers in slightly different wrappings.

Transforms are named `destination_from_source`, as everywhere; the files are named `source_to_destination`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64

from v2x_teacher.data.documents import number, read_json, shown

ROTATION_TOLERANCE = 0.05
"""Largest entry of |R^T R - 1| that is repaired: rounded and roughly calibrated rotations. More is no rotation."""
EXACT = 1e-6
"""Smaller than this it is left as it is."""


def rigid_row(document: object) -> list[float]:
    """The 12 numbers of a 3 x 4 transform, row by row, from {rotation, translation} or {transform: {...}}.

    Raises:
        ValueError: it has no such numbers. Whether they are a rotation is for `rigid_transforms` to say.
    """
    try:
        if "transform" in document:
            document = document["transform"]
        r, t = document["rotation"], document["translation"]
        (a, b, c), (d, e, f), (g, h, i) = r
        x, y, z = (entry[0] if isinstance(entry, list) else entry for entry in t)
        return list(map(float, (a, b, c, x, d, e, f, y, g, h, i, z)))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        expected = "rotation, 3 x 3 numbers, and translation, 3 numbers"
        raise ValueError(f"expected {expected}, got {shown(document)}") from None


def rigid_transforms(
    rows: Sequence[Sequence[float]],
) -> tuple[Float64[np.ndarray, "rows 4 4"], Bool[np.ndarray, " rows"], Float64[np.ndarray, " rows"]]:
    """Transforms whose rotation is exactly one, which rows are valid, and how far each rotation was off.

    Rotations that are off by at most `ROTATION_TOLERANCE` are replaced by the nearest one (the orthogonal factor of the
    polar decomposition). Mirrors, scalings and numbers that are not finite are invalid.
    """
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, :3] = np.array(rows, dtype=np.float64).reshape(-1, 3, 4)
    finite = np.isfinite(matrices).all(axis=(1, 2))
    rotation = np.where(finite[:, None, None], matrices[:, :3, :3], np.eye(3))
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(rotation.transpose(0, 2, 1) @ rotation - np.eye(3)).max(axis=(1, 2), initial=0.0)
        valid = finite & (off <= ROTATION_TOLERANCE) & (np.linalg.det(rotation) > 0)
    repair = valid & (off > EXACT)
    left, _, right = np.linalg.svd(rotation[repair])
    matrices[repair, :3, :3] = left @ right
    return matrices, valid, off


def not_a_rotation(off: float) -> str:
    """What is wrong with a rotation that `rigid_transforms` called invalid."""
    found = "one that mirrors" if off <= ROTATION_TOLERANCE else f"columns off by {off:.3g}"
    return f"rotation: expected orthonormal columns within {ROTATION_TOLERANCE:g} and finite numbers, got {found}"


def read_transform(path: str | Path) -> Float64[np.ndarray, "4 4"]:
    """The transform in one file, with the `relative_error` that roadside units have added to its translation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `path: expected X, got Y`.
    """
    try:
        document = read_json(path)
        matrices, valid, off = rigid_transforms([rigid_row(document)])
        if not valid[0]:
            raise ValueError(not_a_rotation(off[0]))
        matrices[0, :2, 3] += offset(document.get("relative_error"))
        return matrices[0]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def offset(document: object) -> tuple[float, float]:
    """(x, y) of {delta_x, delta_y}, metres. Empty texts, and no offset at all, are 0: nobody measured it.

    Raises:
        ValueError: anything else.
    """
    if document in (None, ""):
        return 0.0, 0.0
    if not isinstance(document, Mapping) or not {"delta_x", "delta_y"} <= document.keys():
        raise ValueError(f"expected delta_x and delta_y, got {shown(document)}")
    x, y = (0.0 if document[key] == "" else number(document[key]) for key in ("delta_x", "delta_y"))
    return x, y


def read_intrinsics(path: str | Path) -> Float[np.ndarray, "3 3"]:
    """Camera matrix in pixels, from `P` (3 x 4) where there is one, else `cam_K` (3 x 3), both row by row.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `path: expected X, got Y`.

    Source: order of preference of AIR-THU/UniV2X.
    """
    document = read_json(path)
    try:
        if not isinstance(document, Mapping) or not {"P", "cam_K"} & document.keys():
            raise ValueError(f"expected P or cam_K, got {shown(document)}")
        key, columns = ("P", 4) if "P" in document else ("cam_K", 3)
        values = document[key]
        if not isinstance(values, list) or len(values) != 3 * columns:
            raise ValueError(f"{key}: expected {3 * columns} numbers, got {shown(values)}")
        matrix = np.array([number(value) for value in values]).reshape(3, columns)[:, :3]
        if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and np.array_equal(matrix[2], [0, 0, 1])):
            raise ValueError(f"{key}: expected positive focal lengths and a last row 0 0 1, got {shown(values)}")
        return matrix
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def inverse(transform: Float64[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """The way back, of a rigid transform."""
    result = np.zeros_like(transform)
    back = np.swapaxes(transform[..., :3, :3], -1, -2)
    result[..., :3, :3] = back
    result[..., :3, 3] = -(back @ transform[..., :3, 3, None])[..., 0]
    result[..., 3, 3] = 1
    return result
