"""The request's three questions answered in words, and what to do next."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.flat_rows import row_list
from v2x_teacher.data.check_data.lists import row_windows
from v2x_teacher.data.check_data.trajectories import impossible, mean_l2, refused, step_speeds, that
from v2x_teacher.data.labels import MAX_SPEED_MPS, NUM_ROWS, TIMES_S, Samples, implausible
from v2x_teacher.data.recording import Problem

NO_REPAIR = (
    "These labels cannot be repaired, only refused: the folder says neither when a row was taken nor which rows belong "
    "to one drive."
)

HOPELESS_M = 20.0
"""A mean trajectory that scores more than this leaves nothing that a picture could explain."""


def answers(evidence: Evidence, problems: list[Problem]) -> list[str]:
    """Sentences; the part before the first colon is the question."""
    samples = evidence.samples
    if not len(samples):
        return ["What next: nothing can be learned from these data; begin with the errors above."]
    found = [_range(samples), _normalisation(evidence), _outliers(evidence)]
    return [*found, *_labels(evidence), *_axis(evidence), _next(evidence, problems)]


def _range(samples: Samples) -> str:
    x, y = (samples.truth[..., axis] for axis in (0, 1))
    whole = f"x {x.min():z.1f} to {x.max():z.1f} m, y {y.min():z.1f} to {y.max():z.1f} m in the ego frame"
    (x1, x99), (y1, y99) = (np.percentile(values, [1, 99]) for values in (x, y))
    return (
        f"Real coordinate range: {whole}; the middle 98 % of the points are within x {x1:z.1f} to {x99:z.1f} and "
        f"y {y1:z.1f} to {y99:z.1f}."
    )


def _normalisation(evidence: Evidence) -> str:
    samples = evidence.samples
    reach = np.abs(samples.truth).max()
    if reach > MAX_SPEED_MPS * TIMES_S[-1]:
        return (
            f"Is normalisation needed: it would not help. A reach of {reach:.0f} m in {TIMES_S[-1]:g} s is wrong, not "
            "large, and dividing by 100 would only hide it."
        )
    if refused(samples):
        return "Is normalisation needed: nobody can tell as long as labels that no car can drive set the scale."
    x, y = samples.truth.std(axis=0).mean(axis=0)
    return (
        f"Is normalisation needed: yes, as the default does it: per step and axis, because x varies by {x:.1f} m and "
        f"y by {y:.1f} m. Not because of the range, {reach:.0f} m. It is undone in one place; figures stay in metres."
    )


def _outliers(evidence: Evidence) -> str:
    samples = evidence.samples
    bad, fastest = impossible(samples), step_speeds(samples).max()
    if not bad.any():
        return (
            f"Are there outliers: no. No label exceeds {MAX_SPEED_MPS:g} m/s (the fastest step is {fastest:.1f} m/s), "
            "and none ends behind the vehicle without reverse gear."
        )
    counts = " and ".join(
        f"{int(which.sum())} {that(what)}" for what, which in implausible(samples).items() if which.any()
    )
    share = f"{int(bad.sum())} of {len(samples)} labels ({bad.mean():.1%})"
    return f"Are there outliers: yes. No car can drive {share}: {counts}."


def _labels(evidence: Evidence) -> Iterator[str]:
    if evidence.is_flat:
        yield from _flat_labels(evidence)
        return
    time, rows = (evidence.labels[kind] for kind in ("time", "rows"))
    if not len(time) or not len(rows):
        return
    (still, mean), (rows_still, rows_mean) = mean_l2(time), mean_l2(rows)
    x, y = np.abs(rows.truth[..., 0]).max(), np.abs(rows.truth[..., 1]).max()
    fast, behind = (which.mean() for which in implausible(rows).values())
    windows = row_windows(evidence)
    hopeless = ": on such labels no training brings an error like 67 m down to a few" if rows_mean > HOPELESS_M else ""
    crossing = "" if windows is None else f"; {windows.crossing:.0%} of all windows run into another sequence"
    yield (
        f"Which labels: by time, the default; standing still then scores {still:.1f} m and the mean trajectory "
        f"{mean:.1f} m. The next {NUM_ROWS} rows of the same list, read as 0.1 s steps, would reach x ±{x:.0f} and "
        f"y ±{y:.0f} m, {fast:.1%} would exceed {MAX_SPEED_MPS:g} m/s and {behind:.1%} end behind{crossing}. "
        f"Standing still would then score {rows_still:.1f} m and the mean {rows_mean:.1f} m{hopeless}."
    )


def _flat_labels(evidence: Evidence) -> Iterator[str]:
    found = row_list(evidence)
    cause = " ".join(found.sentences)
    still, mean = mean_l2(evidence.samples)
    scores = f"Standing still scores {still:.1f} m on them and the mean trajectory {mean:.1f} m, whatever the training."
    if refused(evidence.samples):
        yield f"Which labels: not these. {NO_REPAIR} {scores}"
        yield f"What made them most likely: rows of a list that were read as steps of 0.1 s. {cause}".strip()
    else:
        text = (
            "Which labels: these (`--labels.kind rows`). A car can drive them, but nothing says when a row was taken."
        )
        yield f"{text} {scores}"
        if cause:
            yield f"What made them most likely: {cause}"


def _axis(evidence: Evidence) -> Iterator[str]:
    if evidence.is_flat:
        return
    cosines = ", ".join(f"{axis} {value:.3f}" for axis, value in evidence.cosines.items())
    yield f"Which axis is forward: {evidence.axis}. Mean cosine of the motion with each axis of the vehicle: {cosines}."


def _next(evidence: Evidence, problems: list[Problem]) -> str:
    if evidence.is_flat and refused(evidence.samples):
        return (
            "What next: point --data_dir at the DAIR-V2X or V2X-Seq tree that the folder was made from. It has times, "
            "sequences and poses, and its labels are made by time."
        )
    errors = [problem for problem in problems if problem.severity == "error"]
    command = f"`v2x-teacher train --data_dir {_shown(evidence.settings.data_dir)}`"
    if evidence.is_flat:
        command = f"{command[:-1]} --labels.kind rows`"
    if errors:
        return f"What next: repair what the errors above name, or leave it out: {command[:-1]} --skip_invalid`."
    if any(problem.severity == "warning" for problem in problems):
        return f"What next: read the warnings above; nothing forbids {command}."
    return f"What next: {command}."


def _shown(path: Path) -> str:
    text = str(path)
    return f"'{text}'" if " " in text else text
