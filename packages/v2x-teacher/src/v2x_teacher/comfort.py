"""Would a passenger notice? Accelerations, jerks and yaw rates of a trajectory against bounds.

Differences amplify noise: positions that are 2 cm off make 4.9 m/s2 and 89 m/s3 at 10 Hz. So every trajectory, driven
or predicted, is smoothed in the same way first, and a rate of violations says little without that of the driven ones.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float64

from v2x_teacher.data.labels import RATE_HZ

WINDOW = 15
"""Points of the local cubic that smooths: 2 cm of noise become 0.06 m/s2 and 0.5 m/s3."""
SLOWEST_MPS = 1.0
"""Slower motion has no direction: the last one is held, and the yaw rate is 0. At 0.5 m/s 2 cm of noise would already
exceed the bound on the yaw acceleration in 4 of 10 trajectories."""

BOUNDS = {
    "longitudinal acceleration [m/s2]": (-4.05, 2.40),
    "lateral acceleration [m/s2]": (-4.89, 4.89),
    "jerk [m/s3]": (-8.37, 8.37),
    "longitudinal jerk [m/s3]": (-4.13, 4.13),
    "yaw rate [rad/s]": (-0.95, 0.95),
    "yaw acceleration [rad/s2]": (-1.93, 1.93),
}
"""Source: autonomousvision/navsim, pdm_comfort_metrics.py. Its smoothing is another, of simulated states."""


def violations(trajectories: Float[np.ndarray, "samples steps 2"]) -> dict[str, Float64[np.ndarray, " samples"]]:
    """Per bound, 1 where a trajectory exceeds it at any step, else 0; NaN where it is not known to its end."""
    unknown = np.isnan(trajectories).any(axis=(1, 2))
    found = {}
    for (name, (low, high)), values in zip(BOUNDS.items(), dynamics(trajectories), strict=True):
        exceeded = ((values < low) | (values > high)).any(axis=1)
        found[name] = np.where(unknown, np.nan, exceeded)
    return found


def dynamics(trajectories: Float[np.ndarray, "samples steps 2"]) -> Float64[np.ndarray, "6 samples points"]:
    """The quantities of `BOUNDS`, in that order, at t0 and at every step.

    Jerk is the rate at which the size of the acceleration changes, longitudinal jerk that of its part along the path.
    """
    points = np.pad(trajectories.astype(np.float64), ((0, 0), (1, 0), (0, 0)))
    velocity, acceleration, jerk = np.einsum("dpq,nqa->dnpa", _derivatives(points.shape[1]), points, optimize=True)
    speed = np.linalg.norm(velocity, axis=-1)
    moves = speed >= SLOWEST_MPS
    along = _held(velocity / np.maximum(speed, SLOWEST_MPS)[..., None], moves)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    forward, sideways = (acceleration * along).sum(-1), (acceleration * across).sum(-1)
    size = np.linalg.norm(acceleration, axis=-1)
    safe = np.where(moves, speed, 1.0)
    yaw_rate = np.where(moves, sideways / safe, 0.0)
    # d/dt of (across . acceleration) / speed, with across turning at the yaw rate
    yaw_acceleration = np.where(moves, ((jerk * across).sum(-1) - 2 * yaw_rate * forward) / safe, 0.0)
    return np.stack(
        [
            forward,
            sideways,
            (acceleration * jerk).sum(-1) / np.where(size > 0, size, 1.0),
            (jerk * along).sum(-1) + yaw_rate * sideways,
            yaw_rate,
            yaw_acceleration,
        ]
    )


def _held(
    directions: Float64[np.ndarray, "samples points 2"], known: np.ndarray
) -> Float64[np.ndarray, "samples points 2"]:
    """The last known direction at every point; before the first the ego frame's x axis."""
    last = np.maximum.accumulate(np.where(known, np.arange(1, known.shape[1] + 1), 0), axis=1)
    start = np.broadcast_to([1.0, 0.0], (len(directions), 1, 2))
    return np.take_along_axis(np.concatenate([start, directions], axis=1), last[..., None], axis=1)


@cache
def _derivatives(num_points: int) -> Float64[np.ndarray, "3 points points"]:
    """Matrices that turn positions into velocity, acceleration and jerk: at every point the cubic that fits best.

    Source: Savitzky and Golay, 1964. Near the ends the window stays whole and the point moves to its edge.
    """
    window = min(WINDOW, num_points)
    matrices = np.zeros((3, num_points, num_points))
    for point in range(num_points):
        first = int(np.clip(point - window // 2, 0, num_points - window))
        times = (np.arange(first, first + window) - point) / RATE_HZ
        fit = np.linalg.pinv(np.vander(times, 4, increasing=True))
        matrices[:, point, first : first + window] = fit[1:] * np.array([[1.0], [2.0], [6.0]])
    return matrices
