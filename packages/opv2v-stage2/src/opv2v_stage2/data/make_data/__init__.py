"""The verb `make-data`: streets as cooperating vehicles see them, written in the layout of OPV2V."""

import time
from collections import Counter
from functools import partial
from pathlib import Path

from tqdm import tqdm

from drivelab_shared.errors import UserError
from drivelab_shared.making import Making
from drivelab_shared.workers import in_processes
from opv2v_stage2.config import MakeDataSettings
from opv2v_stage2.data.make_data.plan import SPLITS, Scenario, plan_scenarios
from opv2v_stage2.data.make_data.writer import write_scenario

VERSION = 1
"""Counts up whenever the same settings make other bytes."""
RECORDED = ("num_scenarios", "num_frames", "frame_step", "size", "gps_noise_m", "gps_noise_deg", "pcd", "truth", "seed")
"""What the bytes of the folder depend on."""


def make_data(settings: MakeDataSettings) -> None:
    """Build, record, write, and print what the folder holds then. Data that are there are never overwritten.

    Raises:
        UserError: the folder holds anything but an interrupted run of these settings, or cannot be written.
    """
    try:
        making, scenarios = _making(settings), {one.name: one for one in plan_scenarios(settings)}
        missing = [scenarios[name] for name in making.begin(list(scenarios))]
        start = time.perf_counter()
        made = in_processes(partial(_make_scenario, settings), missing, settings.workers)
        for _ in tqdm(made, total=len(missing), desc="rendering", unit="scenario", disable=None):
            pass
        making.finish()
    except OSError as error:
        found = error.strerror or error
        raise UserError(f"{settings.data_dir}: data_dir: expected a folder to write to, got {found}") from None
    print(_summary(settings, missing, time.perf_counter() - start))


def ensure_data(data_dir: Path) -> None:
    """Make the default data where there is no folder or an empty one; finish them where that was interrupted.

    Raises:
        UserError: an interrupted run with other settings is found.
    """
    settings = MakeDataSettings(data_dir=data_dir)
    _making(settings).ensure(lambda: make_data(settings))


def _making(settings: MakeDataSettings) -> Making:
    made_by = f"opv2v-stage2 make-data, streets version {VERSION}"
    return Making(settings.data_dir, {"made_by": made_by, **{name: getattr(settings, name) for name in RECORDED}})


def _make_scenario(settings: MakeDataSettings, scenario: Scenario) -> None:
    write_scenario(settings, scenario)
    _making(settings).note(scenario.name)


def _summary(settings: MakeDataSettings, made: list[Scenario], seconds: float) -> str:
    kinds = Counter(scenario.kind for scenario in plan_scenarios(settings))
    counts = " + ".join(f"{count} {split}" for split, count in zip(SPLITS, settings.num_scenarios, strict=True))
    num_made = sum(len(scenario.frames) * (scenario.num_agents + scenario.has_roadside) for scenario in made)
    return (
        f"{settings.data_dir}: {counts} scenarios ({', '.join(f'{count} {kind}' for kind, count in kinds.items())}); "
        f"{num_made} agent frames in {seconds:.1f} s: {num_made / max(seconds, 1e-3):.1f} frames/s"
    )
