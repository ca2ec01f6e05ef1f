"""The verb `check-data`: every problem of a folder of trajectories at once, and what the folder holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from drivelab_shared.errors import UserError
from latent_predictor.config import CheckDataSettings
from latent_predictor.data.labels import agreement, kappa
from latent_predictor.data.problems import Problem
from latent_predictor.data.splits import SPLITS, Span
from latent_predictor.data.store import fill_visual_labels
from latent_predictor.data.survey import Survey, summary, survey
from latent_predictor.data.suspicions import ACTION_NAMES, constant_columns, misalignment, suspicions
from latent_predictor.data.timing import Surprises, steering_lag, surprises
from latent_predictor.data.trajectory import LABEL_NAMES, STATE_COLUMNS, UNKNOWN, Frames, Labels, Trajectory

_SHEET_ROWS, _SHEET_COLUMNS = 16, 5
_SPEED = STATE_COLUMNS.index("speed")

Grid = tuple[list[str], list[list[str]]]
"""Header and body of a table."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What is kept of a trajectory once its frames are gone."""

    labels: Labels
    visual_labels: Labels
    actions: Float32[np.ndarray, "time actions"]
    speed: Float32[np.ndarray, " time"] | None
    surprises: Surprises | None
    stills: UInt8[np.ndarray, "stills 64 64 3"] | None
    """For the contact sheet."""
    suspicions: list[Problem]


@dataclass(frozen=True)
class Findings:
    """The answer of `check-data`, as lines and tables that are printed and written alike."""

    folder: str
    errors: list[str]
    warnings: list[str]
    conclusions: list[str]
    tables: dict[str, Grid]
    """By caption."""
    sheet: list[tuple[str, Frames]]


def check_data(settings: CheckDataSettings) -> None:
    """Print every problem and what the folder holds, and write the same with a contact sheet as HTML.

    Raises:
        UserError: there are errors, and skip_invalid is off or leaves nothing to use.
    """
    glances: dict[str, Glance] = {}

    def visit(name: str, trajectory: Trajectory) -> None:
        path = settings.data_dir / f"{name}.npz"
        glances[name] = _look(path, trajectory, keep_stills=len(glances) < _SHEET_ROWS)

    found = survey(settings.data_dir, settings.npz_files, min_frames=settings.min_frames, visit=visit)
    findings = _find(found, glances)
    _print(findings, settings.skip_invalid)
    if found.facts:
        _write(findings, settings.report or settings.data_dir / "check.html")
    fatal = [str(problem) for problem in found.errors if problem.level == "fatal"]
    if stopping := fatal if settings.skip_invalid else findings.errors:
        several = f"{settings.data_dir}: expected valid trajectories, got {len(stopping)} errors (listed above)"
        raise UserError(stopping[0] if len(stopping) == 1 else several)


def _look(path: Path, trajectory: Trajectory, keep_stills: bool) -> Glance:
    trajectory = fill_visual_labels(path, trajectory)
    moments = np.linspace(0, len(trajectory) - 1, _SHEET_COLUMNS).astype(int)
    return Glance(
        labels=trajectory.labels,
        visual_labels=trajectory.visual_labels,
        actions=trajectory.actions,
        speed=None if trajectory.state is None else trajectory.state[:, _SPEED],
        surprises=surprises(trajectory),
        stills=trajectory.frames[moments] if keep_stills else None,
        suspicions=suspicions(path, trajectory),
    )


def _find(found: Survey, glances: dict[str, Glance]) -> Findings:
    warnings = [problem for problem in found.problems if problem.level == "warning"]
    warnings += [problem for glance in glances.values() for problem in glance.suspicions]
    errors = [str(problem) for problem in found.errors]
    usable = {facts.path.stem: glances[facts.path.stem] for facts in found.facts}
    if not usable:
        return Findings(str(found.folder), errors, summary(warnings), [], {}, [])
    actions = np.concatenate([glance.actions for glance in usable.values()])
    pieces = [glance.surprises for glance in usable.values() if glance.surprises is not None]
    warnings += constant_columns(found.folder, actions) + misalignment(found.folder, pieces)
    tables = {"Frames and classes": _class_table(found.spans, usable)}
    if values := _values(actions, [glance.speed for glance in usable.values() if glance.speed is not None]):
        tables["Values"] = values
    conclusions = [_size(found), *_label_agreement(usable), _alignment(pieces)]
    sheet = [(name, glance.stills) for name, glance in usable.items() if glance.stills is not None]
    return Findings(str(found.folder), errors, summary(warnings), conclusions, tables, sheet)


