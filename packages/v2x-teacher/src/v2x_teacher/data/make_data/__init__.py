"""The verb `make-data`: simulated drives through junctions, written in a public layout."""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from drivelab_shared.errors import UserError
from drivelab_shared.making import Making
from drivelab_shared.workers import in_processes
from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data import dair, flat, spd
from v2x_teacher.data.make_data.recorder import Recorder
from v2x_teacher.data.make_data.sequences import plan_sequences
from v2x_teacher.data.make_data.traffic import EVENTS, simulate
from v2x_teacher.data.make_data.views import Views

WRITERS = {"spd": spd, "dair": dair, "flat": flat}
VERSION = 1
"""Counts up whenever the same settings make other bytes."""
RECORDED = (
    *("layout", "num_sequences", "seconds", "picture_every", "width", "lidar", "position_noise_m", "drop_frames"),
    *("id_gaps", "forward_axis", "seed"),
)
"""What the bytes of the folder depend on."""


def make_data(settings: MakeDataSettings) -> None:
    """Drive, record, write, and print what the folder holds then. Data that are there are never overwritten.

    Raises:
        UserError: the folder holds anything but an interrupted run of these settings, or cannot be written.
    """
    try:
        making = _making(settings)
        missing = [int(name) for name in making.begin([str(index) for index in range(settings.num_sequences)])]
        WRITERS[settings.layout].make_folders(settings.data_dir)
        start = time.perf_counter()
        for _ in tqdm(_sequences(settings, missing), total=len(missing), desc="driving", unit="drive", disable=None):
            pass
        WRITERS[settings.layout].write_lists(settings.data_dir, plan_sequences(settings))
        making.finish()
    except OSError as error:
        found = error.strerror or error
        raise UserError(f"{settings.data_dir}: data_dir: expected a folder to write to, got {found}") from None
    print(_summary(settings, missing, time.perf_counter() - start))


def ensure_data(data_dir: Path, layout: Literal["spd", "dair"] = "spd") -> None:
    """Make the default data where there is no folder or an empty one; finish them where that was interrupted.

    Raises:
        UserError: an interrupted run with other settings is found.
    """
    settings = MakeDataSettings(data_dir=data_dir, layout=layout)
    _making(settings).ensure(lambda: make_data(settings))


def _making(settings: MakeDataSettings) -> Making:
    made_by = f"v2x-teacher make-data, drives version {VERSION}"
    return Making(settings.data_dir, {"made_by": made_by, **{name: getattr(settings, name) for name in RECORDED}})


def _sequences(settings: MakeDataSettings, indices: list[int]) -> Iterator[None]:
    return in_processes(partial(_make_sequence, settings), indices, settings.workers)


def _make_sequence(settings: MakeDataSettings, index: int) -> None:
    plan = plan_sequences(settings)[index]
    drive = simulate(plan.scenario)
    recorder = Recorder(settings, plan, drive, Views(drive, settings.width))
    WRITERS[settings.layout].write_sequence(settings.data_dir, recorder)
    _making(settings).note(str(index))


def _summary(settings: MakeDataSettings, made: list[int], seconds: float) -> str:
    plans = plan_sequences(settings)
    events = Counter(plan.scenario.event for plan in plans)
    num_made = 2 * sum(pair.has_pictures for index in made for pair in plans[index].pairs)
    return (
        f"{settings.data_dir}: {settings.layout}, {len(plans)} sequences "
        f"({', '.join(f'{events[event]} {event}' for event in dict.fromkeys(EVENTS))}), "
        f"{sum(len(plan.vehicle) for plan in plans)} vehicle and "
        f"{sum(len(plan.infrastructure) for plan in plans)} infrastructure frames, "
        f"{sum(len(plan.pairs) for plan in plans)} pairs; "
        f"{num_made} pictures in {seconds:.1f} s: {num_made / max(seconds, 1e-3):.0f} pictures/s"
    )
