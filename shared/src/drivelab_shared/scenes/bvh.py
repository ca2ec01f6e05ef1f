"""Ray tracing in numpy, for machines without Embree: a hundred times slower, and simple enough to check Embree with."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

LEAF = 4
"""Faces that share the smallest boxes."""
CHUNK = 2048
"""Rays at a time, which bounds the memory."""


class Bvh:
    """Boxes in boxes: a complete binary tree, node i above 2 i + 1 and 2 i + 2, `LEAF` faces below each last node."""

    def __init__(self, vertices: Float32[np.ndarray, "vertices 3"], faces: Int32[np.ndarray, "faces 3"]) -> None:
        triangles = vertices[faces].astype(np.float64)
        self._depth = int(np.ceil(np.log2(max(1.0, len(triangles) / LEAF))))
        order = _halved(triangles.mean(axis=1), self._depth)
        self._faces = order.reshape(-1, LEAF).astype(np.int32)
        self._corners = triangles[self._faces]
        low, high = [self._corners.min(axis=(1, 2))], [self._corners.max(axis=(1, 2))]
        for _ in range(self._depth):
            low.insert(0, low[0].reshape(-1, 2, 3).min(axis=1))
            high.insert(0, high[0].reshape(-1, 2, 3).max(axis=1))
        self._low, self._high = np.concatenate(low), np.concatenate(high)

    def nearest(
        self, origins: Float32[np.ndarray, "rays 3"], directions: Float32[np.ndarray, "rays 3"]
    ) -> tuple[Float32[np.ndarray, " rays"], Int32[np.ndarray, " rays"]]:
        """See `Tracer.nearest`."""
        distance = np.full(len(origins), np.inf, np.float32)
        face = np.full(len(origins), -1, np.int32)
        for start in range(0, len(origins), CHUNK):
            part = slice(start, start + CHUNK)
            distance[part], face[part] = self._chunk(origins[part].astype(float), directions[part].astype(float))
        return distance, face

    def _chunk(
        self, origins: Float64[np.ndarray, "rays 3"], directions: Float64[np.ndarray, "rays 3"]
    ) -> tuple[Float64[np.ndarray, " rays"], Int32[np.ndarray, " rays"]]:
        slopes = 1 / np.where(directions == 0, 1e-30, directions)
        ray, node = np.arange(len(origins)), np.zeros(len(origins), np.int64)
        for level in range(self._depth + 1):
            meets = _meets_box(origins[ray], slopes[ray], self._low[node], self._high[node])
            ray, node = ray[meets], node[meets]
            if level < self._depth:
                ray, node = np.repeat(ray, 2), (2 * node[:, None] + [1, 2]).ravel()
        leaf = node - (2**self._depth - 1)
        distances = _distances(origins[ray], directions[ray], self._corners[leaf])
        return _smallest(len(origins), np.repeat(ray, LEAF), distances.ravel(), self._faces[leaf].ravel())


def _halved(centres: Float64[np.ndarray, "faces 3"], depth: int) -> Int64[np.ndarray, " padded"]:
    """Faces in the order of the leaves; every half is split along its longest side. The last face fills up the end."""
    padded = np.minimum(np.arange(LEAF << depth), len(centres) - 1)
    parts = [padded]
    for _ in range(depth):
        parts = [half for part in parts for half in _split(part, centres)]
    return np.concatenate(parts)


def _split(part: Int64[np.ndarray, " part"], centres: Float64[np.ndarray, "faces 3"]) -> list[np.ndarray]:
    axis = np.argmax(np.ptp(centres[part], axis=0))
    return np.split(part[np.argsort(centres[part, axis], kind="stable")], 2)


def _meets_box(
    origins: Float64[np.ndarray, "pairs 3"],
    slopes: Float64[np.ndarray, "pairs 3"],
    low: Float64[np.ndarray, "pairs 3"],
    high: Float64[np.ndarray, "pairs 3"],
) -> Bool[np.ndarray, " pairs"]:
    to_low, to_high = (low - origins) * slopes, (high - origins) * slopes
    enters = np.minimum(to_low, to_high).max(axis=1)
    leaves = np.maximum(to_low, to_high).min(axis=1)
    return (leaves >= 0) & (enters <= leaves * (1 + 1e-9))


def _distances(
    origins: Float64[np.ndarray, "pairs 3"],
    directions: Float64[np.ndarray, "pairs 3"],
    corners: Float64[np.ndarray, "pairs leaf 3 3"],
) -> Float64[np.ndarray, "pairs leaf"]:
    """Multiples of the direction up to each triangle, inf past it. Moeller and Trumbore 1997."""
    first, along, across = corners[:, :, 0], corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    directions = np.broadcast_to(directions[:, None], along.shape)
    normal = np.cross(directions, across)
    determinant = (along * normal).sum(axis=-1)
    scale = 1 / np.where(determinant == 0, np.nan, determinant)
    offset = origins[:, None] - first
    u = (offset * normal).sum(axis=-1) * scale
    turned = np.cross(offset, along)
    v = (directions * turned).sum(axis=-1) * scale
    distance = (across * turned).sum(axis=-1) * scale
    return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (distance >= 0), distance, np.inf)


def _smallest(
    num_rays: int,
    ray: Int64[np.ndarray, " pairs"],
    distance: Float64[np.ndarray, " pairs"],
    face: Int32[np.ndarray, " pairs"],
) -> tuple[Float64[np.ndarray, " rays"], Int32[np.ndarray, " rays"]]:
    nearest, winner = np.full(num_rays, np.inf), np.full(num_rays, -1, np.int32)
    hit = np.isfinite(distance)
    ray, distance, face = ray[hit], distance[hit], face[hit]
    order = np.lexsort((distance, ray))
    rays, first = np.unique(ray[order], return_index=True)
    nearest[rays], winner[rays] = distance[order][first], face[order][first]
    return nearest, winner
