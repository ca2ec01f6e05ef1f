"""Bench: how fast, as ratios against plain loops that do the same, in CPU time and in turns on one machine.

Absolute rates depend on the machine and on what else it does; ratios that were measured in turns do not. CPU time is
that of the whole process; torch's threads are pinned.
"""

import tempfile
from pathlib import Path

from drivelab_shared import results
from latent_predictor.bench.imagination import bench_imagination
from latent_predictor.bench.loading import bench_loading
from latent_predictor.bench.memory import bench_memory
from latent_predictor.bench.simulation import bench_simulation
from latent_predictor.bench.training import bench_training
from latent_predictor.bench.workbench import Workbench
from latent_predictor.config import BenchSettings
from latent_predictor.data.make_data import ensure_data

SUITES = {
    "training": (bench_training,),
    "imagination": (bench_imagination,),
    "data": (bench_simulation, bench_loading),
    "memory": (bench_memory,),
}


def bench(settings: BenchSettings) -> None:
    """Measure, print tables and conclusions, and write results.json.

    Raises:
        UserError: there is no finished run whose VAE and judges could be used.
    """
    ensure_data(settings.data_dir)
    with tempfile.TemporaryDirectory(prefix="latent-predictor-bench-") as scratch:
        workbench = Workbench.of(settings, Path(scratch))
        tables = []
        for name, measures in SUITES.items():
            if settings.suite in (name, "all"):
                for measure in measures:
                    tables += _printed(measure(workbench))
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    results.write(settings.output_dir / "results.json", tables)
    print(f"results: {settings.output_dir / 'results.json'}")


def _printed(tables: list[results.Table]) -> list[results.Table]:
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n", flush=True)
    return tables
