"""Lines, shapes and words on a picture. All is drawn at twice the size and shrunk in the end, so edges are smooth.

Places are in pixels of the finished picture, counted from its upper left corner: the middle of the first pixel is
(0.5, 0.5).
"""

from collections.abc import Iterator
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Real, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

FACTOR = 2
INK, FAINT, PAPER, SHADE = "#222222", "#6f6f6f", "#ffffff", "#eef0f2"
FAR_PX = 30_000.0
"""Places further out are moved in to here: what lies just before a camera is drawn at numbers that PIL cannot take."""

Points = Real[np.ndarray, "points 2"]
Dash = tuple[float, float]
"""Pixels on, pixels off."""


class Canvas:
    """A picture to draw on.

    Args:
        width: of the finished picture in pixels.
        height: of it.
        background: stretched over all of it; None is white paper.
    """

    def __init__(self, width: int, height: int, background: UInt8[np.ndarray, "height width 3"] | None = None) -> None:
        self.width, self.height = width, height
        size = (FACTOR * width, FACTOR * height)
        if background is None:
            self._image = Image.new("RGB", size, PAPER)
        else:
            self._image = Image.fromarray(background).resize(size, Image.Resampling.BICUBIC)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def line(self, points: Points, colour: str, width: float, dash: Dash | None = None) -> None:
        """A line through all points, with round ends."""
        for piece in [points] if dash is None else dashes(points, dash):
            places = _large(piece)
            if len(places) > 1:
                self._draw.line(places, colour, round(FACTOR * width), joint="curve")
            if dash is None:
                for end in (places[0], places[-1]):
                    self._disc(end, FACTOR * width / 2, colour)

    def dot(
        self, place: Real[np.ndarray, " 2"], radius: float, fill: str, rim: str = PAPER, rim_width: float = 1.5
    ) -> None:
        """A disc with a rim."""
        centre = _large(place[None])[0]
        self._disc(centre, FACTOR * (radius + rim_width), rim)
        self._disc(centre, FACTOR * radius, fill)

    def polygon(self, points: Points, fill: str | None, rim: str | None = None, rim_width: float = 1.5) -> None:
        """A closed shape. `fill` may carry an opacity, as #rrggbbaa."""
        places = _large(points)
        self._draw.polygon(places, fill and ImageColor.getrgb(fill))
        if rim is not None:
            self._draw.line([*places, places[0], places[1]], rim, round(FACTOR * rim_width), joint="curve")

    def text(
        self,
        place: tuple[float, float],
        words: str,
        size: int,
        colour: str = INK,
        anchor: Literal["la", "ra", "mm", "lm", "rm", "ma", "ls"] = "la",
        halo: str | None = None,
    ) -> None:
        """Words at a place; `anchor` is PIL's: left, middle, right and ascender, middle, baseline."""
        self._draw.text(
            (FACTOR * place[0], FACTOR * place[1]), words, colour, _font(FACTOR * size), anchor,
            stroke_width=0 if halo is None else 2 * FACTOR, stroke_fill=halo,
        )  # fmt: skip

    def paste(self, picture: UInt8[np.ndarray, "height width 3"], left: int, top: int) -> None:
        """A finished picture, pixel for pixel."""
        height, width = picture.shape[:2]
        large = Image.fromarray(picture).resize((FACTOR * width, FACTOR * height), Image.Resampling.NEAREST)
        self._image.paste(large, (FACTOR * left, FACTOR * top))

    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        """The finished picture."""
        return np.array(self._image.reduce(FACTOR))

    def _disc(self, centre: tuple[float, float], radius: float, fill: str) -> None:
        x, y = centre
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill)


def dashes(points: Points, dash: Dash) -> Iterator[Points]:
    """Pieces of a line, `dash` pixels long and apart, measured along it."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    on, off = dash
    for start in np.arange(0.0, lengths[-1], on + off):
        ends = np.array([start, min(start + on, lengths[-1])])
        between = points[(lengths > ends[0]) & (lengths < ends[1])]
        first, last = np.column_stack([np.interp(ends, lengths, axis) for axis in points.T])
        yield np.vstack([first, between, last])


def text_width(words: str, size: int) -> float:
    """Pixels."""
    return _font(FACTOR * size).getlength(words) / FACTOR


def _large(points: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in FACTOR * np.clip(points, -FAR_PX, FAR_PX)]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
