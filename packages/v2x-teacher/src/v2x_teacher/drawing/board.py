"""One sample on one board: both pictures with the trajectories in them, the bird's-eye view, and a legend."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from v2x_teacher.drawing.camera import View, draw_plain, draw_view
from v2x_teacher.drawing.canvas import FAINT, PAPER, SHADE, Canvas, text_width
from v2x_teacher.drawing.curves import Curve, Style
from v2x_teacher.drawing.overhead import ITSELF, OTHERS, UNSEEN, Footprint, draw_overhead, shown

WIDTH_PX = 1600
PICTURE_PX = (800, 450)
GAP_PX, MARGIN_PX, HEADER_PX, LEGEND_PX = 14, 18, 84, 40
TITLE_PX, TEXT_PX = 27, 20


@dataclass(frozen=True, eq=False)
class Photo:
    """One camera's part of a board."""

    name: str
    picture: UInt8[np.ndarray, "height width 3"] | None
    """None: there is none."""
    view: View | None
    """None where nobody knows the camera: the picture is shown without trajectories."""


@dataclass(frozen=True, eq=False)
class Case:
    """A sample with everything that is drawn of it."""

    title: str
    subtitle: str
    curves: Sequence[Curve]
    times_s: Float[np.ndarray, " steps"]
    photos: Sequence[Photo]
    footprints: Sequence[Footprint]
    ego_size_m: tuple[float, float]
    ground_z_m: float
    """Height of the road in the ego frame, below 0."""


def draw_case(case: Case) -> UInt8[np.ndarray, "height width 3"]:
    """The board: title, pictures on the left, bird's-eye view on the right, legend."""
    width, height = PICTURE_PX
    left, top = MARGIN_PX, HEADER_PX
    right = left + width + GAP_PX
    inner_height = 2 * height + GAP_PX
    overhead_px = WIDTH_PX - MARGIN_PX - right, inner_height
    footprints = shown(case.curves, case.footprints, *overhead_px)
    legend = list(_legend_rows(case.curves, footprints))
    canvas = Canvas(WIDTH_PX, top + inner_height + 12 + LEGEND_PX * len(legend) + 8)
    canvas.text((left, 12), case.title, TITLE_PX)
    canvas.text((left, 48), case.subtitle, TEXT_PX, FAINT)
    for row, photo in enumerate(case.photos):
        canvas.paste(_draw_photo(case, photo), left, top + row * (height + GAP_PX))
    overhead = draw_overhead(case.curves, case.times_s, footprints, case.ego_size_m, *overhead_px)
    canvas.paste(overhead, right, top)
    for row, entries in enumerate(legend):
        _draw_legend(canvas, entries, top + inner_height + 12 + LEGEND_PX * row + LEGEND_PX // 2)
    return canvas.pixels()


def _draw_photo(case: Case, photo: Photo) -> UInt8[np.ndarray, "height width 3"]:
    """Fitted into its place, with its name."""
    if photo.picture is None:
        return _framed(draw_plain(_flat(SHADE), f"{photo.name}: no picture", *PICTURE_PX), "")
    height, width = photo.picture.shape[:2]
    scale = min(PICTURE_PX[0] / width, PICTURE_PX[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if photo.view is None:
        drawn = draw_plain(photo.picture, "camera not calibrated: no path drawn here", *size)
    else:
        drawn = draw_view(photo.view, case.curves, case.times_s, case.ground_z_m, *size)
    return _framed(drawn, photo.name)


def _framed(picture: UInt8[np.ndarray, "height width 3"], name: str) -> UInt8[np.ndarray, "full_height full_width 3"]:
    canvas = Canvas(*PICTURE_PX, _flat(SHADE))
    height, width = picture.shape[:2]
    canvas.paste(picture, (PICTURE_PX[0] - width) // 2, (PICTURE_PX[1] - height) // 2)
    canvas.text((14, 12), name, TEXT_PX, PAPER, halo="#222222")
    return canvas.pixels()


def _flat(colour: str) -> UInt8[np.ndarray, "1 1 3"]:
    return np.array([[[int(colour[index : index + 2], 16) for index in (1, 3, 5)]]], np.uint8)


# --- legend -----------------------------------------------------------------------------------------------------------

Entry = tuple[str, Style | str]
"""Words, and the line or the colour that they explain."""


def _legend_rows(curves: Sequence[Curve], footprints: Sequence[Footprint]) -> Iterator[list[Entry]]:
    """Entries, broken into rows that fit."""
    entries: list[Entry] = [(curve.label, curve.style) for curve in curves if curve.label]
    entries.append(("this vehicle", ITSELF))
    if any(not footprint.is_unseen for footprint in footprints):
        entries.append(("other road users", OTHERS))
    if any(footprint.is_unseen for footprint in footprints):
        entries.append(("seen by the infrastructure alone", UNSEEN))
    row: list[Entry] = []
    for entry in entries:
        if row and _row_width([*row, entry]) > WIDTH_PX - 2 * MARGIN_PX:
            yield row
            row = []
        row.append(entry)
    yield row


def _row_width(row: Sequence[Entry]) -> float:
    return sum(_sign_px(sign) + 10 + text_width(words, TEXT_PX) + 30 for words, sign in row)


def _sign_px(sign: Style | str) -> int:
    return 56 if isinstance(sign, Style) else 34


def _draw_legend(canvas: Canvas, row: Sequence[Entry], middle: float) -> None:
    x = float(MARGIN_PX)
    for words, sign in row:
        ends = np.array([(x + 4, middle), (x + _sign_px(sign) - 4, middle)])
        if isinstance(sign, Style):
            canvas.line(ends, sign.colour, sign.width_px, sign.dash)
        else:
            canvas.polygon(ends[[0, 1, 1, 0]] + np.array([(0, -9), (0, -9), (0, 9), (0, 9)]), sign)
        x += _sign_px(sign) + 10
        canvas.text((x, middle), words, TEXT_PX, anchor="lm")
        x += text_width(words, TEXT_PX) + 30
