"""A forward road camera, drawn from the simulator's track: the same state always gives the same picture.

Car frame: x to the right, y forward, in the simulator's units. Image coordinates are continuous, in widths of one
output pixel: the middle of the pixel in row i, column j is at (u, v) = (j + 0.5, i + 0.5).
"""

import math

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

from latent_predictor.data.trajectory import SIZE

HORIZON_PX = math.floor(0.35 * SIZE)
FOCAL_PX = 0.75 * SIZE
HEIGHT = 4.0
"""Of the camera over the road, in the simulator's units."""
SQUEEZE = 0.55
"""Scales the rows below the horizon, so that the road ahead fills the picture."""
HALF_WIDTH = 40 / 6
"""From the middle of CarRacing's road to the edge of its asphalt."""
KERB = 1.18
"""Outer edge of the kerb, in half widths of the road."""
DASH = 0.33
"""Middle of the dashes on both sides, in half widths: where the lane classes change."""

_NEAREST = 0.6
_TILES_BEHIND, _TILES_AHEAD = 4, 33
_SUPERSAMPLING = 2
_SUBPIXEL_BITS = 4
# Cross positions of every tile, left to right, in half widths: kerbs, edge lines inside the asphalt, and dashes.
_CROSS = np.array([-KERB, -1.0, -0.93, -DASH - 0.03, -DASH + 0.03, DASH - 0.03, DASH + 0.03, 0.93, 1.0, KERB])
# Spans between two of them that are filled with one colour: kerbs, asphalt, edge lines, dashes.
_LEFT_END = np.array([0, 8, 1, 1, 7, 3, 5])
_RIGHT_END = np.array([1, 9, 8, 2, 8, 4, 6])
_KERBS, _ASPHALT, _EDGE_LINES, _DASHES = slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 7)

_SKY, _GRASS = (135, 190, 235), (70, 150, 60)
_KERB_COLORS = ((235, 235, 235), (200, 50, 45))
_ASPHALT_COLORS = ((95, 95, 100), (112, 112, 117))
_LINE_COLOR, _DASH_COLOR = (225, 225, 225), (240, 220, 120)


def pixels_from_ground(points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
    """Image coordinates (u, v) of points on the road, given in the car frame.

    Points beside or behind the camera are taken to lie just ahead of it: they land far below the picture.
    """
    x, y = points[..., 0], np.maximum(points[..., 1], _NEAREST)
    u = SIZE / 2 + FOCAL_PX * x / y
    v = HORIZON_PX + SQUEEZE * FOCAL_PX * HEIGHT / y
    return np.stack([u, v], axis=-1)


def car_from_world(
    points: Float[np.ndarray, "*shape 2"], x: float, y: float, heading: float
) -> Float[np.ndarray, "*shape 2"]:
    """Points of the world as a car at (x, y) sees them: to its right, and ahead of it."""
    cos, sin = math.cos(heading), math.sin(heading)
    dx, dy = points[..., 0] - x, points[..., 1] - y
    return np.stack([dx * cos + dy * sin, -dx * sin + dy * cos], axis=-1)


def draw(
    center: Float[np.ndarray, "tiles 2"],
    heading: Float[np.ndarray, " tiles"],
    x: float,
    y: float,
    car_heading: float,
    tile: int,
) -> UInt8[np.ndarray, "64 64 3"]:
    """What a car at (x, y), on this tile of the closed track, sees.

    Args:
        center: middle of the road, in world coordinates.
        heading: direction of each tile in radians; (cos, sin) of it points to the right.
        x: of the car, in world coordinates.
        y: of the car, in world coordinates.
        car_heading: in radians, as that of the tiles.
        tile: index of the tile nearest to the car.
    """
    indices = np.arange(tile - _TILES_BEHIND, tile + _TILES_AHEAD + 1) % len(center)
    right = np.stack([np.cos(heading[indices]), np.sin(heading[indices])], axis=-1)
    points = center[indices, None] + HALF_WIDTH * _CROSS[:, None] * right[:, None]
    points = car_from_world(points, x, y, car_heading)
    strips = _strips(_fixed_point(pixels_from_ground(points)))

    picture = np.empty((SIZE * _SUPERSAMPLING, SIZE * _SUPERSAMPLING, 3), np.uint8)
    picture[: HORIZON_PX * _SUPERSAMPLING] = _SKY
    picture[HORIZON_PX * _SUPERSAMPLING :] = _GRASS
    visible = points[:, :, 1].max(axis=1) > 0
    for near in reversed(range(len(strips))):
        if visible[near + 1]:
            _fill(picture, strips[near], int(indices[near]) % 2)
    return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _fixed_point(pixels: Float[np.ndarray, "tiles cross 2"]) -> Int32[np.ndarray, "tiles cross 2"]:
    # OpenCV counts from the middle of the first pixel.
    enlarged = pixels * _SUPERSAMPLING - 0.5
    return np.rint(enlarged * 2**_SUBPIXEL_BITS).astype(np.int32)


def _strips(corners: Int32[np.ndarray, "tiles cross 2"]) -> Int32[np.ndarray, "strips spans 4 2"]:
    """The quadrilaterals between each tile and the next, one for every span."""
    near, far = corners[:-1], corners[1:]
    return np.stack([near[:, _LEFT_END], near[:, _RIGHT_END], far[:, _RIGHT_END], far[:, _LEFT_END]], axis=2)


def _fill(picture: UInt8[np.ndarray, "height width 3"], strip: Int32[np.ndarray, "spans 4 2"], parity: int) -> None:
    layers = [(_KERBS, _KERB_COLORS[parity]), (_ASPHALT, _ASPHALT_COLORS[parity]), (_EDGE_LINES, _LINE_COLOR)]
    if parity:
        layers.append((_DASHES, _DASH_COLOR))
    for spans, color in layers:
        cv2.fillPoly(picture, strip[spans], color, shift=_SUBPIXEL_BITS)
