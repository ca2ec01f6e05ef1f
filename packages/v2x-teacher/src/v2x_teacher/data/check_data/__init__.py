"""The verb `check-data`: every problem of a data set at once, what its labels look like, and what to do."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from v2x_teacher.config import CheckDataSettings
from v2x_teacher.data.check_data.answers import NO_REPAIR, answers
from v2x_teacher.data.check_data.cameras import camera_problems
from v2x_teacher.data.check_data.evidence import Evidence, gather
from v2x_teacher.data.check_data.findings import Findings, aligned, grouped, printable
from v2x_teacher.data.check_data.flat_rows import leaking_rows
from v2x_teacher.data.check_data.lists import list_problems
from v2x_teacher.data.check_data.motion import motion_problems
from v2x_teacher.data.check_data.pictures import survey
from v2x_teacher.data.check_data.prompts import prompt_problems
from v2x_teacher.data.check_data.recorded import recording_table
from v2x_teacher.data.check_data.road_users import road_user_problems
from v2x_teacher.data.check_data.trajectories import label_problems, refused, tables
from v2x_teacher.data.check_data.usable import unusable
from v2x_teacher.data.labels import CLEAR_COSINE


def check_data(settings: CheckDataSettings) -> None:
    """Print all findings, and write them as HTML with pictures.

    Raises:
        UserError: there are errors, and skip_invalid is off or would leave nothing to learn from.
    """
    findings = find(settings)
    _print(findings)
    _write(findings, settings.report or settings.data_dir / "check.html")
    if findings.errors:
        _refuse(findings)


def find(settings: CheckDataSettings) -> Findings:
    """Look at everything.

    Raises:
        UserError: a list that everything else rests on is missing or broken.
    """
    evidence = gather(settings)
    sizes, of_pictures = survey(evidence)
    problems = grouped(
        [
            *evidence.recording.problems,
            *motion_problems(evidence),
            *label_problems(evidence),
            *leaking_rows(evidence),
            *list_problems(evidence),
            *of_pictures,
            *camera_problems(evidence, sizes),
            *road_user_problems(evidence),
            *prompt_problems(evidence),
        ]
    )
    unreadable = {pair.vehicle_image for pair in evidence.listed} | {
        pair.infrastructure_image for pair in evidence.listed if pair.infrastructure_image
    }
    masks = unusable(evidence.recording, evidence.samples, unreadable - sizes.keys())
    kept = ~np.any([*masks.values()], axis=0) & evidence.samples.mask("train")
    return Findings(
        evidence=evidence,
        problems=problems,
        answers=answers(evidence, problems),
        tables={"What was recorded": recording_table(evidence), **tables(evidence)},
        left_out={reason: int(which.sum()) for reason, which in masks.items() if which.any()},
        usable=int(kept.sum()),
    )


def _refuse(findings: Findings) -> None:
    """Stop, unless what is left can be used and should be.

    Raises:
        UserError: stopped.
    """
    evidence, count = findings.evidence, len(findings.errors)
    settings, root = evidence.settings, evidence.recording.root
    is_refused = refused(evidence.samples) and not settings.labels.allow_implausible
    if is_refused and evidence.is_flat:
        raise UserError(f"{root}: expected labels that a car can drive, got rows read as time. {NO_REPAIR}")
    if not settings.skip_invalid:
        raise UserError(f"{root}: expected data without errors, got {count} kinds of them (listed above)")
    if is_refused:
        raise UserError(f"{root}: expected labels that a car can drive, got too many that none can (listed above)")
    if _axis_unknown(evidence):
        raise UserError(f"{root}: labels.forward_axis: expected an axis along the motion, got none (listed above)")
    if not findings.usable:
        raise UserError(f"{root}: expected usable training labels, got none (listed above)")


def _axis_unknown(evidence: Evidence) -> bool:
    """Whether training would stop because it does not know where forward is."""
    return (
        not evidence.is_flat
        and evidence.settings.labels.forward_axis == "auto"
        and not evidence.cosines[evidence.axis] > CLEAR_COSINE
    )


def _print(findings: Findings) -> None:
    lines = [str(problem) for problem in findings.problems]
    for caption, grid in findings.tables.items():
        lines += ["", caption, *aligned(grid)]
    lines += ["", *findings.answers, *_left_out(findings)]
    print("\n".join(map(printable, lines)))


def _left_out(findings: Findings) -> Sequence[str]:
    if not findings.evidence.settings.skip_invalid or not findings.errors:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in findings.left_out.items()) or "none"
    return [f"Left out beside what the errors name: {reasons}. Training labels that are left: {findings.usable}."]


def _write(findings: Findings, path: Path) -> None:
    from v2x_teacher.data.check_data.page import page  # here, because it brings matplotlib

    try:
        page(findings).write(path)
    except OSError as error:
        raise UserError(f"{path}: report: expected a place to write to, got {error.strerror}") from error
    print(f"report: {path}")
