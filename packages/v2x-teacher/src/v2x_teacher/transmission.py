"""What it costs to send the infrastructure's pictures, in bytes per second."""

from collections.abc import Sequence
from pathlib import Path


def raw_bytes_per_s(width: int, height: int, rate_hz: float, downsampling: float = 1.0, channels: int = 3) -> float:
    """Uncompressed pixels: s^2 W H C f, with s the scale of either side.

    Source: V2X-VLM, arXiv 2408.09251, appendix A.
    """
    return downsampling**2 * width * height * channels * rate_hz


def file_bytes_per_s(pictures: Sequence[Path], rate_hz: float) -> float:
    """Mean size of the pictures as they are stored, times the rate; NaN where there are none."""
    if not pictures:
        return float("nan")
    return sum(picture.stat().st_size for picture in pictures) / len(pictures) * rate_hz
