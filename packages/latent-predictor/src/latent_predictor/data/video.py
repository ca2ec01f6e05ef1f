"""Any dashcam video as a trajectory without actions and labels."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from drivelab_shared.errors import UserError
from latent_predictor.data.trajectory import SIZE, UNKNOWN, Frames, Trajectory

ROAD_SHARE = 0.7
"""The square is cut from the lowest part of the picture, this share of its height, where a dashcam sees the road."""
MAX_FRAMES = 150_000
"""Over three hours at 12.5 Hz, 1.8 GB."""
_MAX_PIXELS = 8192 * 8192

# FFmpeg also plays lists of other files and addresses; a video from outside may only be one file of these formats.
_CAPTURE_OPTIONS = (
    "protocol_whitelist;file|"
    "format_whitelist;avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,mpegvideo,h264,hevc,flv,asf,ogg"
)


def read_video(path: Path, rate_hz: float, name: str = "") -> Trajectory:
    """The frames at a constant rate: the road square of each picture, shrunk by area averaging.

    Actions have no columns, every label is unknown. `notes` says where the video ended too early.

    Raises:
        UserError: the file is missing, unreadable, too short, too large, or slower than `rate_hz`.
    """
    if not path.is_file():
        raise UserError(f"{path}: video: expected a file, got {'a folder' if path.is_dir() else 'nothing there'}")
    with _opened(path) as capture:
        announced = int(max(0, capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate_of_video = _rate(capture, path, rate_hz)
        crop = _road_square(capture, path)
        frames, num_read = _resample(capture, path, rate_of_video, rate_hz, crop)
    if len(frames) < 2:
        raise UserError(f"{path}: video: expected at least 2 frames at {rate_hz:g} Hz, got {len(frames)}")
    unknown = np.full(len(frames), UNKNOWN, np.int8)
    return Trajectory(
        frames=frames,
        actions=np.zeros((len(frames), 0), np.float32),
        labels=unknown,
        visual_labels=unknown,
        dt=1 / rate_hz,
        name=name,
        notes=(f"video: read {num_read} of {announced} announced frames",) if num_read < announced else (),
    )


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    # OpenCV takes FFmpeg's options from the environment only, each time it opens a file.
    settings = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": _CAPTURE_OPTIONS, "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    log_level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture()
    try:
        if not capture.open(str(path.resolve()), cv2.CAP_FFMPEG):
            raise UserError(f"{path}: video: expected a video that OpenCV can decode, got something else")
        yield capture
    except cv2.error as error:
        raise UserError(f"{path}: video: expected a video that OpenCV can decode, got {error.err}") from None
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(log_level)
        for key, value in before.items():
            if value is None:
                os.environ.pop(key)
            else:
                os.environ[key] = value


def _rate(capture: cv2.VideoCapture, path: Path, rate_hz: float) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    if not 0 < rate <= 1000:
        raise UserError(f"{path}: video: expected a frame rate up to 1000 Hz, got {rate:g}")
    if rate < 0.99 * rate_hz:
        # Repeated frames would teach a model that the world stands still.
        raise UserError(f"{path}: rate_hz: expected at most the video's {rate:g}, got {rate_hz:g}")
    return rate


def _road_square(capture: cv2.VideoCapture, path: Path) -> tuple[slice, slice]:
    """Rows and columns of the square: at the bottom of the picture, in the middle."""
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    side = min(width, math.floor(ROAD_SHARE * height))
    if side < SIZE or width * height > _MAX_PIXELS:
        least = math.ceil(SIZE / ROAD_SHARE)
        raise UserError(f"{path}: video: expected {SIZE}x{least} to 8192x8192 pixels, got {width}x{height}")
    left = (width - side) // 2
    return slice(height - side, height), slice(left, left + side)


def _resample(
    capture: cv2.VideoCapture, path: Path, rate_of_video: float, rate_hz: float, crop: tuple[slice, slice]
) -> tuple[Frames, int]:
    """The frame nearest to each multiple of 1 / rate_hz, and how many frames were read for that."""
    frames: list[np.ndarray] = []
    num_read, first_s = 0, 0.0
    while capture.grab():
        time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        first_s = time_s if num_read == 0 else first_s
        num_read += 1
        due_s = first_s - 0.5 / rate_of_video
        if time_s < due_s + len(frames) / rate_hz:
            continue
        decoded, picture = capture.retrieve()
        if not decoded:
            break
        small = _shrink(picture[crop])
        # More than one is due where the camera paused.
        while time_s >= due_s + len(frames) / rate_hz:
            frames.append(small)
            if len(frames) > MAX_FRAMES:
                raise UserError(f"{path}: video: expected at most {MAX_FRAMES} frames at {rate_hz:g} Hz, got more")
    return np.array(frames, np.uint8).reshape(-1, SIZE, SIZE, 3), num_read


def _shrink(picture: UInt8[np.ndarray, "side side 3"]) -> UInt8[np.ndarray, "64 64 3"]:
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
