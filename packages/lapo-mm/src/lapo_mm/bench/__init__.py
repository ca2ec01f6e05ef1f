"""Bench: how fast, as ratios against plain ways to do the same, in CPU time and in turns on one machine.

Absolute rates depend on the machine and on what else it does; ratios that were measured in turns do not. The
comparison with another library, which needs an environment of its own, is `tools/peers/d3rlpy`.
"""

import torch

from drivelab_shared import results
from lapo_mm.bench.data import bench_data
from lapo_mm.bench.steps import bench_steps
from lapo_mm.config import CACHE_DIR, BenchSettings
from lapo_mm.data.make_data import ensure_data
from lapo_mm.data.store import open_store

SUITES = {"step": bench_steps, "data": bench_data}


def bench(settings: BenchSettings) -> None:
    """Measure, print tables and conclusions, and write results.json.

    Raises:
        UserError: something is wrong with the dataset.
    """
    torch.set_num_threads(settings.threads)
    ensure_data(settings.data_dir)
    store = open_store(settings.data_dir, CACHE_DIR)
    tables = []
    for name, measure in SUITES.items():
        if settings.suite in (name, "all"):
            for table in measure(store, settings):
                print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n", flush=True)
                tables.append(table)
    results.write(settings.output_dir / "results.json", tables)
    print(f"results: {settings.output_dir / 'results.json'}")
