"""Cubes that space is divided into, as one number each."""

import numpy as np
from jaxtyping import Float, Int64

_BITS = 21


def voxel_keys(points: Float[np.ndarray, "points 3"], side_m: float) -> Int64[np.ndarray, " points"]:
    """The cube that each point lies in. Points more than a million cubes from the origin share the outermost ones."""
    limit = 1 << (_BITS - 1)
    cells = np.floor(np.asarray(points, np.float64) / side_m)
    x, y, z = (np.clip(cells, -limit, limit - 1).astype(np.int64) + limit).T
    return (x << 2 * _BITS) | (y << _BITS) | z


def thinned_rows(points: Float[np.ndarray, "points 3"], side_m: float) -> Int64[np.ndarray, " rows"]:
    """Rows of one point per cube, the one nearest to its middle: the order of the points does not matter."""
    keys = voxel_keys(points, side_m)
    offsets = np.asarray(points, np.float64) / side_m % 1 - 0.5
    order = np.lexsort((np.square(offsets).sum(axis=1), keys))
    is_first = np.diff(keys[order], prepend=-1) != 0
    return np.sort(order[is_first])
