"""Films as files: mp4 for players. Needs OpenCV (extra `video`); GIF, for browsers and chats, is in `pictures`."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from drivelab_shared.errors import UserError

CODECS = ("vp09", "mp4v")
"""VP9 plays in browsers; MPEG-4 is there where OpenCV was built without it."""


def write_mp4(path: Path, film: UInt8[np.ndarray, "time height width 3"], fps: float) -> None:
    """Write RGB frames and read the file back. Height and width must be even.

    Raises:
        UserError: this OpenCV cannot write a video that it can read.
    """
    found = 0
    log_level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        for codec in CODECS:
            _write(path, film, fps, codec)
            found = count_frames(path)
            if found == len(film):
                return
    finally:
        cv2.utils.logging.setLogLevel(log_level)
    raise UserError(f"{path}: expected {len(film)} frames to read back, got {found}; this OpenCV cannot write {CODECS}")


def _write(path: Path, film: np.ndarray, fps: float, codec: str) -> None:
    height, width = film.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    try:
        for frame in film:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def count_frames(path: Path) -> int:
    """Frames of a video that can be decoded; 0 for what is none."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        count = 0
        while capture.read()[0]:
            count += 1
        return count
    finally:
        capture.release()
