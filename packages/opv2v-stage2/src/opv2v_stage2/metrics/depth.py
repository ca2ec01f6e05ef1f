"""How far predicted z depth is from the truth: per picture, then the mean over pictures that have a label."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

RANGES_M = (0.0, 10.0, 20.0, 40.0, 120.0)
DELTA1 = 1.25


@dataclass(frozen=True)
class DepthErrors:
    """NaN where no picture has a label."""

    rmse: float
    """Metres."""
    mae: float
    """Metres."""
    rel: float
    """AbsRel: the error as a share of the true depth."""
    delta1: float
    """Share of pixels that are off by less than a factor of 1.25."""


def depth_errors(
    predicted_z: Float[np.ndarray, "views height width"],
    truth_z: Float[np.ndarray, "views height width"],
    chosen: Bool[np.ndarray, "views height width"] | None = None,
) -> DepthErrors:
    """Errors at the pixels that have a truth.

    Args:
        predicted_z: Metres along each camera's axis. What is not finite there makes the result so, too.
        truth_z: The same; 0 where there is no label, infinite in the sky.
        chosen: Only these pixels, such as those above a height.
    """
    labelled = np.isfinite(truth_z) & (truth_z > 0)
    if chosen is not None:
        labelled = labelled & chosen
    views = [view for view, pixels in enumerate(labelled) if pixels.any()]
    rows = [_one_view(predicted_z[view][labelled[view]], truth_z[view][labelled[view]]) for view in views]
    return DepthErrors(*np.mean(rows, axis=0).tolist()) if rows else DepthErrors(*4 * [float("nan")])


def _one_view(predicted: Float[np.ndarray, " pixels"], truth: Float[np.ndarray, " pixels"]) -> tuple[float, ...]:
    predicted, truth = predicted.astype(np.float64), truth.astype(np.float64)
    error = np.abs(predicted - truth)
    with np.errstate(divide="ignore"):
        ratio = np.maximum(predicted / truth, truth / predicted)
    is_close = (predicted > 0) & (ratio < DELTA1)
    return np.sqrt(np.mean(error**2)), error.mean(), np.mean(error / truth), is_close.mean()


def depth_errors_by_range(
    predicted_z: Float[np.ndarray, "views height width"],
    truth_z: Float[np.ndarray, "views height width"],
    edges_m: Sequence[float] = RANGES_M,
) -> dict[str, DepthErrors]:
    """Errors by true depth, under names such as `10-20 m`."""
    found = {}
    for near, far in pairwise(edges_m):
        found[f"{near:g}-{far:g} m"] = depth_errors(predicted_z, truth_z, (truth_z > near) & (truth_z <= far))
    return found
