"""CarRacing's view from above, drawn with OpenCV: what the simulator shows, at a small part of its cost.

The car is always at the same place, driving up, and the zoom is the one that the simulator has after its first second.
The dashboard is left out: speeds and the steering angle belong to the state.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

SIZE = 48

# The simulator draws a window of 1000 x 800 pixels and then squeezes it; the dashboard takes the lowest 100 rows.
_WIDTH, _HEIGHT, _DASHBOARD = 1000, 800, 100
_ZOOM = 2.7 * 6.0
_CAR_COLUMN, _CAR_ROW = _WIDTH / 2, _HEIGHT * 3 / 4
_FIELD = 2000 / 6.0
_PATCH = _FIELD / 20
_GRASS, _BRIGHT_GRASS = (102, 204, 102), (102, 230, 102)
_SQUARE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
_FAR = 75.0
"""A corner this far from the car, in world units, is outside of the picture, and so are all others of its polygon."""

_SUPERSAMPLING, _SUBPIXEL_BITS = 4, 4
_CANVAS = SIZE * _SUPERSAMPLING
_SCALE = _CANVAS / np.array([_WIDTH, _HEIGHT - _DASHBOARD])


class Scene(NamedTuple):
    """Quadrilaterals on the field, in the order of drawing."""

    corners: Float64[np.ndarray, "quads 4 2"]
    """World coordinates."""
    colors: UInt8[np.ndarray, "quads 3"]


def make_scene(road: Float64[np.ndarray, "parts 4 2"], colors: UInt8[np.ndarray, "parts 3"]) -> Scene:
    """A road, in world coordinates, on grass that has brighter patches."""
    grid = _PATCH * np.arange(-20, 20, 2)
    patches = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 1, 2) + _PATCH * _SQUARE
    green = np.tile(np.uint8(_BRIGHT_GRASS), (len(patches), 1))
    return Scene(np.concatenate([patches, road]), np.concatenate([green, colors]))


def draw(
    scene: Scene,
    position: Float64[np.ndarray, " 2"],
    heading: float,
    car: Float64[np.ndarray, "parts corners 2"],
    car_colors: UInt8[np.ndarray, "parts 3"],
) -> UInt8[np.ndarray, "3 48 48"]:
    """The picture around the car.

    Args:
        scene: the track.
        position: of the car, in world coordinates.
        heading: of the car, in radians, counter-clockwise; 0 drives towards +y.
        car: convex polygons in world coordinates, in the order of drawing.
        car_colors: of these.
    """
    canvas = np.zeros((_CANVAS, _CANVAS, 3), np.uint8)
    offset = scene.corners[:, 0] - position
    near = np.flatnonzero((np.abs(offset) < _FAR).all(axis=1))
    field = _FIELD * (2 * _SQUARE[None] - 1)
    _fill(canvas, _canvas_from_world(field, position, heading), np.uint8([_GRASS]))
    _fill(canvas, _canvas_from_world(scene.corners[near], position, heading), scene.colors[near])
    _fill(canvas, _canvas_from_world(car, position, heading), car_colors)
    picture = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _canvas_from_world(
    points: Float[np.ndarray, "*shape 2"], position: Float64[np.ndarray, " 2"], heading: float
) -> Float[np.ndarray, "*shape 2"]:
    """Column and row, counted from the upper left corner of the canvas."""
    cos, sin = math.cos(heading), math.sin(heading)
    dx, dy = points[..., 0] - position[0], points[..., 1] - position[1]
    right, ahead = dx * cos + dy * sin, dy * cos - dx * sin
    return np.stack([_CAR_COLUMN + _ZOOM * right, _CAR_ROW - _ZOOM * ahead], axis=-1) * _SCALE


def _fill(
    canvas: UInt8[np.ndarray, "height width 3"],
    polygons: Float[np.ndarray, "polygons corners 2"],
    colors: UInt8[np.ndarray, "polygons 3"],
) -> None:
    # OpenCV counts from the middle of the first pixel.
    fixed_point = np.rint((polygons - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    for polygon, color in zip(fixed_point, colors.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, polygon, color, shift=_SUBPIXEL_BITS)
