"""Pictures for pages: PNG where they stand still, GIF where they move, small ones magnified without blur."""

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

MAX_FACTOR = 4
"""Small frames are magnified by whole numbers up to this one, so that every pixel stays a square."""


def shown_width_px(frame_width_px: int, limit_px: int) -> int:
    """Width on the page: a whole multiple of a small frame's, at most `limit_px`."""
    return min(frame_width_px * min(MAX_FACTOR, limit_px // frame_width_px) or limit_px, limit_px)


@dataclass(frozen=True, eq=False)
class Picture:
    """RGB frames, as wide on the page as `width_px`; they move if `fps` is given."""

    frames: UInt8[np.ndarray, "frames height width 3"]
    alt: str
    width_px: int
    fps: float | None = None

    def __post_init__(self) -> None:
        is_rgb = self.frames.dtype == np.uint8 and self.frames.ndim == 4 and self.frames.shape[3] == 3
        if not is_rgb or 0 in self.frames.shape:
            found = f"{self.frames.dtype} {list(self.frames.shape)}"
            raise ValueError(f"frames: expected uint8 [frames, height, width, 3], none of them 0, got {found}")

    @property
    def suffix(self) -> str:
        """`gif` or `png`, also the end of the media type."""
        return "png" if self.fps is None else "gif"

    @property
    def factor(self) -> int:
        """How many times wider than its frames the picture is shown; 1 for one that is shrunk."""
        return max(1, self.width_px // self.frames.shape[2])

    def encoded(self, factor: int = 1) -> bytes:
        """The bytes of a PNG or GIF file, every pixel repeated `factor` times in both directions."""
        from PIL import Image

        images = [Image.fromarray(frame) for frame in self.frames]
        if factor > 1:
            images = [i.resize((i.width * factor, i.height * factor), Image.Resampling.NEAREST) for i in images]
        buffer = io.BytesIO()
        if self.fps is None:
            images[0].save(buffer, "PNG", optimize=True)
        else:
            # Browsers slow anything below 20 ms down to 100 ms.
            duration_ms = max(20, round(1000 / self.fps))
            images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=duration_ms, loop=0)
        return buffer.getvalue()

    def html(self) -> str:
        """An image element that contains its own bytes."""
        source = f"data:image/{self.suffix};base64,{base64.b64encode(self.encoded()).decode()}"
        height_px = round(self.width_px * self.frames.shape[1] / self.frames.shape[2])
        crisp = ' class="pixels"' if self.factor > 1 else ""
        size = f'width="{self.width_px}" height="{height_px}"'
        return f'<img{crisp} src="{source}" alt="{html.escape(self.alt)}" {size}>'
