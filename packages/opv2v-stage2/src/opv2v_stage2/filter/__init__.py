"""Filter: crop clouds, let frames vote, and say what it did to Chamfer distance and BEV overlap.

Both clouds of a pair go through the same crop. With the crop on one side only, as in the scripts that users come from,
even a perfect prediction is metres off.
"""

import sys

from drivelab_shared import results
from opv2v_stage2.clouds.files import write_cloud
from opv2v_stage2.config import FilterSettings
from opv2v_stage2.filter.filtering import filtered
from opv2v_stage2.filter.page import write_page
from opv2v_stage2.filter.pairs import read_pairs
from opv2v_stage2.filter.tables import filter_tables


def filter_clouds(settings: FilterSettings) -> None:
    """Print what changed, write results.json and report.html, and the filtered clouds if they are asked for.

    Raises:
        UserError: a file is missing or damaged, or frames cannot vote.
    """
    raw = read_pairs(settings)
    for pair in raw:
        if pair.predicted.frame.is_assumed:
            assumed = f"x forward, y left, z up around the lidar, the ground at {pair.predicted.frame.ground_z:g} m"
            print(f"filter: {pair.path}: no sidecar: taken for {assumed}", file=sys.stderr)
    kept = filtered(raw, settings)
    tables = filter_tables(raw, kept, settings)
    results.write(settings.output_dir / "results.json", tables)
    write_page(settings.output_dir / "report.html", tables, raw, kept, settings)
    if settings.save_filtered is not None:
        for pair in kept:
            write_cloud(settings.save_filtered / f"{pair.name}_filtered.pcd", pair.predicted)
        print(f"filtered clouds: {settings.save_filtered}")
    print(results.plain(tables[0], *dict.fromkeys(row.metric for row in tables[0].rows)))
    print(f"report: {settings.output_dir / 'report.html'}")
