"""The plots of an evaluation: error over time, predicted against true motion, learning curves, trust in the scale."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from drivelab_shared.plots import BASELINE_COLOURS, COLOURS, Line, line_plot
from v2x_teacher.figures import Comparison, mean_of
from v2x_teacher.figures import Figure as Measure
from v2x_teacher.scores import Method, Scores
from v2x_teacher.trained import EGO_MLP, ONE_CAMERA, TEACHER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = {"ego MLP": False, "teacher": False, "CTRV": True, "train mean": True}
"""Methods over time, and whether they are drawn as baselines that learn nothing. This order gives the ego MLP and the
teacher the colours that they have in the pictures."""
STAGES = {EGO_MLP: "ego MLP", TEACHER: "teacher", ONE_CAMERA: "trained without infrastructure"}
EVERY = 5
"""Steps between points of a curve."""
PERCENT = 100.0


def error_over_time(comparison: Comparison, times_s: Float[np.ndarray, " steps"]) -> "Figure":
    """L2 at each moment, with its 95 % interval over sequences."""
    lines = []
    for method, is_baseline in SHOWN.items():
        if method not in comparison.seeds[0].methods:
            continue
        steps = range(EVERY - 1, len(times_s), EVERY)
        found = [comparison.interval(_at_step(step), method) for step in steps]
        lines.append(Line.of(method, [float(times_s[step]) for step in steps], found, is_baseline=is_baseline))
    return line_plot(lines, "seconds after the picture", "L2 at that moment [m]")


def _at_step(step: int) -> Measure:
    return mean_of(lambda scores, method: scores.errors(method).l2[:, step])


def range_scatter(scores: Scores) -> "Figure":
    """Where each sample ends against where the teacher says it ends: a collapse is a flat line of points."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    axes = figure.subplots(1, 2)
    known = ~np.isnan(scores.truth[:, -1, 0])
    truth, answer = scores.truth[known, -1], scores.methods["teacher"].trajectories[known, -1]
    mean = scores.methods["train mean"].trajectories[0, -1] if "train mean" in scores.methods else None
    distances = [np.linalg.norm(ends, axis=-1) for ends in (truth, answer)]
    _scatter(axes[0], *distances, None if mean is None else float(np.linalg.norm(mean)), "distance from the start [m]")
    _scatter(axes[1], truth[:, 1], answer[:, 1], None if mean is None else float(mean[1]), "to the left [m]")
    axes[0].legend(loc="upper left", frameon=False, fontsize=9)
    return figure


def _scatter(
    axes: "Axes",
    truth: Float[np.ndarray, " samples"],
    answer: Float[np.ndarray, " samples"],
    collapsed: float | None,
    what: str,
) -> None:
    edges = np.array([min(truth.min(), answer.min()), max(truth.max(), answer.max())])
    edges += np.array([-0.04, 0.04]) * max(1.0, edges[1] - edges[0])
    axes.plot(edges, edges, color=BASELINE_COLOURS[0], linewidth=1, label="as driven")
    if collapsed is not None:
        axes.axhline(
            collapsed, color=BASELINE_COLOURS[1], linewidth=1.6, linestyle="--", label="what a collapsed model says"
        )
    axes.scatter(truth, answer, s=12, color=COLOURS[1], alpha=0.45, linewidths=0, label="samples", zorder=3)
    axes.set(xlabel=f"driven: {what}", ylabel=f"predicted: {what}", xlim=edges, ylim=edges, aspect="equal")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def learning_curves(run: Path) -> "list[tuple[Figure, str]]":
    """Validation error and spread over training, each with its name; none where the run kept no two of them."""
    curves = {name: _validation(run, stage) for stage, name in STAGES.items()}
    curves = {name: rows for name, rows in curves.items() if len(rows) > 1}
    if "teacher" not in curves:
        return []
    teacher = curves["teacher"]
    errors = [_curve(name, rows, "ade_m") for name, rows in curves.items()]
    errors.append(_curve("train mean", teacher, "train_mean_ade_m", is_baseline=True))
    spread = [_curve(f"teacher, {axis}", teacher, f"spread_{axis}") for axis in "xy"]
    steps = [teacher[0]["step"], teacher[-1]["step"]]
    spread.append(Line("as the truth", steps, [1.0, 1.0], is_baseline=True))
    return [
        (line_plot(errors, "optimizer steps", "validation ADE [m]"), "Validation error (ADE) after every epoch"),
        (
            line_plot(spread, "optimizer steps", "spread ratio", y_range=(0, _top(spread))),
            "Spread between samples after every epoch: 0 is a collapse, 1 the spread of the truth",
        ),
    ]


def _validation(run: Path, stage: str) -> list[dict]:
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [line for line in lines if line.get("stage") == stage and line["split"] == "val"]


def _curve(name: str, rows: Sequence[dict], figure: str, *, is_baseline: bool = False) -> Line:
    values = [np.nan if row.get(figure) is None else row[figure] for row in rows]
    return Line(name, [row["step"] for row in rows], values, is_baseline=is_baseline)


def _top(lines: Sequence[Line]) -> float:
    return 1.1 * float(np.nanmax([np.nanmax([*line.y, 1.0]) for line in lines]))


# --- the predicted scale ----------------------------------------------------------------------------------------------


def within_scale(method: Method, truth: Float[np.ndarray, "samples steps 2"], share: float) -> np.ndarray:
    """1 where an error is within what a Laplace distribution of the predicted scale holds in `share` of all cases.

    NaN where the truth is not known. Within the scale itself should lie 1 - 1/e = 63 %.
    """
    error = np.abs(method.trajectories - truth)
    return np.where(np.isnan(error), np.nan, error <= -np.log(1 - share) * method.scale)


def trust_in_scale(comparison: Comparison) -> "Figure":
    """Expected and observed share of errors, per axis."""
    shares = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    lines = [Line("a scale to trust", [0.0, 100.0], [0.0, 100.0], is_baseline=True)]
    for axis, name in enumerate(("forward (x)", "left (y)")):
        found = [
            comparison.interval(
                mean_of(lambda s, m, p=p, a=axis: within_scale(s.methods[m], s.truth, p)[..., a], PERCENT), "teacher"
            )
            for p in shares
        ]
        lines.append(Line.of(name, (PERCENT * shares).tolist(), found))
    return line_plot(lines, "errors that should be within [%]", "errors that are [%]", y_range=(0, 100))
