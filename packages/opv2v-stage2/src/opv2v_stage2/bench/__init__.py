"""Bench: how fast, as ratios against plain ways to do the same, in CPU time and in turns on one machine.

Absolute rates depend on the machine and on what else it does; ratios that were measured in turns hardly do.
"""

import tempfile
from pathlib import Path

from drivelab_shared import engine, results
from opv2v_stage2.bench.clouds import bench_clouds
from opv2v_stage2.bench.data import bench_data
from opv2v_stage2.bench.training import bench_training
from opv2v_stage2.config import BenchSettings
from opv2v_stage2.data.make_data import ensure_data
from opv2v_stage2.data.tree import open_tree

SUITES = {"training": bench_training, "clouds": bench_clouds, "data": bench_data}


def bench(settings: BenchSettings) -> None:
    """Measure, print tables and conclusions, and write results.json.

    Raises:
        UserError: the data cannot be used.
    """
    engine.start("cpu", threads=settings.threads)
    ensure_data(settings.data_dir)
    tree = open_tree(settings.data_dir)
    tables = []
    with tempfile.TemporaryDirectory(prefix="opv2v-stage2-bench-") as scratch:
        for name, measure in SUITES.items():
            if settings.suite in (name, "all"):
                for table in measure(tree, settings, Path(scratch)):
                    print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n")
                    tables.append(table)
    results.write(settings.output_dir / "results.json", tables)
    print(f"results: {settings.output_dir / 'results.json'}")
