"""The verb `check-data`: every problem of a dataset at once, what is in it, and what each modality is good for."""

from drivelab_shared.errors import UserError
from lapo_mm.config import CheckDataSettings
from lapo_mm.data.check_data.findings import Findings, find
from lapo_mm.data.check_data.glances import Glance, look
from lapo_mm.data.check_data.tables import Grid
from lapo_mm.data.episodes import Episode
from lapo_mm.data.survey import Facts, Survey, survey

_SHEET_ROWS = 12
_MAX_SAMPLES = 8000
"""Steps that the probe looks at, spread evenly over all episodes."""


def check_data(settings: CheckDataSettings) -> None:
    """Print every problem and what the dataset holds, and write the same with pictures as HTML.

    Raises:
        UserError: there are errors, and skip_invalid is off or leaves nothing to use.
    """
    glances: dict[int, Glance] = {}

    def visit(found: Survey, facts: Facts, episode: Episode) -> None:
        num_samples = -(-_MAX_SAMPLES // found.num_episodes)
        glances[facts.index] = look(facts, episode, found.roles, num_samples, keep_stills=len(glances) < _SHEET_ROWS)

    found = survey(settings.data_dir, settings.modalities, settings.val_share, visit)
    findings = find(found, [glances[facts.index] for facts in found.facts])
    _print(findings, settings.skip_invalid)
    if findings.glances:
        _write(findings, settings)
    stopping = [str(problem) for problem in found.errors if problem.level == "fatal" or not settings.skip_invalid]
    if stopping:
        several = f"{settings.data_dir}: expected a valid dataset, got {len(stopping)} errors (listed above)"
        raise UserError(stopping[0] if len(stopping) == 1 else several)


def _print(findings: Findings, skip_invalid: bool) -> None:
    lines = [f"{'left out' if skip_invalid else 'error'}: {error}" for error in findings.errors]
    lines += [f"warning: {warning}" for warning in findings.warnings]
    for caption, grid in findings.tables.items():
        lines += ["", caption, *_aligned(grid)]
    lines += ["", *findings.conclusions]
    if text := "\n".join(lines).strip():
        print(text)


def _aligned(grid: Grid) -> list[str]:
    header, body = grid
    rows = [header, *body]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _write(findings: Findings, settings: CheckDataSettings) -> None:
    from lapo_mm.data.check_data.page import page  # here, because it brings matplotlib

    path = settings.report or settings.data_dir / "check.html"
    try:
        page(findings).write(path)
    except OSError as error:
        raise UserError(f"{path}: report: expected a place to write to, got {error.strerror}") from error
    print(f"report: {path}")
