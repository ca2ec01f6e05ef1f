"""Camera pictures from files."""

import os
import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from drivelab_shared.errors import UserError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height as the first bytes of a PNG say.

    Raises:
        UserError: it is missing or no PNG.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise UserError(f"{path}: expected a picture, got: {error.strerror}") from error
    if len(head) < 24 or head[:8] != _SIGNATURE or head[12:16] != b"IHDR":
        raise UserError(f"{path}: expected a PNG picture, got something else")
    return struct.unpack(">II", head[16:])


def is_worth_decoding(path: Path) -> bool:
    """Whether a check should spend the time to decode it: it ends too early, or is every tenth frame."""
    with path.open("rb") as file:
        file.seek(-min(len(_END), path.stat().st_size), os.SEEK_END)
        return file.read() != _END or path.name.partition("_")[0].endswith("0")


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """RGB.

    Raises:
        UserError: it is missing, damaged or no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        reason = getattr(problem, "strerror", None) or " ".join(str(problem).split())
        raise UserError(f"{path}: expected a picture, got: {reason}") from problem
