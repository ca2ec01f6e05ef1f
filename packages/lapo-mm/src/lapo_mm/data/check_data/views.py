"""What a probe is given to read of each modality: a few numbers that a linear model can use."""

from functools import cache

import numpy as np
from jaxtyping import Float32, Real, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from drivelab_shared.seeding import keyed_rng

_PIXELS = 24
"""Pictures are shrunk to at most this many to a side."""
_FILTERS, _SIZE = 8, 3


def views(name: str, array: Real[np.ndarray, "samples ..."]) -> list[Float32[np.ndarray, "samples _"]]:
    """Of an image its pixels, and where in it random filters respond; of anything else its numbers."""
    if name != "image":
        return [array.reshape(len(array), -1).astype(np.float32)]
    pixels = _shrunk(array) / 255
    return [pixels.reshape(len(pixels), -1), _moments(_responses(pixels))]


def _shrunk(images: UInt8[np.ndarray, "samples channels height width"]) -> Float32[np.ndarray, "samples channels _ _"]:
    """Means over squares of pixels."""
    samples, channels, height, width = images.shape
    side = -(-max(height, width) // _PIXELS)
    rows, columns = max(1, height // side), max(1, width // side)
    tall, wide = height // rows, width // columns
    cut = images[:, :, : rows * tall, : columns * wide].astype(np.float32)
    return cut.reshape(samples, channels, rows, tall, columns, wide).mean(axis=(3, 5))


def _responses(
    pixels: Float32[np.ndarray, "samples channels height width"],
) -> Float32[np.ndarray, "samples filters _ _"]:
    """Of random filters, as far as they are above the mean of their picture."""
    height, width = pixels.shape[2:]
    padded = np.pad(pixels, [(0, 0), (0, 0), *[(0, max(0, _SIZE - size)) for size in (height, width)]])
    windows = sliding_window_view(padded, (_SIZE, _SIZE), axis=(2, 3))
    found = np.einsum("schwij,fcij->sfhw", windows, _filters(pixels.shape[1]), optimize=True)
    return np.maximum(found - found.mean(axis=(2, 3), keepdims=True), 0)


@cache
def _filters(channels: int) -> Float32[np.ndarray, "filters channels _ _"]:
    return keyed_rng(0).normal(size=(_FILTERS, channels, _SIZE, _SIZE)).astype(np.float32)


def _moments(maps: Float32[np.ndarray, "samples filters height width"]) -> Float32[np.ndarray, "samples _"]:
    """Mass of each map, where its centre is, and how far it spreads: what a position is read from."""
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in maps.shape[2:])
    mass = maps.sum(axis=(2, 3))
    by_row, by_column = (maps.sum(axis=axis) / np.maximum(mass, 1e-6)[..., None] for axis in (3, 2))
    y, x = by_row @ rows, by_column @ columns
    spreads = by_row @ rows**2 - y**2, by_column @ columns**2 - x**2
    together = np.einsum("sfhw,h,w->sf", maps, rows, columns, optimize=True) / np.maximum(mass, 1e-6) - x * y
    return np.concatenate([mass / maps[0, 0].size, y, x, *spreads, together], axis=1)
