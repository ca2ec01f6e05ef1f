"""Motion in the plane: interpolated poses, the vehicle's recent motion, and the two priors made of it.

Ego frame at t0: origin at the vehicle's reference point, x forward, y left, metres, seconds, radians.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

HISTORY_S = 0.5
STANDSTILL_M = 0.05
"""Less motion than this in the history is noise: a car at rest has no direction (E2E-AD/AD-MLP README)."""
STRAIGHT_RADPS = 1e-3


@dataclass(frozen=True, eq=False)
class Motion:
    """The vehicle's recent motion at one moment, from poses at or before it."""

    velocity_mps: Float64[np.ndarray, " 2"]
    """Ego frame."""
    yaw_rate_radps: float
    acceleration_mps2: float
    """Along the direction of travel."""
    history_s: float
    """How much past it rests on: 0.5 s, or less at the start of a sequence; 0 means nothing is known."""

    def vector(self) -> Float64[np.ndarray, " 4"]:
        """The four numbers that a head reads: vx, vy, yaw rate, acceleration."""
        return np.array([*self.velocity_mps, self.yaw_rate_radps, self.acceleration_mps2])


def recent_motion(
    times_s: Float64[np.ndarray, " frames"],
    positions: Float64[np.ndarray, "frames 2"],
    yaws: Float64[np.ndarray, " frames"],
) -> Motion:
    """Motion at the last of these poses, by least squares over at most the last 0.5 s.

    Args:
        times_s: increasing; the last is t0.
        positions: ego frame at t0.
        yaws: unwrapped.
    """
    recent = times_s >= times_s[-1] - HISTORY_S - 1e-3
    times, positions, yaws = times_s[recent] - times_s[-1], positions[recent], yaws[recent]
    history = -float(times[0])
    if len(times) < 2 or np.linalg.norm(positions[-1] - positions[0]) < STANDSTILL_M:
        return Motion(np.zeros(2), 0.0, 0.0, history)
    velocity = np.polyfit(times, positions, 1)[0]
    yaw_rate = float(np.polyfit(times, yaws, 1)[0])
    acceleration = 0.0
    if len(times) >= 4:  # a parabola through fewer points is noise
        along = positions @ (velocity / np.linalg.norm(velocity))
        acceleration = float(2 * np.polyfit(times, along, 2)[0])
    return Motion(velocity, yaw_rate, acceleration, history)


def constant_velocity(
    ego: Float[np.ndarray, "samples 4"], times_s: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "samples steps 2"]:
    """Where (vx, vy, yaw rate, acceleration) leads if the velocity stays."""
    return ego[:, None, :2] * times_s[:, None]


def constant_turn(
    ego: Float[np.ndarray, "samples 4"], times_s: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "samples steps 2"]:
    """Where (vx, vy, yaw rate, acceleration) leads if speed and yaw rate stay (CTRV)."""
    # A car that reverses goes on backwards.
    speed = np.copysign(np.linalg.norm(ego[:, :2], axis=1), ego[:, 0])[:, None]
    rate = ego[:, 2:3].astype(np.float64)
    turn = rate * times_s
    safe = np.where(np.abs(rate) < STRAIGHT_RADPS, 1.0, rate)
    curved = np.stack([speed * np.sin(turn) / safe, speed * (1 - np.cos(turn)) / safe], axis=-1)
    straight = np.stack([speed * times_s, np.zeros_like(turn)], axis=-1)
    return np.where((np.abs(rate) < STRAIGHT_RADPS)[..., None], straight, curved)


def prior(
    kind: str, ego: Float[np.ndarray, "samples 4"], times_s: Float[np.ndarray, " steps"]
) -> Float[np.ndarray, "samples steps 2"]:
    """`none`, `cv` or `ctrv`.

    Raises:
        ValueError: another kind.
    """
    if kind == "none":
        return np.zeros((len(ego), len(times_s), 2))
    if kind not in ("cv", "ctrv"):
        raise ValueError(f"prior: expected none, cv or ctrv, got {kind!r}")
    return (constant_velocity if kind == "cv" else constant_turn)(ego, times_s)
