"""The findings as one HTML page: conclusions, problems, distributions, and all labels seen from above."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from drivelab_shared.plots import COLOURS
from drivelab_shared.report import Report
from v2x_teacher.data.check_data.boards import boards
from v2x_teacher.data.check_data.findings import Findings, printable
from v2x_teacher.data.check_data.trajectories import KINDS, step_speeds
from v2x_teacher.data.labels import MAX_SPEED_MPS, Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Each curve is one label of 45 points in the frame of the vehicle, which drives up. Left: the positions 0.1 to "
    "4.5 s later. Right: the positions of the next 45 rows of the cooperative list; the grey frame is the left picture."
)
ALONE = "Each curve is one trajectory as the request's loader turns it, in the frame of the vehicle, which drives up."
MOST_CURVES = 1500
SPEED_SHOWN_MPS = 400.0
COLOUR = {"time": COLOURS[0], "rows": COLOURS[1]}
TITLES = {"error": "Errors", "warning": "Warnings", "note": "Notes"}


def page(findings: Findings) -> Report:
    """The report, not yet written."""
    report = Report("Data check", str(findings.evidence.recording.root))
    report.conclude(*(_question_in_bold(sentence) for sentence in findings.answers))
    for severity, title in TITLES.items():
        of_kind = [problem for problem in findings.problems if problem.severity == severity]
        if of_kind or severity == "error":
            report.heading(title)
            report.text(
                "\n".join(printable(f"- `{problem.source}`: {problem.message}") for problem in of_kind) or "None."
            )
    labels = {kind: samples for kind, samples in findings.evidence.labels.items() if len(samples)}
    if labels:
        report.heading("All labels from above")
        report.figure(
            _from_above(labels), CAPTION if len(labels) > 1 else ALONE, "Curves of all labels seen from above"
        )
        report.heading("Distributions")
        report.figure(
            _histograms(labels),
            f"What is faster than {SPEED_SHOWN_MPS:g} m/s is counted there.",
            "Histograms of the fastest step and of the end points of all labels",
        )
    if drawn := list(boards(findings.evidence)):
        report.heading("Labels in their pictures")
    for caption, board in drawn:
        report.picture(board, "", f"Both pictures and a view from above with {caption}")
    report.heading("Figures")
    for caption, (header, body) in findings.tables.items():
        report.table(header, body, caption)
    return report


def _question_in_bold(sentence: str) -> str:
    question, _, answer = sentence.partition(": ")
    return f"**{question}:** {answer}"


def _from_above(labels: Mapping[str, Samples]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.0) if len(labels) > 1 else (5.4, 5.0), layout="constrained")
    panels = figure.subplots(1, len(labels), squeeze=False)[0]
    frame = None
    for axes, (kind, samples) in zip(panels, labels.items(), strict=True):
        _curves(axes, samples, COLOUR[kind])
        axes.set_title(f"labels {KINDS[kind]}: {len(samples)}", fontsize=10)
        if frame is not None:
            (left, right), (bottom, top) = frame
            around = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
            axes.plot(*around, color="#777777", linewidth=1)
        frame = axes.get_xlim(), axes.get_ylim()
    return figure


def _curves(axes: "Axes", samples: Samples, colour: str) -> None:
    from matplotlib.collections import LineCollection

    step = -(-len(samples) // MOST_CURVES)
    curves = np.pad(samples.truth[::step], ((0, 0), (1, 0), (0, 0)))[..., ::-1] * (-1, 1)  # up is forward, left is left
    alpha = float(np.clip(40 / len(curves), 0.06, 0.6))
    axes.add_collection(LineCollection(list(curves), colors=colour, linewidths=0.8, alpha=alpha))
    axes.plot(*curves[:, -1].T, ".", color=colour, markersize=2, alpha=min(1.0, 4 * alpha))
    axes.set(xlabel="right (m)", ylabel="forward (m)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _histograms(labels: Mapping[str, Samples]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    speeds, ends = figure.subplots(1, 2)
    fastest = {kind: np.minimum(step_speeds(samples).max(axis=1), SPEED_SHOWN_MPS) for kind, samples in labels.items()}
    reach = {kind: np.linalg.norm(samples.truth[:, -1], axis=-1) for kind, samples in labels.items()}
    for axes, values in ((speeds, fastest), (ends, reach)):
        bins = np.linspace(0, max(of_kind.max() for of_kind in values.values()) or 1.0, 61)
        for kind, of_kind in values.items():
            style = {"color": COLOUR[kind], "label": KINDS[kind], "histtype": "stepfilled", "alpha": 0.55}
            axes.hist(of_kind, bins=bins, **style)
    speeds.axvline(MAX_SPEED_MPS, color="#222222", linestyle="--", linewidth=1.2)
    speeds.set(xlabel=f"fastest step of a label (m/s); dashed: {MAX_SPEED_MPS:g}", ylabel="labels")
    ends.set(xlabel="distance of the last point (m)", ylabel="labels")
    for axes in (speeds, ends):
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    return figure
