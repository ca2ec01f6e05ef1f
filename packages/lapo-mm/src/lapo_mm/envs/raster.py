"""Pictures of the arm and the two discs, drawn from distances: smooth edges, no graphics library, any number at once.

Every shape is all points within a radius of a line segment; the segment of a disc has no length. Coordinates along and
across a segment are linear in those of a pixel, so that one product of matrices gives them for all pixels and shapes.
"""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from lapo_mm.envs.arm import LOWER_M, UPPER_M

SIZE = 32
WINDOW_M = 0.27
"""The picture shows the square of this half-width around the shoulder; row 0 is at the top."""
PIXEL_M = 2 * WINDOW_M / SIZE
DISC_M, LINK_M = 0.014, 0.008
"""Radii."""

_GREYS = 255 / PIXEL_M
"""Per metre: an edge goes from white to black within a pixel. All below is measured in grey values."""


def _rows(*values: float) -> Float32[np.ndarray, "rows 1024"]:
    # In full: numpy takes three times as long to combine an array of this size with one number per row.
    return np.repeat(np.float32(values)[:, None], SIZE**2, axis=1)


def _basis() -> Float32[np.ndarray, "3 1024"]:
    """x, y and 1 of the middle of every pixel."""
    middles = (np.arange(SIZE) + 0.5) * PIXEL_M - WINDOW_M
    y, x = np.meshgrid(middles[::-1], middles, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(SIZE**2)]).astype(np.float32) * np.float32(_GREYS)


# Shapes in the order target, upper link, lower link, distractor. The cast to integers cuts off, hence the half.
_BASIS = _basis()
_LENGTHS = _rows(UPPER_M * _GREYS, LOWER_M * _GREYS)
_REACH = _rows(*(255.5 + radius * _GREYS for radius in (DISC_M, LINK_M, LINK_M, DISC_M)))
_BLACK, _WHITE = np.zeros_like(_REACH), np.full_like(_REACH, 255.0)


def draw(
    q: Float[np.ndarray, "*shape 2"], target: Float[np.ndarray, "*shape 2"], distractor: Float[np.ndarray, "*shape 2"]
) -> UInt8[np.ndarray, "*shape 3 32 32"]:
    """Target, arm and distractor, each in a channel of its own.

    A pixel is 255 * clip(1 - (distance of its middle to the segment - radius) / pixel size, 0, 1).
    """
    shapes = _shapes(_coefficients(q, target, distractor) @ _BASIS)
    np.maximum(shapes[..., 1, :], shapes[..., 2, :], out=shapes[..., 1, :])
    return shapes[..., (0, 1, 3), :].reshape(*q.shape[:-1], 3, SIZE, SIZE)


def _coefficients(
    q: Float[np.ndarray, "*shape 2"], target: Float[np.ndarray, "*shape 2"], distractor: Float[np.ndarray, "*shape 2"]
) -> Float32[np.ndarray, "*shape 8 3"]:
    """Of x, y and 1 in the coordinate along each of the four segments, then in that across it."""
    found = np.zeros((*q.shape[:-1], 2, 4, 3), np.float32)
    angles = np.add.accumulate(q, axis=-1)
    cos, sin = np.cos(angles), np.sin(angles)
    found[..., 0, 1:3, 0], found[..., 0, 1:3, 1] = cos, sin
    found[..., 1, 1:3, 0], found[..., 1, 1:3, 1] = -sin, cos
    # The lower link starts at the elbow.
    found[..., 0, 2, 2], found[..., 1, 2, 2] = -UPPER_M * np.cos(q[..., 1]), UPPER_M * np.sin(q[..., 1])
    # A disc has no direction: along is x, across is y.
    found[..., 0, 0::3, 0] = found[..., 1, 0::3, 1] = 1.0
    found[..., :, 0, 2], found[..., :, 3, 2] = -target, -distractor
    return found.reshape(*q.shape[:-1], 8, 3)


def _shapes(planes: Float32[np.ndarray, "*shape 8 1024"]) -> UInt8[np.ndarray, "*shape 4 1024"]:
    """Each shape by itself. Works in place of the coordinates, which are lost."""
    along, across = planes[..., :4, :], planes[..., 4:, :]
    links = along[..., 1:3, :]
    links -= np.minimum(np.maximum(links, _BLACK[1:3]), _LENGTHS)
    np.multiply(planes, planes, out=planes)
    distance = np.sqrt(np.add(along, across, out=along), out=along)
    np.subtract(_REACH, distance, out=distance)
    np.maximum(distance, _BLACK, out=distance)
    return np.minimum(distance, _WHITE, out=distance).astype(np.uint8)
