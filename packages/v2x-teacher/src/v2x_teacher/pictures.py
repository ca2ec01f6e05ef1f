"""Camera pictures from files, small and in RGB."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from drivelab_shared.errors import UserError
from v2x_teacher.config import Cameras

GREY = 127
"""Stands for a picture that does not exist."""


@runtime_checkable
class Pair(Protocol):
    """What a sample says about its pictures."""

    @property
    def vehicle_image(self) -> Path:
        """Of the vehicle's camera."""

    @property
    def infrastructure_image(self) -> Path | None:
        """Of the infrastructure's camera, where there is one."""


def paths_of(pair: Pair, cameras: Cameras) -> list[Path | None]:
    """The files of a pair's pictures, the vehicle's first."""
    of = {"vehicle": [pair.vehicle_image], "infrastructure": [pair.infrastructure_image]}
    return of.get(cameras) or [pair.vehicle_image, pair.infrastructure_image]


def read_views(pair: Pair, height: int, width: int, cameras: Cameras) -> UInt8[np.ndarray, "cameras height width 3"]:
    """The pictures of one pair, the vehicle's first.

    Raises:
        UserError: a picture cannot be read.
    """
    return np.stack([read_picture(path, height, width) for path in paths_of(pair, cameras)])


def read_picture(path: Path | None, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, averaged over the area of each new pixel; grey for None.

    Raises:
        UserError: the file is missing, damaged or no picture.
    """
    if path is None:
        return np.full((height, width, 3), GREY, np.uint8)
    with _opened(path) as picture:
        # A large JPEG decodes straight to 1/2, 1/4 or 1/8 of its size, several times as fast. From twice the wanted
        # size on, that is within a grey level of the full way.
        picture.draft("RGB", (2 * width, 2 * height))
        return resized(picture, height, width)


def resized(picture: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, averaged over the area of each new pixel."""
    shrinks = picture.width >= width and picture.height >= height
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(picture.convert("RGB").resize((width, height), how))


def read_whole_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """RGB in the size of the file, which is the one that its calibration speaks of.

    Raises:
        UserError: the file is missing, damaged or no picture.
    """
    with _opened(path) as picture:
        return np.array(picture.convert("RGB"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture that is decoded inside the `with`; whatever is wrong with it is the user's to know."""
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        reason = getattr(problem, "strerror", None) or " ".join(str(problem).split())
        raise UserError(f"{path}: expected a picture, got: {reason}") from problem
