"""Trajectories as they are drawn: which line means what, in every picture alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from v2x_teacher.drawing.canvas import PAPER, Canvas, Dash


@dataclass(frozen=True)
class Style:
    """Of a line. Colour-blind readers tell the colours apart, and everybody the widths and dashes.

    Source of the colours: Okabe and Ito, Color Universal Design, 2008.
    """

    colour: str
    width_px: float
    dash: Dash | None = None
    has_marks: bool = True
    """Whether whole seconds are marked on it."""


DRIVEN = Style("#009E73", 9.0)
TEACHER = Style("#D55E00", 4.0)
EGO_MLP = Style("#0072B2", 3.0, (13.0, 7.0))
CTRV = Style("#111111", 3.0, (3.0, 6.0))
STYLES = {"CTRV": CTRV, "ego MLP": EGO_MLP, "teacher": TEACHER}
MODE = Style("#E69F00", 2.0, has_marks=False)


@dataclass(frozen=True, eq=False)
class Curve:
    """A trajectory. What comes later in a list of them is drawn over what comes before."""

    label: str
    style: Style
    points: Float[np.ndarray, "steps 2"]
    """Ego frame at t0, metres; NaN where it is not known."""

    @property
    def known(self) -> Bool[np.ndarray, " steps"]:
        """Steps with a position."""
        return np.isfinite(self.points).all(axis=1)

    @property
    def last(self) -> int:
        """Index of the last known step; -1 where none is."""
        return int(np.flatnonzero(self.known).max(initial=-1))

    def from_start(self) -> Float[np.ndarray, "known 2"]:
        """Where the vehicle is, and the known steps after it."""
        return np.vstack([np.zeros((1, 2)), self.points[self.known]])

    def marks(self, times_s: Float[np.ndarray, " steps"]) -> list[int]:
        """Indices of the known steps at 1 s, 2 s ... and of the last one."""
        whole = np.round(times_s)
        is_marked = (whole > 0) & (np.abs(times_s - whole) < 1e-6) & self.known
        is_marked[self.last] |= self.last >= 0
        return np.flatnonzero(is_marked).tolist()


def curves_of(
    driven: Float[np.ndarray, "steps 2"],
    answers: Mapping[str, Float[np.ndarray, "steps 2"]],
    modes: Float[np.ndarray, "modes steps 2"] | None = None,
    truth: str = "driven",
) -> list[Curve]:
    """Truth and answers of one sample in the order in which they are drawn, each named with its error.

    Args:
        driven: NaN where it is not known.
        answers: trajectories by the name of the method; only those in `STYLES` are drawn.
        modes: of a teacher that gives several.
        truth: the name of what was driven.
    """
    known = not np.isnan(driven).all()
    curves = [Curve(truth, DRIVEN, driven)] if known else []
    for index, mode in enumerate(modes if modes is not None else ()):
        curves.append(Curve("" if index else "the teacher's modes", MODE, mode))
    for name, style in STYLES.items():
        if name in answers:
            error = np.linalg.norm(answers[name] - driven, axis=-1)
            label = f"{name}: off by {np.nanmean(error):.2f} m" if known else name
            curves.append(Curve(label, style, answers[name]))
    return curves


def draw_lines(canvas: Canvas, lines: Sequence[tuple[Style, Float[np.ndarray, "_ 2"]]]) -> None:
    """Lines in pixels, each in its own light halo, so that it stands out from asphalt, grass and other lines."""
    for style, points in lines:
        if len(points) > 1:
            canvas.line(points, f"{PAPER}d0", style.width_px + 2.5)
            canvas.line(points, style.colour, style.width_px, style.dash)


def draw_mark(canvas: Canvas, style: Style, place: Float[np.ndarray, " 2"], *, is_end: bool = False) -> None:
    """A whole second, or the end of the trajectory, which is a larger ring."""
    radius = style.width_px / 2 + 2.0
    if is_end:
        canvas.dot(place, radius + 2.5, PAPER, style.colour, 3.0)
    else:
        canvas.dot(place, radius, style.colour)
