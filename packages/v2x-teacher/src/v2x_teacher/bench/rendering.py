"""Data: what a picture costs, from the traced view to the written data set."""

import io
import itertools
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from drivelab_shared.results import Table
from v2x_teacher.bench.timing import Clock, interleave, median, row, total
from v2x_teacher.config import BenchSettings, MakeDataSettings
from v2x_teacher.data.make_data import make_data
from v2x_teacher.data.make_data.traffic import scenario, simulate
from v2x_teacher.data.make_data.views import Views

SECONDS = 12.0
NUM_VIEWS = 20
"""Per repeat and sensor."""
NUM_DRIVES = 3
DRIVE, STREET, VEHICLE, INFRASTRUCTURE, SWEEP = (
    "drive: traffic of 12 s",
    "drive: street",
    "vehicle's picture",
    "infrastructure's picture",
    "lidar sweep",
)
SENSORS = (VEHICLE, INFRASTRUCTURE, SWEEP)


def bench_rendering(settings: BenchSettings, scratch: Path) -> list[Table]:
    """Milliseconds per drive, view and sweep, and pictures per CPU-second of make-data."""
    defaults, counter = MakeDataSettings(), itertools.count()
    num_pictures = []

    def sense(clock: Clock) -> None:
        _sense(settings.seed, next(counter), defaults.width, clock)

    def make(clock: Clock) -> None:
        folder = Path(tempfile.mkdtemp(dir=scratch)) / "data"
        chosen = MakeDataSettings(
            data_dir=folder, num_sequences=NUM_DRIVES, seconds=SECONDS, workers=1, seed=settings.seed
        )
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), clock.part("make-data"):
            make_data(chosen)
        num_pictures.append(sum(1 for _ in folder.rglob("*.jpg")))
        shutil.rmtree(folder)

    seconds = interleave("rendering", {"sensors": sense, "make-data": make}, settings.repeats)
    rate = num_pictures[0] / total(seconds["make-data"])
    rows = [
        row(name, f"ms, {defaults.width} pixels wide", 1000 * values / (NUM_VIEWS if name in SENSORS else 1))
        for name, values in seconds["sensors"].items()
    ]
    rows.append(row("make-data, everything included", "pictures per CPU-second", rate))
    sentence = (
        f"make-data writes {median(rate).shown()} pictures per CPU-second, {defaults.width} pixels wide, with poses, "
        "labels and calibrations; on several cores it makes several drives at a time."
    )
    title = f"Rendering, {settings.repeats} times in turns"
    return [Table.create("rendering", title, rows, [settings.seed], [sentence], threads=settings.threads)]


def _sense(seed: int, number: int, width: int, clock: Clock) -> None:
    """Everything that one drive is seen by."""
    with clock.part(DRIVE):
        drive = simulate(scenario(seed, number, SECONDS))
    with clock.part(STREET):
        views = Views(drive, width)
    times_s = np.linspace(0.5, SECONDS - 0.5, NUM_VIEWS)
    rng = np.random.default_rng(seed)
    for name, look in ((VEHICLE, views.vehicle), (INFRASTRUCTURE, views.infrastructure)):
        with clock.part(name):
            for time_s in times_s:
                look(time_s)
    with clock.part(SWEEP):
        for time_s in times_s:
            views.lidar(time_s, rng)