def _class_table(spans: list[Span], glances: dict[str, Glance]) -> Grid:
    body = []
    for split in SPLITS:
        chosen = [span for span in spans if span.split == split]
        parts = [_best_labels(glances[span.name])[span.start : span.start + span.length] for span in chosen]
        labels = np.concatenate([*parts, np.empty(0, np.int8)])
        classes = (*range(len(LABEL_NAMES)), UNKNOWN)
        shares = [f"{(labels == label).mean():.0%}" if len(labels) else "" for label in classes]
        body.append([split, str(len(chosen)), str(len(labels)), *shares])
    return ["split", "trajectories", "frames", *LABEL_NAMES, "unknown"], body


def _best_labels(glance: Glance) -> Labels:
    return np.where(glance.labels == UNKNOWN, glance.visual_labels, glance.labels)


def _values(actions: np.ndarray, speeds: list[np.ndarray]) -> Grid | None:
    num_columns = actions.shape[1]
    names = ACTION_NAMES if num_columns == len(ACTION_NAMES) else [f"action {column}" for column in range(num_columns)]
    series = dict(zip(names, actions.T, strict=True))
    if speeds:
        series["speed"] = np.concatenate(speeds)
    body = [
        [name, *(f"{value:.2f}" for value in (values.mean(), values.std(), values.min(), values.max()))]
        for name, values in series.items()
    ]
    return (["", "mean", "std", "min", "max"], body) if body else None


def _size(found: Survey) -> str:
    num_frames = sum(facts.length for facts in found.facts)
    dt = found.facts[0].dt
    length = f"{num_frames} frames every {dt:g} s: {num_frames * dt / 60:.1f} min"
    return f"{len(found.facts)} usable trajectories, {length}"


def _label_agreement(glances: dict[str, Glance]) -> Iterable[str]:
    labels = np.concatenate([glance.labels for glance in glances.values()])
    visual = np.concatenate([glance.visual_labels for glance in glances.values()])
    num_known, num_visual = (int((some != UNKNOWN).sum()) for some in (labels, visual))
    yield f"labels: {num_known} from the files, {num_visual} readable from the pictures"
    if num_both := int(((labels != UNKNOWN) & (visual != UNKNOWN)).sum()):
        share = f"{agreement(labels, visual):.1%} of {num_both} frames, kappa {kappa(labels, visual):.2f}"
        yield f"labels: file and picture agree in {share}"


def _alignment(pieces: list[Surprises]) -> str:
    lag = steering_lag(pieces)
    return f"steering shows in the pictures at lag {'unknown' if lag is None else lag} (declared: 0)"


def _print(findings: Findings, skip_invalid: bool) -> None:
    prefix = "left out: " if skip_invalid else ""
    lines = [f"{prefix}{error}" for error in findings.errors] if skip_invalid or len(findings.errors) > 1 else []
    lines += [f"warning: {warning}" for warning in findings.warnings]
    for grid in findings.tables.values():
        lines += ["", *_aligned(grid)]
    lines += ["", *findings.conclusions]
    if text := "\n".join(lines).strip():
        print(text)


def _aligned(grid: Grid) -> list[str]:
    header, body = grid
    rows = [header, *body]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _write(findings: Findings, path: Path) -> None:
    from drivelab_shared.report import Report  # here, because it brings matplotlib

    report = Report("Data check", findings.folder)
    report.conclude(*findings.conclusions)
    report.heading("Problems")
    problems = [*findings.errors, *(f"warning: {warning}" for warning in findings.warnings)]
    report.text("\n".join(f"- {line}" for line in problems) if problems else "None.")
    report.heading("What is in the folder")
    for caption, (header, body) in findings.tables.items():
        report.table(header, body, caption)
    columns = [f"{share:.0%}" for share in np.linspace(0, 1, _SHEET_COLUMNS)]
    report.strip(findings.sheet, columns, "Frames at equal distances in time; the first trajectories of the folder.")
    try:
        report.write(path)
    except OSError as error:
        raise UserError(f"{path}: report: expected a place to write to, got {error.strerror}") from error
    print(f"contact sheet: {path}")
