"""The report of `filter`: tables, and every cloud from above before and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drivelab_shared.report import Report
from drivelab_shared.results import Table
from opv2v_stage2.clouds.overhead import HEIGHT_RANGE_M, overhead
from opv2v_stage2.config import FilterSettings
from opv2v_stage2.filter.pairs import Pair

MAX_PICTURES = 12
PICTURE_PX = 460


def write_page(
    path: Path,
    tables: Sequence[Table],
    raw: Sequence[Pair],
    filtered: Sequence[Pair],
    settings: FilterSettings,
) -> None:
    """Write it as one HTML file."""
    report = Report("Filtered clouds", f"z {settings.z_min:g} to {settings.z_max:g} m above the ground")
    report.conclude(*_conclusions(tables[0]))
    for table in tables:
        report.results(table)
    report.heading("From above")
    report.text(
        f"Ahead is up. Blue is the ground, red {HEIGHT_RANGE_M[1]:g} m above it and more. "
        f"Up to {MAX_PICTURES} of {len(raw)} clouds."
    )
    for before, after in list(zip(raw, filtered, strict=True))[:MAX_PICTURES]:
        clouds = {"predicted": (before.predicted, after.predicted)}
        if before.measured is not None and after.measured is not None:
            clouds["measured"] = (before.measured, after.measured)
        for name, both in clouds.items():
            views = [overhead([cloud], settings.bev_range, size_px=PICTURE_PX) for cloud in both]
            gap = np.full((PICTURE_PX, 8, 3), 255, np.uint8)
            caption = f"{before.name}, {name}: raw on the left, filtered on the right"
            report.picture(np.concatenate([views[0], gap, views[1]], axis=1), caption)
    report.write(path)


def _conclusions(table: Table) -> list[str]:
    """One sentence for each figure that is in both rows."""
    values = {(row.row, row.metric): row.value for row in table.rows}
    found = []
    for metric in dict.fromkeys(row.metric for row in table.rows):
        raw, filtered = values[("raw", metric)], values[("filtered", metric)]
        if raw is not None and filtered is not None and metric != "points":
            found.append(f"{metric}: {raw:.2f} before, **{filtered:.2f}** after.")
    return found
