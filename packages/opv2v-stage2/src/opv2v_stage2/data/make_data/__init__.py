"""The verb `make-data`: streets as cooperating vehicles see them, written in the layout of OPV2V."""

import json
import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tqdm import tqdm

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.workers import in_processes
from opv2v_stage2.config import MakeDataSettings
from opv2v_stage2.data.make_data.plan import SPLITS, Scenario, plan_scenarios
from opv2v_stage2.data.make_data.writer import write_scenario

RECORD = "data.json"
"""The settings that made the folder; written first."""
MADE = ".made"
"""Names the finished scenarios; this folder is there as long as the data are not complete."""
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
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        missing = _begin(settings)
        start = time.perf_counter()
        made = in_processes(partial(_make_scenario, settings), missing, settings.workers)
        for _ in tqdm(made, total=len(missing), desc="rendering", unit="scenario", disable=None):
            pass
        shutil.rmtree(settings.data_dir / MADE)
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
    if not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir())):
        make_data(settings)
    elif (data_dir / MADE).is_dir():
        if _read_record(data_dir) not in (None, _record(settings)):
            found = f"unfinished data: run make-data again with the settings in {data_dir / RECORD}"
            raise UserError(f"{data_dir}: data_dir: expected finished data, got {found}")
        make_data(settings)


def _begin(settings: MakeDataSettings) -> list[Scenario]:
    """What is still to be made. Marks the folder as ours on the way."""
    folder, record = settings.data_dir, _record(settings)
    is_interrupted = (folder / MADE).is_dir() and _read_record(folder) in (None, record)
    if any(folder.iterdir()) and not is_interrupted:
        raise UserError(f"{folder}: data_dir: expected an empty folder (data are never overwritten), got this one")
    (folder / MADE).mkdir(exist_ok=True)
    replace_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
    return [scenario for scenario in plan_scenarios(settings) if not (folder / MADE / scenario.name).exists()]


def _make_scenario(settings: MakeDataSettings, scenario: Scenario) -> None:
    write_scenario(settings, scenario)
    (settings.data_dir / MADE / scenario.name).touch()


def _record(settings: MakeDataSettings) -> dict[str, object]:
    made_by = f"opv2v-stage2 make-data, streets version {VERSION}"
    # Through JSON, where tuples are lists.
    return json.loads(json.dumps({"made_by": made_by, **{name: getattr(settings, name) for name in RECORDED}}))


def _read_record(folder: Path) -> object:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _summary(settings: MakeDataSettings, made: list[Scenario], seconds: float) -> str:
    kinds = Counter(scenario.kind for scenario in plan_scenarios(settings))
    counts = " + ".join(f"{count} {split}" for split, count in zip(SPLITS, settings.num_scenarios, strict=True))
    num_made = sum(len(scenario.frames) * (scenario.num_agents + scenario.has_roadside) for scenario in made)
    return (
        f"{settings.data_dir}: {counts} scenarios ({', '.join(f'{count} {kind}' for kind, count in kinds.items())}); "
        f"{num_made} agent frames in {seconds:.1f} s: {num_made / max(seconds, 1e-3):.1f} frames/s"
    )
