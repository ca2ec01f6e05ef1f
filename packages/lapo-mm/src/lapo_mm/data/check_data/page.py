"""The findings as one HTML page: conclusions, problems, a histogram of returns, tables and a contact sheet."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from drivelab_shared.plots import COLOURS
from drivelab_shared.report import Report
from lapo_mm.data.check_data.findings import Findings
from lapo_mm.data.check_data.glances import SHEET_COLUMNS, Glance
from lapo_mm.data.check_data.tables import SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PROBE = (
    "The probe is a ridge regression on random features of each modality, fitted on training episodes. What it "
    "explains is there; what it does not explain may still be, for a network that is trained. `action` is what the "
    "behaviour did: as far as it is explained, cloning can learn it. In brackets 95 % intervals from drawing "
    "validation episodes anew."
)


def page(findings: Findings) -> Report:
    """The report, not yet written."""
    report = Report("Data check", findings.folder)
    report.conclude(*findings.conclusions)
    report.heading("Problems")
    problems = [*(f"error: {line}" for line in findings.errors), *(f"warning: {line}" for line in findings.warnings)]
    report.text("\n".join(f"- {line}" for line in problems) if problems else "None.")
    report.heading("Returns")
    report.figure(
        _histogram(findings.glances),
        "Sum of the rewards of each episode.",
        "Histogram of the returns of training and of validation episodes",
    )
    report.heading("What is in the dataset")
    for caption, (header, body) in findings.tables.items():
        report.table(header, body, caption)
    report.text(_PROBE)
    rows = [
        (f"episode {glance.facts.index}", glance.stills) for glance in findings.glances if glance.stills is not None
    ]
    if rows:
        report.heading("Pictures")
        columns = [f"{share:.0%}" for share in np.linspace(0, 1, SHEET_COLUMNS)]
        report.strip(rows, columns, "Images at equal distances in time; the first episodes of the dataset.")
    return report


def _histogram(glances: Sequence[Glance]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    axes = figure.subplots()
    returns = {name: [g.facts.return_ for g in glances if g.facts.split == name] for name in SPLITS}
    bins = np.histogram_bin_edges(np.concatenate(list(returns.values())), bins=40)
    for (name, values), colour in zip(returns.items(), COLOURS, strict=False):
        axes.hist(values, bins=bins, color=colour, alpha=0.6, label=f"{name}: {len(values)} episodes")
    axes.set(xlabel="return of an episode", ylabel="episodes")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure
