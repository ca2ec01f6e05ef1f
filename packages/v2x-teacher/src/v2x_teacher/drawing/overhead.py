"""The same moment seen from above: trajectories and other road users in metres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from v2x_teacher.drawing.canvas import FAINT, INK, PAPER, SHADE, Canvas
from v2x_teacher.drawing.curves import DRIVEN, Curve, draw_lines, draw_mark

GRIDS_M = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 10_000.0)
GRID_PX = 70.0
"""At least between two lines."""
MARGIN_M = 6.0
LEAST_M = ((-8.0, 45.0), (-16.0, 16.0))
"""x and y that are always shown."""
NEAR_M = ((-20.0, 65.0), (-50.0, 50.0))
"""Road users in here are always shown."""
OTHERS, UNSEEN, ITSELF = "#b9bfc6", "#CC79A7", INK
LABEL_PX = 17


@dataclass(frozen=True, eq=False)
class Footprint:
    """Another road user at t0, seen from above; ego frame, metres and radians."""

    x: float
    y: float
    yaw: float
    length: float
    width: float
    is_unseen: bool = False
    """Found by the infrastructure alone."""

    def corners(self) -> Float[np.ndarray, "4 2"]:
        """Front left, front right, rear right, rear left."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        local = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * [self.length / 2, self.width / 2]
        return local @ np.array([[c, s], [-s, c]]) + [self.x, self.y]


@dataclass(frozen=True)
class Window:
    """What part of the ground is shown: x points up, y to the left."""

    top_x: float
    left_y: float
    px_per_m: float

    @classmethod
    def around(cls, points: Float[np.ndarray, "points 2"], width: int, height: int) -> "Window":
        """The part in whose middle these points are, and as large as they need."""
        low, high = points.min(axis=0) - MARGIN_M, points.max(axis=0) + MARGIN_M
        px_per_m = min(height / (high[0] - low[0]), width / (high[1] - low[1]))
        x, y = (low + high) / 2
        return cls(x + height / px_per_m / 2, y + width / px_per_m / 2, px_per_m)

    @property
    def grid_m(self) -> float:
        """Between the lines of the grid."""
        return next((grid for grid in GRIDS_M if grid * self.px_per_m >= GRID_PX), GRIDS_M[-1])

    def shows(self, footprint: Footprint, width: int, height: int) -> bool:
        """Whether any corner of it is inside."""
        places = self.places(footprint.corners())
        return bool(((places > 0) & (places < [width, height])).all(axis=1).any())

    def places(self, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
        """Pixels from the upper left corner."""
        return np.column_stack([self.left_y - points[:, 1], self.top_x - points[:, 0]]) * self.px_per_m


def draw_overhead(
    curves: Sequence[Curve],
    times_s: Float[np.ndarray, " steps"],
    footprints: Sequence[Footprint],
    ego_size_m: tuple[float, float],
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Bird's-eye view in the ego frame at t0: ahead is up, left is left.

    Args:
        curves: trajectories.
        times_s: of their steps; whole seconds are marked.
        footprints: other road users at t0.
        ego_size_m: length and width of the vehicle, which is centred on its reference point.
        width: of the result.
        height: of it.
    """
    canvas = Canvas(width, height)
    window = _window(curves, footprints, width, height)
    _draw_grid(canvas, window)
    for footprint in footprints:
        _draw_vehicle(canvas, window, footprint, UNSEEN if footprint.is_unseen else OTHERS)
    _draw_vehicle(canvas, window, Footprint(0.0, 0.0, 0.0, *ego_size_m), ITSELF)
    draw_lines(canvas, [(curve.style, window.places(curve.from_start())) for curve in curves])
    for curve in curves:
        _draw_marks(canvas, window, curve, times_s)
    if curves:
        _name_seconds(canvas, window, curves, times_s)
    _draw_scale(canvas, window)
    return canvas.pixels()


def shown(curves: Sequence[Curve], footprints: Sequence[Footprint], width: int, height: int) -> list[Footprint]:
    """Those that `draw_overhead` has room for."""
    window = _window(curves, footprints, width, height)
    return [footprint for footprint in footprints if window.shows(footprint, width, height)]


def _window(curves: Sequence[Curve], footprints: Sequence[Footprint], width: int, height: int) -> Window:
    centres = np.array([(f.x, f.y) for f in footprints]).reshape(-1, 2)
    low, high = np.array(NEAR_M).T
    near = centres[((centres > low) & (centres < high)).all(axis=1)]
    points = np.vstack([np.array(LEAST_M).T, near, *(curve.from_start() for curve in curves)])
    return Window.around(points, width, height)


def _draw_grid(canvas: Canvas, window: Window) -> None:
    canvas.polygon(np.array([(0, 0), (canvas.width, 0), (canvas.width, canvas.height), (0, canvas.height)]), SHADE)
    grid = window.grid_m
    rows, columns = (
        grid * np.arange(np.ceil((high - length) / grid), np.floor(high / grid) + 1)
        for high, length in (
            (window.top_x, canvas.height / window.px_per_m),
            (window.left_y, canvas.width / window.px_per_m),
        )
    )
    for x in rows:
        down = (window.top_x - x) * window.px_per_m
        canvas.line(np.array([(0, down), (canvas.width, down)]), PAPER, 1.5)
        if 30 < down < canvas.height - 60:
            canvas.text((8, down - 4), f"{x:z.0f} m", LABEL_PX, FAINT, "ls")
    for y in columns:
        across = (window.left_y - y) * window.px_per_m
        canvas.line(np.array([(across, 0), (across, canvas.height)]), PAPER, 1.5)


def _draw_vehicle(canvas: Canvas, window: Window, footprint: Footprint, colour: str) -> None:
    """A rectangle with a lighter wedge that points forward."""
    corners = footprint.corners()
    canvas.polygon(window.places(corners), colour, PAPER)
    nose = corners[:2].mean(axis=0)
    wedge = np.array([nose, *(0.65 * corners[:2] + 0.35 * corners[[3, 2]])])
    inner = wedge.mean(axis=0) + 0.7 * (wedge - wedge.mean(axis=0))
    canvas.polygon(window.places(inner), f"{PAPER}b0")


def _draw_marks(canvas: Canvas, window: Window, curve: Curve, times_s: Float[np.ndarray, " steps"]) -> None:
    if curve.style.has_marks:
        for step in curve.marks(times_s):
            place = window.places(curve.points[[step]])[0]
            draw_mark(canvas, curve.style, place, is_end=step == curve.last)


def _name_seconds(
    canvas: Canvas, window: Window, curves: Sequence[Curve], times_s: Float[np.ndarray, " steps"]
) -> None:
    """Of what was driven or else of the last curve, from its end on, each on the side where there is more room."""
    named = curves[0] if curves[0].style == DRIVEN else curves[-1]
    crowd = window.places(np.vstack([curve.from_start() for curve in curves]))
    line, last = window.places(named.from_start()), np.full(2, np.inf)
    for step in reversed(named.marks(times_s)):
        place = window.places(named.points[[step]])[0]
        if np.linalg.norm(place - last) < 1.6 * LABEL_PX:  # a slow vehicle's seconds would cover each other
            continue
        last, along = place, place - line[max(0, step - 5)]
        length = np.linalg.norm(along)
        across = np.array([-along[1], along[0]]) / length if length > 3 else np.array([1.0, 0.0])
        sides = [place + 38 * across, place - 38 * across]
        room = [np.linalg.norm(crowd - side, axis=1).min() for side in sides]
        x, y = sides[int(np.argmax(room))]
        canvas.text((x, y), f"{times_s[step]:g} s", LABEL_PX, named.style.colour, "mm", halo=SHADE)


def _draw_scale(canvas: Canvas, window: Window) -> None:
    length, right, down = window.grid_m * window.px_per_m, canvas.width - 18, canvas.height - 20
    ends = np.array([(right - length, down), (right, down)])
    canvas.line(ends, INK, 3)
    for x, y in ends:
        canvas.line(np.array([(x, y - 6), (x, y + 6)]), INK, 3)
    canvas.text((right - length / 2, down - 16), f"{window.grid_m:.0f} m", LABEL_PX, INK, "mm", halo=SHADE)
