"""The page that shows a person what a teacher predicts, how far off it is, and whether it looks at all."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from drivelab_shared.origin import counted
from drivelab_shared.report import Report
from drivelab_shared.results import Table
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.data.labels import Samples
from v2x_teacher.data.recording import Recording
from v2x_teacher.drawing.board import Case, draw_case
from v2x_teacher.drawing.cases import CaseMaker
from v2x_teacher.drawing.curves import curves_of
from v2x_teacher.evaluation_plots import (
    error_over_time,
    learning_curves,
    range_scatter,
    trust_in_scale,
    within_scale,
)
from v2x_teacher.figures import Comparison
from v2x_teacher.inputs import step_times
from v2x_teacher.scores import Scores
from v2x_teacher.situations import HIDDEN, hidden_cross_traffic
from v2x_teacher.trained import TrainedRun

READING: Mapping[str, Sequence[str]] = {
    "errors": (
        "**L2 at that moment** and **L2, mean until then** are two conventions that both go by the name of L2: compare "
        "a figure from a paper with the column that it means",
        "spread: how much predictions differ between samples, as a share of the truth; below 0.05 the model has "
        "collapsed, and x near 1 with y below 0.2 means that it reads the speed and ignores turns",
        "collisions count overlaps of oriented rectangles with labelled road users, where somebody labelled them; a "
        "vehicle that stands still collides least, so read them beside the errors",
        "uncomfortable: harder acceleration, jerk or turning than the bounds of NAVSIM; the truth's own noise counts "
        "too",
    ),
    "gain": (
        "the difference of each method to the teacher on the same sequences: it is real where the interval excludes 0",
        "**shuffled pictures** are the teacher with another sample's pictures: no gain over them means that it does "
        "not look",
    ),
    "situations": (
        "situations are told from what was driven and from labels, for this table only; numbers of samples in brackets",
    ),
    "range": ("a collapsed model shows nearly the range of the truth, so this table alone proves nothing",),
    "transmission": ("what the second camera costs, for systems that are compared by their bytes per second",),
}
"""What to know before reading a table."""


def write_report(
    path: Path, tables: list[Table], scores: Scores, trained: TrainedRun, settings: EvaluateSettings
) -> None:
    """Write report.html: what to conclude, cases as pictures, curves, and every table."""
    report = Report("Where will the vehicle go?", f"v2x-teacher, run `{trained.folder}`")
    report.conclude(*tables[0].conclusions)
    report.text(_introduction(tables[0], scores, trained, settings))
    _add_cases(report, scores, trained, settings)
    comparison = Comparison([scores], settings.num_bootstrap, settings.seed)
    times_s = step_times(trained.inputs.samples)
    report.heading("How the error grows")
    report.figure(
        error_over_time(comparison, times_s),
        "Mean distance to the driven position at each moment; bands are 95 % intervals over sequences.",
        "Error over time for the teacher and its baselines",
    )
    _add_range(report, scores)
    if scores.methods["teacher"].scale is not None:
        _add_scale(report, scores, comparison)
    curves = learning_curves(trained.folder)
    if curves:
        report.heading("How it learned")
        for figure, caption in curves:
            report.figure(figure, caption, caption)
    for table in tables:
        report.results(dataclasses.replace(table, conclusions=list(READING.get(table.table, ()))))
    report.write(path)


def _introduction(errors: Table, scores: Scores, trained: TrainedRun, settings: EvaluateSettings) -> str:
    backbone, samples = trained.settings.backbone, trained.inputs.samples
    cameras = "both cameras" if backbone.cameras == "both" else f"the {backbone.cameras} camera"
    motion = " and the motion of the last 0.5 s" if trained.settings.head.use_ego else ""
    seen = settings.split in ("train", "all")
    left_out = ", ".join(f"{count} because {reason}" for reason, count in samples.excluded.items())
    return (
        f"The teacher reads {cameras} through {backbone.kind} ({backbone.height} x {backbone.width} px each){motion}, "
        f"and answers with {scores.truth.shape[1]} positions over {step_times(samples)[-1]:g} s. It is judged on "
        f"{len(scores)} samples of {counted(len(set(scores.sequences)), 'sequence')}, the {settings.split} split of "
        f"`{trained.inputs.recording.root}`, {'**some of them from its training**' if seen else 'unseen in training'}. "
        f"Left out of all splits: {left_out or 'nothing'}.\n\n{_conventions(errors, samples)}"
    )


def _conventions(errors: Table, samples: Samples) -> str:
    averages = {row.metric: row.value for row in errors.rows if row.row == "teacher" and row.at == "average"}
    point, mean = (averages.get(f"{name} [m]") for name in ("L2 at that moment", "L2, mean until then"))
    ratio = f": here {point:.2f} m and {mean:.2f} m, a factor of {point / mean:.1f}" if point and mean else ""
    rows = "**Labels are rows of a list, and nobody knows when each was: their seconds are a guess.** "
    return (
        f"**Conventions.** {rows if samples.row_labels else ''}Positions are metres in the vehicle's frame when its "
        "picture was taken, x forward, y left. ADE is the mean distance over all steps, FDE the one at the last step. "
        "`L2 at that moment` is the distance at a horizon, `L2, mean until then` the mean of all steps up to it; "
        f"publications use one name for both{ratio}. Brackets are 95 % intervals from sequences drawn anew as wholes, "
        "because samples of one sequence resemble each other."
    )


# --- cases ------------------------------------------------------------------------------------------------------------


def _add_cases(report: Report, scores: Scores, trained: TrainedRun, settings: EvaluateSettings) -> None:
    inputs = trained.inputs
    rows = trained.rows(settings.split)
    maker = CaseMaker.of(inputs.recording, inputs.samples, step_times(inputs.samples), settings.ego_size_m)
    report.heading("What it sees and predicts")
    report.text(maker.how_drawn)
    for index, title in chosen_cases(scores, inputs.recording, inputs.samples, rows):
        report.picture(draw_case(_case(maker, scores, index, int(rows[index]), title)), "", title)


def _case(maker: CaseMaker, scores: Scores, index: int, row: int, title: str) -> Case:
    sequence, frame = scores.ids[index].split("/")
    answers = {name: method.trajectories[index] for name, method in scores.methods.items()}
    modes = scores.methods["teacher"].modes
    motion = f"{scores.ego_speed_mps[index]:.1f} m/s" if maker.samples.history_s[row] > 0 else "motion not known"
    subtitle = f"sequence {sequence}, frame {frame}, {motion}"
    curves = curves_of(scores.truth[index], answers, None if modes is None else modes[index], maker.truth_name)
    return maker.case(row, title, subtitle, curves)


def chosen_cases(scores: Scores, recording: Recording, samples: Samples, rows: np.ndarray) -> Iterator[tuple[int, str]]:
    """Samples that are shown, and why: worst, median, best, and one with hidden cross traffic if there is any."""
    error = np.nanmean(scores.errors("teacher").l2, axis=1)
    order = np.argsort(error)
    places = {"Worst": order[-1], "Median": order[len(order) // 2], "Best": order[0]}
    for name, index in places.items():
        yield int(index), f"{name} of {len(order)} samples: off by {error[index]:.2f} m on average"
    shown = samples.at(rows)
    is_hidden = hidden_cross_traffic(recording, shown) if not samples.row_labels else np.zeros(len(shown), dtype=bool)
    hidden = np.flatnonzero(is_hidden & (shown.history_s > 0))
    if len(hidden) and "CTRV" in scores.methods:
        surprise = np.nanmean(scores.errors("CTRV").l2[hidden], axis=1)
        index = int(hidden[np.argmax(surprise)])
        yield index, f"{HIDDEN.capitalize()}: of {len(hidden)} samples the one that the motion alone foretells worst"


def _add_range(report: Report, scores: Scores) -> None:
    report.heading("Does it answer every picture alike?")
    report.text(
        "A model that has collapsed says the same of every sample, so its points lie on the dashed line, whatever was "
        "driven. One that has not follows the diagonal. The range over all steps (the table below) cannot tell the two "
        "apart, because one trajectory spans nearly all of it."
    )
    report.figure(
        range_scatter(scores),
        "The last step of every sample: how far from the start, and how far to the left.",
        "Predicted against driven end points",
    )


def _add_scale(report: Report, scores: Scores, comparison: Comparison) -> None:
    report.heading("Does it know how far off it is?")
    method, inside = scores.methods["teacher"], 1 - np.exp(-1)
    shares = [100 * np.nanmean(within_scale(method, scores.truth, inside)[..., axis]) for axis in (0, 1)]
    report.text(
        "The teacher predicts a Laplace scale per step and axis. Within the scale should lie 63 % of all errors; "
        f"within it lie **{shares[0]:.0f} %** (x) and **{shares[1]:.0f} %** (y). Below the diagonal it is too sure of "
        "itself, above it too careful."
    )
    report.figure(trust_in_scale(comparison), "Share of errors by predicted scale.", "Calibration of the scale")
