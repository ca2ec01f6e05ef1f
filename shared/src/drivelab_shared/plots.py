"""Plots for reports: curves with intervals, heat maps, confusion matrices.

They return matplotlib figures that belong to nobody: no window, no pyplot, no global style.

Source of the colours, told apart by colour-blind readers: Okabe and Ito, Color Universal Design, 2008.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int, Real

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

    from drivelab_shared.results import Row
    from drivelab_shared.stats import Interval

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOURS = ("#222222", "#777777", "#aaaaaa")
BASELINE_DASHES = ("--", ":", "-.")
MARKERS = "osD^vP"


@dataclass(frozen=True, eq=False)
class Line:
    """One curve. `low` and `high` are its 95 % interval, drawn as a band; baselines are grey and dashed."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    is_baseline: bool = False

    @classmethod
    def of(
        cls, label: str, x: Sequence[float], measured: "Sequence[Interval | Row]", *, is_baseline: bool = False
    ) -> "Line":
        """Measured figures over x, with a band where all of them have an interval."""
        y, low, high = ([getattr(one, name) for one in measured] for name in ("value", "low", "high"))
        return cls(label, x, y, None if None in low else low, None if None in high else high, is_baseline)


def line_plot(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    y_range: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
) -> "matplotlib.figure.Figure":
    """Curves with their intervals; labels carry the units. The legend is ordered like the right ends of the curves."""
    figure, axes = _figure(8.6, 4.4)
    drawn = []
    for style, line in zip(_styles(lines), lines, strict=True):
        drawn += axes.plot(line.x, line.y, label=_plain(line.label), **style)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.13, linewidth=0)
    axes.set(xlabel=_plain(x_label), ylabel=_plain(y_label))
    if y_range is not None:
        axes.set_ylim(*y_range)
    if x_ticks is not None:
        axes.set_xticks(x_ticks)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    ends = [_last_finite(line.y) for line in lines]
    order = sorted(range(len(lines)), key=lambda index: -ends[index])
    figure.legend(handles=[drawn[index] for index in order], loc="outside right upper", frameon=False, fontsize=9.5)
    return figure


def _styles(lines: Sequence[Line]) -> list[dict]:
    """Colour, dashes and marker of every line: baselines take theirs in turn, and so do the others."""
    counts = {True: 0, False: 0}
    styles = []
    for line in lines:
        index = counts[line.is_baseline]
        counts[line.is_baseline] += 1
        if line.is_baseline:
            colour, dashes = BASELINE_COLOURS[index % 3], BASELINE_DASHES[index // 3 % 3]
            styles.append({"color": colour, "linestyle": dashes, "linewidth": 1.4, "zorder": 2})
        else:
            marker = MARKERS[index % len(MARKERS)]
            colour = COLOURS[index % len(COLOURS)]
            styles.append({"color": colour, "linewidth": 2, "marker": marker, "markersize": 5, "zorder": 3})
    return styles


def _last_finite(values: Sequence[float]) -> float:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return float(finite[-1]) if len(finite) else float("-inf")


def heat_map(
    values: Real[np.ndarray, "rows columns"],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    x_label: str = "",
    y_label: str = "",
    decimals: int = 1,
) -> "matplotlib.figure.Figure":
    """A matrix of numbers with each number written in its cell; NaN stays empty."""
    figure, axes = _figure(1.6 + 0.95 * len(column_labels), 1.0 + 0.5 * len(row_labels))
    finite = values[np.isfinite(values)]
    limits = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    texts = [[f"{v:z.{decimals}f}" if np.isfinite(v) else "" for v in row] for row in values]
    _cells(axes, values, texts, limits)
    _label_cells(axes, row_labels, column_labels)
    axes.set(xlabel=_plain(x_label), ylabel=_plain(y_label))
    return figure


def confusion_plot(
    counts: Mapping[str, Int[np.ndarray, "classes classes"]], classes: Sequence[str]
) -> "matplotlib.figure.Figure":
    """Confusion matrices side by side, one per title; rows are true classes, given in % of the row and as counts."""
    figure, panels = _figure(1.2 + 0.95 * len(classes) * len(counts), 1.4 + 0.75 * len(classes), len(counts))
    for index, (axes, (title, matrix)) in enumerate(zip(np.atleast_1d(panels), counts.items(), strict=True)):
        share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        texts = [[f"{p:.0f} %\n{n}" for p, n in zip(*both, strict=True)] for both in zip(share, matrix, strict=True)]
        _cells(axes, share, texts, (0.0, 100.0))
        _label_cells(axes, classes if index == 0 else [""] * len(classes), classes)
        axes.set_title(_plain(title), fontsize=10)
        axes.set(xlabel="judged as", ylabel="true class" if index == 0 else "")
    return figure


def _cells(axes: "matplotlib.axes.Axes", values: np.ndarray, texts: Sequence, limits: tuple[float, float]) -> None:
    low, high = limits
    axes.imshow(values, cmap="Blues", vmin=low, vmax=high, aspect="auto")
    dark = low + 0.55 * (high - low)
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > dark else "#222222"
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=9, color=colour)


def _label_cells(axes: "matplotlib.axes.Axes", row_labels: Sequence[str], column_labels: Sequence[str]) -> None:
    axes.set_xticks(range(len(column_labels)), [_plain(label) for label in column_labels])
    axes.set_yticks(range(len(row_labels)), [_plain(label) for label in row_labels])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _figure(width_in: float, height_in: float, num_panels: int = 1) -> tuple:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.subplots(1, num_panels)


def _plain(text: str) -> str:
    """Text in which a dollar sign is a dollar sign, not the start of a formula."""
    return text.replace("$", r"\$")
