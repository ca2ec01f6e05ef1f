"""Pictures that Minari's DataCollector has stored as JPEG, its default for [height, width(, 3)] from 32 pixels up.

They are not what was recorded: sharp edges are off by up to 227 of 255.
"""

import io

import h5py
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from lapo_mm.data.hdf5 import MAX_BYTES, read, reason


def is_encoded(array: h5py.Dataset, shape: tuple[int, ...]) -> bool:
    """Whether an array of pictures of this shape holds one string of bytes per picture instead of pixels.

    The strings lie in rows of equal length where all have the same, else each has a length of its own.
    """
    if h5py.check_vlen_dtype(array.dtype) == np.uint8:
        return True
    return array.dtype == np.uint8 and array.ndim == 2 and len(shape) >= 2


def decoded(array: h5py.Dataset, shape: tuple[int, ...]) -> UInt8[np.ndarray, "frames height width *channels"]:
    """The pictures, exactly as Minari's own reader returns them.

    Raises:
        ValueError: one of them is no JPEG of this shape.
    """
    size = len(array) * int(np.prod(shape, dtype=object))
    if size > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES >> 30} GiB of pictures, got {size / (1 << 30):.1f}")
    frames = np.empty((len(array), *shape), dtype=np.uint8)
    rows = read(array) if array.ndim == 2 else array
    for index in range(len(array)):
        try:
            frames[index] = _picture(rows[index].tobytes(), shape)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            found = "something else" if isinstance(error, UnidentifiedImageError) else reason(error)
            raise ValueError(f"expected a JPEG of {list(shape)} in row {index}, got {found}") from None
    return frames


def _picture(content: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, "height width *channels"]:
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        # Before a pixel is decoded: a few bytes can claim to be gigabytes.
        if (picture.height, picture.width) != shape[:2]:
            raise ValueError(f"{picture.height} x {picture.width} pixels")
        pixels = np.asarray(picture)
    if pixels.shape != shape:
        raise ValueError(f"{list(pixels.shape)}")
    return pixels
