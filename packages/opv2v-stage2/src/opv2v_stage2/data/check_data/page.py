"""The findings as one HTML page: conclusions, problems, figures, and the lidar in the pictures."""

from drivelab_shared.report import Report
from opv2v_stage2.data.check_data.findings import Findings
from opv2v_stage2.data.check_data.pictures import FAR_M, NEAR_M, overlays
from opv2v_stage2.data.check_data.problems import printable

TITLES = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
CAPTION = (
    "Cameras 0 (front), 1 (right rear), 2 (left rear) and 3 (back) with the agent's own lidar, red at "
    f"{NEAR_M:g} m and nearer, blue at {FAR_M:g} m and farther. Points have to lie on what they hit, such as edges of "
    "houses and vehicles, and never in the sky. A few lie on nearer things that hide what the lidar sees from above."
)


def page(findings: Findings, num_pictures: int) -> Report:
    """The report, not yet written."""
    report = Report("Data check", printable(str(findings.root)))
    report.conclude(*map(printable, findings.answers))
    for severity, title in TITLES.items():
        of_kind = [problem for problem in findings.problems if problem.severity == severity]
        if of_kind or severity == "error":
            report.heading(title)
            lines = [printable(f"- `{problem.source}`: {problem.message}") for problem in of_kind]
            report.text("\n".join(lines) or "None.")
    report.heading("Figures")
    for caption, (header, body) in findings.tables.items():
        report.table(header, body, caption)
    boards = list(overlays(findings.glances, num_pictures))
    if boards:
        report.heading("The lidar in the pictures")
        report.text(CAPTION)
    for whose, board in boards:
        report.picture(board, whose, f"Four pictures with the points of the lidar: {whose}")
    return report
