"""Roads as curves in the plane.

Street frame: metres, origin in the middle of the main road, x along it there, y left, z up. Traffic keeps to the right.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

STEP_M = 1.0
RAMP_M = 12.0
"""Length over which a bend takes on its curvature."""


@dataclass(frozen=True, eq=False)
class Road:
    """A centre line sampled every metre, and the lanes on both sides of it."""

    points: Float64[np.ndarray, "samples 2"]
    headings: Float64[np.ndarray, " samples"]
    num_lanes: int
    """Each way."""
    lane_m: float = 3.5
    median_m: float = 0.0
    """From the centre line to the first lane."""
    shoulder_m: float = 2.5
    """Asphalt beside the lanes: for parking in a town."""

    @property
    def length_m(self) -> float:
        """Along the centre line."""
        return (len(self.points) - 1) * STEP_M

    @property
    def edge_m(self) -> float:
        """From the centre line to the outer edge of the lanes."""
        return self.median_m + self.num_lanes * self.lane_m

    @property
    def half_width_m(self) -> float:
        """From the centre line to the end of the asphalt."""
        return self.edge_m + self.shoulder_m

    def lane_offset(self, lane: int) -> float:
        """From the centre line to the middle of a lane; 0 is the innermost."""
        return self.median_m + (lane + 0.5) * self.lane_m

    def at(
        self, s: Float[np.ndarray, "*shape"] | float, offset_m: Float[np.ndarray, "*shape"] | float = 0.0
    ) -> tuple[Float64[np.ndarray, "*shape 2"], Float64[np.ndarray, "*shape"] | np.float64]:
        """Positions and headings at arc lengths, `offset_m` to the left. Beyond its ends the road goes on straight."""
        s = np.asarray(s, np.float64)
        grid = np.arange(len(self.points)) * STEP_M
        inside = np.clip(s, 0, self.length_m)
        heading = np.interp(inside, grid, self.headings)
        along = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        left = np.stack([-along[..., 1], along[..., 0]], axis=-1)
        middle = np.stack([np.interp(inside, grid, axis) for axis in self.points.T], axis=-1)
        return middle + (s - inside)[..., None] * along + np.asarray(offset_m)[..., None] * left, heading

    def line(self, offset_m: float, start: float = 0.0, end: float = np.inf) -> Float64[np.ndarray, "points 2"]:
        """The curve `offset_m` to the left of the centre line, from one arc length to another."""
        end = min(end, self.length_m)
        return self.at(np.linspace(start, end, max(2, round((end - start) / 4) + 1)), offset_m)[0]


def curved(length_m: float, curvature: float, arc_m: float, **lanes: float) -> Road:
    """A road with a bend in its middle, where it passes the origin along x.

    Args:
        length_m: from end to end.
        curvature: of the bend, 1/m, positive to the left; 0 for a straight road.
        arc_m: length of the bend.
        lanes: the other fields of `Road`.
    """
    s = np.arange(-length_m / 2, length_m / 2 + STEP_M / 2, STEP_M)
    kappa = curvature * np.interp(np.abs(s), [arc_m / 2, arc_m / 2 + RAMP_M], [1.0, 0.0])
    headings = _integrated(kappa)
    points = np.stack([_integrated(np.cos(headings)), _integrated(np.sin(headings))], axis=-1)
    return Road(points, headings, **lanes)


def across(length_m: float, **lanes: float) -> Road:
    """A straight road through the origin along y."""
    y = np.arange(-length_m / 2, length_m / 2 + STEP_M / 2, STEP_M)
    return Road(np.stack([np.zeros_like(y), y], axis=-1), np.full(len(y), np.pi / 2), **lanes)


def _integrated(slope: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " samples"]:
    """0 in the middle."""
    total = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * STEP_M)])
    return total - total[len(total) // 2]
