"""What a detector would get: how many points lie on the vehicles that are there."""

import numpy as np
from jaxtyping import Float, Float64, Int64

from opv2v_stage2.clouds.cloud import moved

NEAR_M = 0.3
MIN_POINTS = 5


def points_on_boxes(
    points: Float[np.ndarray, "points 3"],
    cloud_from_box: Float[np.ndarray, "boxes 4 4"],
    half_size: Float[np.ndarray, "boxes 3"],
    near_m: float = NEAR_M,
) -> Int64[np.ndarray, " boxes"]:
    """Points within `near_m` of the surface of each box, inside or out: cameras see surfaces, never middles."""
    counts = np.zeros(len(half_size), np.int64)
    for index, (transform, half) in enumerate(zip(cloud_from_box, half_size, strict=True)):
        close = np.linalg.norm(points - transform[:3, 3], axis=1) <= np.linalg.norm(half) + 2 * near_m
        counts[index] = (np.abs(box_distance(moved(points[close], np.linalg.inv(transform)), half)) <= near_m).sum()
    return counts


def box_distance(
    points_box: Float[np.ndarray, "points 3"], half_size: Float[np.ndarray, " 3"]
) -> Float64[np.ndarray, " points"]:
    """From points in the frame of a box to its surface, metres; negative inside."""
    beyond = np.abs(points_box) - half_size
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


def box_recall(counts: Int64[np.ndarray, " boxes"], min_points: int = MIN_POINTS) -> float:
    """Share of boxes with so many points on them; NaN without boxes."""
    return float((counts >= min_points).mean()) if len(counts) else float("nan")
