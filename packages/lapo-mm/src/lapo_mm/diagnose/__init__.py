"""Diagnose: which loss reaches and which optimizer moves what, watched in the real training step.

The same works for networks of your own: see `watch`.
"""

import sys

from drivelab_shared import engine, results
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table
from lapo_mm.config import DiagnoseSettings
from lapo_mm.diagnose.checks import CHECKS, Violation, check
from lapo_mm.diagnose.contract import Contract, contract_of
from lapo_mm.diagnose.drawing import gradient_matrix
from lapo_mm.diagnose.request import ask
from lapo_mm.diagnose.sections import (
    Section,
    hygiene_section,
    movement_section,
    ownership_section,
    reach_section,
    request_section,
    targets_section,
)
from lapo_mm.diagnose.self_test import run_self_test
from lapo_mm.diagnose.steps import watched
from lapo_mm.diagnose.subject import Subject, kind_of, subject_of
from lapo_mm.diagnose.watch import Record, Watch

__all__ = ["Contract", "Violation", "Watch", "check", "diagnose"]


def diagnose(settings: DiagnoseSettings) -> int:
    """Write results.json and report.html, print the tables, and name every violation on stderr.

    Returns:
        1 if the contract is broken, or the self-test misses a fault or sees one where there is none; else 0.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    device = engine.start(settings.device, threads=settings.threads).device
    if settings.self_test:
        return run_self_test(settings)
    subject = subject_of(settings, device)
    contract = contract_of(subject.settings)
    record = watched(subject.make(), subject.batches, settings.seed)
    violations = check(record, contract)
    answers = ask(subject.make(), subject.batches[0], settings.seed)
    sections = [
        ownership_section(record),
        reach_section(record),
        movement_section(record),
        hygiene_section(record, contract),
        targets_section(record, contract),
        *([request_section(answers)] if answers is not None else []),
    ]

    output = settings.output_dir or subject.output
    verdict = _verdict(settings, subject, contract, violations)
    details = [Table.create(one.name, one.title, one.rows, [settings.seed], [one.meaning]) for one in sections]
    results.write(output / "results.json", [verdict, *details])
    _report(subject, verdict, sections, record, contract).write(output / "report.html")

    for section in sections:
        print(section.plain(), end="\n\n")
    print(results.plain(verdict), end="\n\n")
    print(f"report: {output / 'report.html'}")
    for violation in violations:
        print(f"{subject.name}: {violation}", file=sys.stderr)
    return 1 if violations else 0


def _verdict(settings: DiagnoseSettings, subject: Subject, contract: Contract, violations: list[Violation]) -> Table:
    """Violations by check, and what they come to in words."""
    counts = {name: sum(one.check == name for one in violations) for name in CHECKS}
    rows = [Row(name, "violations", count) for name, count in counts.items()]
    steps = f"{settings.num_steps} training steps on batches of {settings.batch_size} ({subject.source})"
    kind = kind_of(subject.settings)
    if violations:
        sentences = [f"**The contract of {kind} is broken** in {len(violations)} ways, over {steps}."]
    else:
        sentences = [f"**The contract of {kind} holds**, over {steps}."]
    sentences += [f"**Broken:** {violation}." for violation in violations]
    sentences += [f"**Warning:** {warning}." for warning in contract.warnings]
    return Table.create("verdict", "Does the contract hold?", rows, [settings.seed], sentences)


def _report(subject: Subject, verdict: Table, sections: list[Section], record: Record, contract: Contract) -> Report:
    report = Report("Gradient flow", subject.name)
    report.conclude(*verdict.conclusions)
    caption = (
        "Norm of the gradient that each loss alone puts on a module; darker is larger, on a logarithmic scale. Green "
        "frames are gradients that the contract declares; dashed red ones are missing, or there against the contract."
    )
    report.figure(gradient_matrix(record, contract), caption, "Modules by losses, with the norm of the gradient")
    for section in sections:
        report.heading(section.title)
        report.text(section.meaning)
        report.table(section.header, section.body)
    report.results(verdict)
    return report
