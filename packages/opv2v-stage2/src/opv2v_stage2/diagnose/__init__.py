"""Diagnose: conventions of the data, gauges of losses and model, and where points float.

files -> numbers that must hold, beside those of the wrong conventions
losses -> what they must not depend on, beside the request's own forms
model -> what it must not see; what floats
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from drivelab_shared import engine, results, runs
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table
from opv2v_stage2.config import DiagnoseSettings, LossSettings
from opv2v_stage2.diagnose.check import Check, aligned, grid
from opv2v_stage2.diagnose.conventions import file_checks, projection_checks
from opv2v_stage2.diagnose.floating import band_name, band_shares, floater_map, heights_of
from opv2v_stage2.diagnose.gauges import gauge_checks
from opv2v_stage2.diagnose.leakage import leakage_checks
from opv2v_stage2.diagnose.subject import Case, chosen_cases
from opv2v_stage2.trained import TrainedRun, open_trained

__all__ = ["Check", "diagnose"]

PACKAGE = "opv2v-stage2"


def diagnose(settings: DiagnoseSettings) -> int:
    """Write results.json and report.html, print the table, and name every broken check on stderr.

    Returns:
        1 if something does not hold, else 0.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    trained = open_trained(run, device, settings)
    cases = chosen_cases(trained, settings)
    checks, left_out = _checks(trained, cases, settings)
    broken = [check for check in checks if check.holds is False]
    floating = {str(case.listed.key): floater_map(case)[1] for case in cases}
    heights = heights_of(cases)

    verdict = _verdict(trained, cases, checks, left_out)
    tables = [verdict, _floater_table(floating, settings), _height_table(heights, settings)]
    output = settings.output_dir or run / "diagnose"
    results.write(output / "results.json", tables)
    _report(trained, cases, checks, tables, floating, heights).write(output / "report.html")

    print(aligned(*grid(checks)), end="\n\n")
    print("\n".join(f"- {sentence.replace('**', '')}" for sentence in verdict.conclusions), end="\n\n")
    print(results.plain(tables[1], *dict.fromkeys(row.metric for row in tables[1].rows)), end="\n\n")
    print(f"report: {output / 'report.html'}")
    for check in broken:
        print(f"{run.name}: {check}", file=sys.stderr)
    return 1 if broken else 0


def _checks(trained: TrainedRun, cases: Sequence[Case], settings: DiagnoseSettings) -> tuple[list[Check], list[str]]:
    """All that apply, and what could not be checked."""
    left_out = []
    checks = list(file_checks(cases))
    projected = list(projection_checks(cases))
    if not projected:
        left_out.append("the lidar against dense depth: the data have none")
    checks += projected
    together = next((case for case in cases if case.listed.coop_agents), None)
    if together is None:
        left_out.append("losses and inputs: no moment has two vehicles")
    else:
        checks += gauge_checks(trained, together, settings.seed)
        checks += leakage_checks(trained, together, settings.split, settings.seed)
    return checks, left_out


def _verdict(trained: TrainedRun, cases: Sequence[Case], checks: Sequence[Check], left_out: Sequence[str]) -> Table:
    judged = [check for check in checks if check.holds is not None]
    broken = [check for check in judged if not check.holds]
    moments = f"{len(cases)} moments of {', '.join(trained.stages)} on {trained.tree.root}"
    if broken:
        sentences = [f"**{len(broken)} of {len(judged)} checks are broken**, on {moments}."]
    else:
        sentences = [f"**All {len(judged)} checks hold**, on {moments}."]
    sentences += [f"**Broken:** {check}." for check in broken]
    sentences += [f"**Not checked:** {what}." for what in left_out]
    sentences += [f"**Warning:** this run was trained with {what}." for what in literal_forms(trained.settings.loss)]
    rows = []
    for check in checks:
        rows.append(Row(check.name, "found", check.value, at=check.group))
        if check.holds is not None:
            rows.append(Row(check.name, "holds", int(check.holds), at=check.group))
    return Table.create("checks", "What must hold", rows, [trained.settings.seed], sentences)


def literal_forms(loss: LossSettings) -> list[str]:
    """The request's own forms that a training used, and what they depend on."""
    forms = {
        "mask_aware off: pixels without a label count as depth 0": not loss.mask_aware,
        "mask upstream: sky without a label is taught to be valid": loss.mask == "upstream",
        "height.mode depth: it makes a false ceiling at z_max": loss.height.mode == "depth" and loss.height.weight > 0,
        "scale_distill_form literal: it depends on how scale and shape are split": loss.scale_distill_form == "literal",
        "pose_relative i_inv_j: it depends on where the world begins": loss.pose_relative == "i_inv_j",
    }
    return [said for said, is_used in forms.items() if is_used]


def _floater_table(floating: Mapping[str, float], settings: DiagnoseSettings) -> Table:
    rows = [Row(key, "floaters [%]", share) for key, share in floating.items()]
    rows.append(Row("mean", "floaters [%]", float(np.mean(list(floating.values())))))
    return Table.create("floaters", "Points where there is nothing", rows, [settings.seed])


def _height_table(heights: Mapping[str, np.ndarray], settings: DiagnoseSettings) -> Table:
    rows = [
        Row(band_name(band), "share of the points [%]", share, at=name)
        for name, found in heights.items()
        for band, share in band_shares(found).items()
    ]
    return Table.create("heights", "How high the points are", rows, [settings.seed])


def _report(
    trained: TrainedRun,
    cases: Sequence[Case],
    checks: Sequence[Check],
    tables: Sequence[Table],
    floating: Mapping[str, float],
    heights: Mapping[str, np.ndarray],
) -> Report:
    from opv2v_stage2.diagnose.pictures import height_plot, show_case  # here: they need matplotlib

    verdict, *measured = tables
    report = Report("Diagnosis", f"{trained.folder.name}, {trained.stages[-1]}, modality {trained.settings.modality}")
    report.conclude(*verdict.conclusions)
    report.heading(verdict.title)
    report.table(*grid(checks), "A dash is shown for comparison: the request's own form, or a wrong convention")
    for case in cases:
        show_case(report, case, floating[str(case.listed.key)])
    report.heading("Heights of points")
    report.figure(height_plot(heights), "Shares of all points; true ones of all pixels that show something", "Heights")
    for table in measured:
        report.results(table)
    return report
