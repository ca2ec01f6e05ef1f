"""Points where there is nothing: in the sky, or in the air in front of what is really there.

With dense truth every pixel can tell. With lidar alone only measured rays can: they passed through free space up to
their return. No return proves nothing, because the sensor drops some.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from opv2v_stage2.metrics.clouds import nearest_distances
from opv2v_stage2.metrics.rays import pixel_points, pixel_rays

MARGIN_M = 1.0
"""So far in front of the surface, and so far from any other, a point floats."""
RAY_DEG = 0.6
"""Neighbouring rays of OPV2V's lidar are 0.35 degrees apart along and 0.43 across its rings."""
NUM_RAYS = 5


def floaters(
    predicted_z: Float[np.ndarray, "views height width"],
    valid: Bool[np.ndarray, "views height width"],
    truth_z: Float[np.ndarray, "views height width"],
    intrinsics: Float[np.ndarray, "views 3 3"],
) -> Bool[np.ndarray, "views height width"]:
    """Which valid pixels show a point in the sky, or more than 1 m in front of all that is there.

    Args:
        predicted_z: Metres along each camera's axis.
        valid: What the model says can be trusted.
        truth_z: The same as predicted_z, dense; infinite in the sky. 0 or NaN: not known, so nothing floats there.
        intrinsics: Of pictures of this size.
    """
    height, width = truth_z.shape[1:]
    in_sky = np.isposinf(truth_z)
    is_known = np.isfinite(truth_z) & (truth_z > 0)
    stretch = np.linalg.norm(pixel_rays(intrinsics, height, width), axis=-1)
    gap = np.where(is_known, truth_z, 0) * stretch - predicted_z * stretch
    found = valid & in_sky
    for view, candidates in enumerate(valid & is_known & (gap > MARGIN_M)):
        ours = pixel_points(predicted_z[view], intrinsics[view])[candidates]
        theirs = pixel_points(np.where(is_known[view], truth_z[view], 0), intrinsics[view])[is_known[view]]
        found[view][candidates] = nearest_distances(ours, theirs) > MARGIN_M
    return found


def percent(part: Bool[np.ndarray, "*shape"], whole: Bool[np.ndarray, "*shape"]) -> float:
    """Share in percent; NaN of nothing."""
    return float(100 * part.sum() / whole.sum()) if whole.any() else float("nan")


def completeness_above(
    predicted_z: Float[np.ndarray, "views height width"],
    valid: Bool[np.ndarray, "views height width"],
    truth_z: Float[np.ndarray, "views height width"],
    true_height: Float[np.ndarray, "views height width"],
    z_max: float,
    *,
    tolerance_m: float = 1.0,
    tolerance_ratio: float = 0.1,
) -> float:
    """Percent of the true surface above z_max that is there in the prediction: valid, and at about its depth.

    Removing everything high would leave no floaters either: this is what it costs. NaN where nothing is that high.

    Args:
        predicted_z: Metres along each camera's axis.
        valid: What the model says can be trusted.
        truth_z: Dense; infinite in the sky.
        true_height: Of the truth above the ground, see `rays.pixel_heights`.
        z_max: Metres above the ground.
        tolerance_m: Depths are about the same if they differ by this ...
        tolerance_ratio: ... or by this share of the truth, whichever is more.
    """
    is_high = np.isfinite(truth_z) & (truth_z > 0) & (true_height > z_max)
    ours, theirs = predicted_z[is_high], truth_z[is_high]
    is_found = valid[is_high] & (np.abs(ours - theirs) <= np.maximum(tolerance_m, tolerance_ratio * theirs))
    return percent(is_found, np.ones_like(is_found))


# --- from lidar -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sweep:
    """One lidar's returns and where it stood, both in the frame of the predicted points."""

    origin: Float[np.ndarray, " 3"]
    returns: Float[np.ndarray, "returns 3"]


def lidar_floaters(
    points: Float[np.ndarray, "points 3"], sweeps: Sequence[Sweep]
) -> tuple[Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
    """(floats, is judged): points that a lidar looked through, and points that some ray can tell about.

    A point floats where all rays around it went on for more than 1 m and nothing was measured within 1 m of it. All,
    because rings on the ground are metres apart: the ray that passes just above a point of the road lands behind it.
    """
    floats, judged = np.zeros((2, len(points)), dtype=bool)
    for sweep in sweeps:
        is_free, has_rays = _looked_through(points, sweep)
        floats |= is_free
        judged |= has_rays
    rows = np.flatnonzero(floats)
    floats[rows] = nearest_distances(points[rows], np.concatenate([s.returns for s in sweeps])) > MARGIN_M
    return floats, judged


def _looked_through(points: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    if len(sweep.returns) < NUM_RAYS or len(points) == 0:
        return np.zeros((2, len(points)), dtype=bool)
    (directions, ranges), (rays, measured) = (_polar(xyz - sweep.origin) for xyz in (points, sweep.returns))
    chord = 2 * np.sin(np.radians(RAY_DEG) / 2)
    distance, index = cKDTree(rays).query(directions, k=NUM_RAYS, distance_upper_bound=chord)
    is_near = np.isfinite(distance)
    shortest = np.where(is_near, np.append(measured, np.inf)[index], np.inf).min(axis=1)
    has_rays = is_near.any(axis=1)
    return has_rays & (shortest > ranges + MARGIN_M), has_rays


def _polar(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offsets = offsets.astype(np.float64)
    ranges = np.linalg.norm(offsets, axis=1)
    return offsets / np.maximum(ranges, 1e-9)[:, None], ranges
