"""How far two clouds are apart. Both go through the same crop and are thinned alike first: see `clouds.crops`.

Lidar rings are metres apart on the far ground, so that even a perfect dense surface is some way from the nearest
return: read every figure beside the oracle's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.spatial import cKDTree

from drivelab_shared.seeding import keyed_rng

THRESHOLDS_M = (0.2, 0.5, 1.0)
MAX_POINTS = 100_000
UNDEFINED = float("nan")


@dataclass(frozen=True)
class CloudErrors:
    """Distances to the nearest point of the other cloud, not squared. NaN where one is empty."""

    chamfer_pred_to_gt: float
    """Metres, the mean over predicted points."""
    chamfer_gt_to_pred: float
    """Metres, the mean over true points."""
    accuracy: tuple[float, ...]
    """Share of predicted points with a true one within each of `THRESHOLDS_M`."""
    completeness: tuple[float, ...]
    """Share of true points with a predicted one within each; 0 where nothing was predicted."""
    f_score: tuple[float, ...]
    """Harmonic mean of these two; 0 where nothing was predicted."""


def cloud_errors(
    predicted: Float[np.ndarray, "predicted 3"],
    truth: Float[np.ndarray, "true 3"],
    *,
    max_points: int = MAX_POINTS,
    seed: int = 0,
) -> CloudErrors:
    """Chamfer distance, accuracy, completeness and F-score.

    Args:
        predicted: Points.
        truth: Points in the same frame.
        max_points: Of a larger cloud, so many are asked for their neighbour; they may find any of the other's.
        seed: Of their choice.
    """
    to_truth = nearest_distances(_some(predicted, max_points, seed), truth)
    to_predicted = nearest_distances(_some(truth, max_points, seed), predicted)
    accuracy, completeness = (tuple(_share(found, t) for t in THRESHOLDS_M) for found in (to_truth, to_predicted))
    return CloudErrors(
        chamfer_pred_to_gt=_mean(to_truth),
        chamfer_gt_to_pred=_mean(to_predicted),
        accuracy=accuracy,
        completeness=completeness,
        f_score=tuple(_harmonic(*both) for both in zip(accuracy, completeness, strict=True)),
    )


def nearest_distances(
    points: Float[np.ndarray, "points 3"], others: Float[np.ndarray, "others 3"]
) -> Float64[np.ndarray, " points"]:
    """From each point to the nearest of the others, infinite where there are none."""
    if len(others) == 0 or len(points) == 0:
        return np.full(len(points), np.inf)
    return cKDTree(others).query(points)[0]


def _some(points: Float[np.ndarray, "points 3"], count: int, seed: int) -> Float[np.ndarray, "some 3"]:
    if len(points) <= count:
        return points
    return points[keyed_rng(seed).choice(len(points), count, replace=False)]


def _mean(distances: Float64[np.ndarray, " points"]) -> float:
    found = distances.mean() if len(distances) else UNDEFINED
    return float(found) if np.isfinite(found) else UNDEFINED


def _share(distances: Float64[np.ndarray, " points"], threshold_m: float) -> float:
    return float((distances <= threshold_m).mean()) if len(distances) else UNDEFINED


def _harmonic(accuracy: float, completeness: float) -> float:
    """An empty prediction has no accuracy, and finds nothing."""
    if completeness == 0 or accuracy == 0:
        return 0.0
    return 2 * accuracy * completeness / (accuracy + completeness)


# --- from above -------------------------------------------------------------------------------------------------------


def bev_iou(
    predicted: Float[np.ndarray, "predicted 3"],
    truth: Float[np.ndarray, "true 3"],
    range_m: float = 120.0,
    resolution_m: float = 0.5,
) -> float:
    """Cells that both occupy over cells that either does, seen from above; NaN where nobody occupies any."""
    ours, theirs = (occupied_cells(points, range_m, resolution_m) for points in (predicted, truth))
    union = (ours | theirs).sum()
    return float((ours & theirs).sum() / union) if union else UNDEFINED


def occupied_cells(
    points: Float[np.ndarray, "points 3"], range_m: float, resolution_m: float
) -> Bool[np.ndarray, "cells cells"]:
    """Cells with a point in the square of +-range_m, by x and y."""
    side = int(np.ceil(2 * range_m / resolution_m))
    cells = np.floor((np.asarray(points[:, :2], np.float64) + range_m) / resolution_m)
    inside = ((cells >= 0) & (cells < side)).all(axis=1)
    grid = np.zeros((side, side), dtype=bool)
    grid[tuple(cells[inside].astype(np.int64).T)] = True
    return grid


def height_bands(heights: Float[np.ndarray, " points"]) -> dict[int, int]:
    """Points per metre of height above the ground; 3 stands for 3 up to 4 m. Only bands with points, lowest first."""
    bands, counts = np.unique(np.floor(heights).astype(np.int64), return_counts=True)
    return dict(zip(bands.tolist(), counts.tolist(), strict=True))
