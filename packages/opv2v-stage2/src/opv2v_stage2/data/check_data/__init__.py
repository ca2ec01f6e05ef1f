"""The verb `check-data`: every problem of a data set at once, what it holds, and the lidar in its pictures."""

from drivelab_shared.errors import UserError
from opv2v_stage2.config import CheckDataSettings
from opv2v_stage2.data.check_data.findings import Findings, find
from opv2v_stage2.data.check_data.problems import aligned, printable


def check_data(settings: CheckDataSettings) -> None:
    """Print all findings, and write them as HTML with pictures.

    Raises:
        UserError: there are errors, and skip_invalid is off or would leave nothing.
    """
    findings = find(settings.data_dir)
    _print(findings, settings.skip_invalid)
    _write(findings, settings)
    if not findings.num_usable:
        raise UserError(f"{settings.data_dir}: expected an agent without errors, got none (listed above)")
    if findings.errors and not settings.skip_invalid:
        count = len(findings.errors)
        raise UserError(f"{settings.data_dir}: expected data without errors, got {count} kinds of them (listed above)")


def _print(findings: Findings, skip_invalid: bool) -> None:
    lines = [str(problem) for problem in findings.problems]
    for caption, grid in findings.tables.items():
        lines += ["", caption, *aligned(grid)]
    lines += ["", *(answer.replace("**", "") for answer in findings.answers)]
    if skip_invalid and findings.errors:
        left_out = [
            f"left out: {one.files.yaml_path.with_suffix('')}"
            for of_split in findings.glances.values()
            for one in of_split
            if not one.is_usable
        ]
        lines += left_out
    print("\n".join(map(printable, lines)))


def _write(findings: Findings, settings: CheckDataSettings) -> None:
    from opv2v_stage2.data.check_data.page import page  # here, because it brings OpenCV

    path = settings.report or settings.data_dir / "check.html"
    try:
        page(findings, settings.num_pictures).write(path)
    except OSError as error:
        raise UserError(f"{path}: report: expected a place to write to, got {error.strerror}") from error
    print(f"report: {path}")
