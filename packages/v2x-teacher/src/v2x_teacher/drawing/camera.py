"""Trajectories on the road, drawn into a camera's picture.

A trajectory knows x and y only. It is drawn on level ground, a given height below the vehicle's reference point, so on
a slope it floats or sinks. Camera frame: x right, y down, z forward. Pixels: the middle of the first one is (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64, UInt8

from v2x_teacher.drawing.canvas import INK, PAPER, Canvas
from v2x_teacher.drawing.curves import Curve, draw_lines, draw_mark

NEAR_M = 0.5
"""Nothing closer to the camera's plane is drawn."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture, and the camera that took it."""

    picture: UInt8[np.ndarray, "height width 3"]
    intrinsics: Float[np.ndarray, "3 3"]
    """Pixels of this picture."""
    camera_from_ego: Float[np.ndarray, "4 4"]

    def in_camera(self, points: Float[np.ndarray, "points 2"], ground_z_m: float) -> Float64[np.ndarray, "points 3"]:
        """Points of the ground plane in the camera frame."""
        ground = np.column_stack([points, np.full(len(points), ground_z_m), np.ones(len(points))])
        return (ground @ self.camera_from_ego.T)[:, :3]

    def pixels(self, points: Float[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 2"]:
        """Of points before the camera."""
        projected = points @ self.intrinsics.T
        return projected[:, :2] / projected[:, 2:]

    def ground_pixels(
        self, points: Float[np.ndarray, "points 2"], ground_z_m: float
    ) -> Float64[np.ndarray, "points 2"]:
        """Of points on the ground; NaN behind the near plane."""
        points = self.in_camera(points, ground_z_m)
        points[points[:, 2] < NEAR_M] = np.nan
        return self.pixels(points)


def clipped(points: Float[np.ndarray, "points 3"]) -> list[Float64[np.ndarray, "some 3"]]:
    """The parts of a line that lie beyond the near plane, cut exactly at it."""
    parts: list[list[np.ndarray]] = [[]]
    for start, end in pairwise(points):
        if max(start[2], end[2]) < NEAR_M:
            continue
        cut = start + (end - start) * ((NEAR_M - start[2]) / (end[2] - start[2])) if start[2] != end[2] else start
        if not parts[-1]:
            parts[-1].append(start if start[2] >= NEAR_M else cut)
        if end[2] >= NEAR_M:
            parts[-1].append(end)
        else:
            parts[-1].append(cut)
            parts.append([])
    return [np.array(part) for part in parts if part]


def draw_view(
    view: View,
    curves: Sequence[Curve],
    times_s: Float[np.ndarray, " steps"],
    ground_z_m: float,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "drawn_height drawn_width 3"]:
    """The picture with the curves in it.

    Args:
        view: where to draw.
        curves: trajectories.
        times_s: of their steps; whole seconds are marked.
        ground_z_m: height of the ground in the ego frame, below 0.
        width: of the result; a small picture is enlarged first, so that lines stay crisp.
        height: of the result.
    """
    canvas = Canvas(width, height, view.picture)
    scale = np.array([width / view.picture.shape[1], height / view.picture.shape[0]])
    lines = [
        (curve.style, (view.pixels(part) + 0.5) * scale)
        for curve in curves
        for part in clipped(view.in_camera(curve.from_start(), ground_z_m))
    ]
    draw_lines(canvas, lines)
    for curve in curves:
        steps = curve.marks(times_s) if curve.style.has_marks else []
        places = (view.ground_pixels(curve.points[steps], ground_z_m) + 0.5) * scale
        for step, place in zip(steps, places, strict=True):
            if np.isfinite(place).all():
                draw_mark(canvas, curve.style, place, is_end=step == curve.last)
    if not any(_enters(points, width, height) for _, points in lines):
        note(canvas, "the path lies outside this picture")
    return canvas.pixels()


def _enters(points: Float[np.ndarray, "points 2"], width: int, height: int) -> bool:
    """Whether a line is seen; looked for at ten places between every two points."""
    places = np.linspace(0, len(points) - 1, 10 * len(points))
    x, y = (np.interp(places, np.arange(len(points)), axis) for axis in points.T)
    return bool(((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).any())


def draw_plain(
    picture: UInt8[np.ndarray, "height width 3"], words: str, width: int, height: int
) -> UInt8[np.ndarray, "drawn_height drawn_width 3"]:
    """A picture whose camera nobody knows, with a note that says so."""
    canvas = Canvas(width, height, picture)
    note(canvas, words)
    return canvas.pixels()


def note(canvas: Canvas, words: str) -> None:
    """Words at the upper left, where there is sky, below the name of the camera."""
    canvas.text((14, 42), words, 18, PAPER, halo=INK)
