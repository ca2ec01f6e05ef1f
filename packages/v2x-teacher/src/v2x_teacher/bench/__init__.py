"""Bench: how fast, as ratios against a plain loop that does the same, in CPU time and in turns on one machine.

Absolute rates depend on the machine and on what else it does; ratios that were measured in turns hardly do. CPU time is
that of the whole process; torch's threads are pinned.
"""

import tempfile
from pathlib import Path

from drivelab_shared import engine, results
from v2x_teacher.bench.rendering import bench_rendering
from v2x_teacher.bench.training import bench_training
from v2x_teacher.config import BenchSettings
from v2x_teacher.data.make_data import ensure_data

SUITES = {"training": bench_training, "data": bench_rendering}


def bench(settings: BenchSettings) -> None:
    """Measure, print tables and conclusions, and write results.json.

    Raises:
        UserError: the data cannot be used.
    """
    engine.start("cpu", threads=settings.threads)
    if settings.suite in ("training", "all"):
        ensure_data(settings.data_dir)
    tables = []
    with tempfile.TemporaryDirectory(prefix="v2x-teacher-bench-") as scratch:
        for name, measure in SUITES.items():
            if settings.suite in (name, "all"):
                tables += measure(settings, Path(scratch))
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n")
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    results.write(settings.output_dir / "results.json", tables)
    print(f"results: {settings.output_dir / 'results.json'}")
