"""A lane as a curve in the plane: position and heading by arc length."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

STEP_M = 0.25
RAMP_M = 5.0
"""Length over which a bend takes on its curvature; a car cannot turn its wheels at once."""


@dataclass(frozen=True, eq=False)
class Path:
    """Sampled every 0.25 m. Metres and radians, x forward at heading 0, heading counter-clockwise."""

    points: Float64[np.ndarray, "samples 2"]
    headings: Float64[np.ndarray, " samples"]

    @classmethod
    def straight(cls, start: tuple[float, float], heading: float, length: float) -> "Path":
        """A straight lane."""
        return cls.bent(start, heading, length, bend_at=length, bend_length=0.0, curvature=0.0)

    @classmethod
    def bent(
        cls,
        start: tuple[float, float],
        heading: float,
        length: float,
        bend_at: float,
        bend_length: float,
        curvature: float,
    ) -> "Path":
        """Straight, a bend of constant curvature [1/m, positive to the left] with ramps at both ends, straight."""
        s = np.arange(0.0, length + STEP_M, STEP_M)
        corners = [
            bend_at,
            bend_at + RAMP_M,
            bend_at + max(bend_length, RAMP_M),
            bend_at + max(bend_length, RAMP_M) + RAMP_M,
        ]
        kappa = np.interp(s, corners, [0.0, curvature, curvature, 0.0])
        headings = heading + np.concatenate([[0.0], np.cumsum((kappa[1:] + kappa[:-1]) / 2 * STEP_M)])
        middle = (headings[1:] + headings[:-1]) / 2
        steps = STEP_M * np.stack([np.cos(middle), np.sin(middle)], axis=-1)
        points = np.concatenate([[start], np.asarray(start) + np.cumsum(steps, axis=0)])
        return cls(points, headings)

    @property
    def length(self) -> float:
        """Metres."""
        return (len(self.points) - 1) * STEP_M

    def at(self, s: Float64[np.ndarray, "*times"] | float) -> tuple[np.ndarray, np.ndarray | np.float64]:
        """Positions [..., 2] and headings [...] at arc lengths; beyond the ends the lane goes on straight."""
        s = np.asarray(s, dtype=np.float64)
        inside = np.clip(s, 0.0, self.length)
        grid = np.arange(len(self.points)) * STEP_M
        position = np.stack([np.interp(inside, grid, axis) for axis in self.points.T], axis=-1)
        heading = np.interp(inside, grid, self.headings)
        beyond = (s - inside)[..., None]
        return position + beyond * np.stack([np.cos(heading), np.sin(heading)], axis=-1), heading

    def curvature(self) -> Float64[np.ndarray, " samples"]:
        """1/m at every sample."""
        return np.gradient(self.headings, STEP_M)

    def beside(self, offset: float) -> Float64[np.ndarray, "samples 2"]:
        """The curve shifted to the left by `offset` metres."""
        normal = np.stack([-np.sin(self.headings), np.cos(self.headings)], axis=-1)
        return self.points + offset * normal
