"""Whether a house stands between an eye and somebody, seen from above."""

import numpy as np
from jaxtyping import Bool, Float64

Rectangle = tuple[float, float, float, float]
"""Lowest x, lowest y, highest x, highest y; junction frame, metres."""


def is_blocked(
    eyes: Float64[np.ndarray, "times 2"], points: Float64[np.ndarray, "times points 2"], houses: list[Rectangle]
) -> Bool[np.ndarray, "times points"]:
    """Whether the straight line from the eye to each point meets a house. Houses are higher than any eye."""
    blocked = np.zeros(points.shape[:2], dtype=bool)
    start, step = eyes[:, None], points - eyes[:, None]
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    for low_x, low_y, high_x, high_y in houses:
        # Where the line enters and leaves the house's extent along x and along y (Kay and Kajiya's slabs).
        first, second = (np.array([low_x, low_y]) - start) / step, (np.array([high_x, high_y]) - start) / step
        enters, leaves = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
        blocked |= (enters < leaves) & (leaves > 0) & (enters < 1)
    return blocked
