"""The diagnosis diagnosed: it has to find every fault that is injected, and nothing in what is correct."""

import sys
from collections.abc import Sequence
from pathlib import Path

from drivelab_shared import results
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, bar_conclusions
from lapo_mm.config import DiagnoseSettings
from lapo_mm.diagnose.checks import CHECKS
from lapo_mm.diagnose.sections import aligned
from lapo_mm.diagnose.trials import Trial, try_all

MAX_SECONDS = 20
FIRST_FAULTS = 18
"""The request's methods were first measured with as many."""
METHODS = {
    "method 1 (conv1 changed)": "is_updated",
    "method 2 (gradient of conv1 > 0)": "gets_gradient",
    "check of the optimizers": "is_configured",
}
"""Of the request, and which of its answers tells."""


def run_self_test(settings: DiagnoseSettings) -> int:
    """Write results.json and report.html, print the table, and name what was judged wrongly on stderr.

    Returns:
        1 if a fault was missed or something correct was called one, else 0.
    """
    trials, seconds = try_all(settings.seed)
    summary = _summary(trials, seconds, settings.seed)
    details = Table.create("self_test_cases", "Self-test, case by case", _rows(trials), [settings.seed])
    output = settings.output_dir or Path("runs/lapo-mm/self-test")
    results.write(output / "results.json", [summary, details])
    header, body = _grid(trials)
    report = Report("Self-test of the diagnosis", f"{len(trials)} trainings, of which some are broken")
    report.results(summary)
    report.heading("Case by case")
    report.table(header, body, "Checks that found something, and whether the request's own methods notice it.")
    report.write(output / "report.html")

    print(aligned(header, body), end="\n\n")
    print(results.plain(summary), end="\n\n")
    print(f"report: {output / 'report.html'}")
    wrong = [trial for trial in trials if not trial.is_right]
    for trial in wrong:
        expected, found = ("a violation", "none") if trial.is_faulty else ("no violation", trial.violations[0])
        print(f"self-test: {trial.name}: expected {expected}, got {found}", file=sys.stderr)
    return 1 if wrong else 0


def _summary(trials: Sequence[Trial], seconds: float, seed: int) -> Table:
    faulty, correct = ([one for one in trials if one.is_faulty == kind] for kind in (True, False))
    missed, alarms = (sum(not one.is_right for one in some) for some in (faulty, correct))
    bars = [
        Row(f"faults missed, of {len(faulty)} (bar: <= 0)", "value", missed),
        Row(f"false alarms, of {len(correct)} (bar: <= 0)", "value", alarms),
        Row(f"CPU time [s] (bar: <= {MAX_SECONDS})", "value", round(seconds, 1)),
    ]
    rows, sentences = list(bars), bar_conclusions(bars)
    for method, answer in METHODS.items():
        first, every = (sum(getattr(one.answers, answer) for one in some) for some in (faulty[:FIRST_FAULTS], faulty))
        rows.append(Row(f"faults that pass {method}, of the first {FIRST_FAULTS}", "value", first))
        rows.append(Row(f"faults that pass {method}, of {len(faulty)}", "value", every))
        sentences.append(
            f"The request's {method} passes {first} of the first {FIRST_FAULTS} faults, {every} of all {len(faulty)}."
        )
    return Table.create("self_test", "Self-test of the diagnosis", rows, [seed], sentences)


def _rows(trials: Sequence[Trial]) -> list[Row]:
    rows = []
    for trial in trials:
        counts = {name: sum(one.check == name for one in trial.violations) for name in CHECKS}
        rows += [Row(trial.name, "violations", count, at=name) for name, count in counts.items()]
        if trial.answers is not None:
            answers = {method: int(getattr(trial.answers, answer)) for method, answer in METHODS.items()}
            rows += [Row(trial.name, f"passes {method}", answer) for method, answer in answers.items()]
    return rows


def _grid(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    body = []
    for trial in trials:
        said = [getattr(trial.answers, answer, None) for answer in METHODS.values()]
        words = [{True: "passes", False: "notices", None: ""}[one] for one in said]
        body.append([trial.name, ", ".join(trial.finders) or "nothing", *words])
    return ["case", "found by", "method 1", "method 2", "optimizers"], body
