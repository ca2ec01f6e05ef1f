"""The clouds that are filtered, each in the frame of its prediction."""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from opv2v_stage2.clouds.cloud import Cloud
from opv2v_stage2.clouds.files import read_cloud
from opv2v_stage2.config import FilterSettings


@dataclass(frozen=True, eq=False)
class Pair:
    """A predicted cloud and what was measured there."""

    name: str
    """Unlike that of any other pair."""
    path: Path
    predicted: Cloud
    measured: Cloud | None


def read_pairs(settings: FilterSettings) -> list[Pair]:
    """All clouds.

    Raises:
        UserError: a file is missing or damaged, or two clouds of a pair have nothing to do with each other.
    """
    paths = _listed(settings.pair_list) if settings.pair_list else _named(settings)
    times = Counter(pred.stem for pred, _ in paths)
    pairs = []
    for index, (pred, gt) in enumerate(paths):
        name = pred.stem if times[pred.stem] == 1 else f"{index:03}_{pred.stem}"
        predicted = read_cloud(pred, settings.ground_z)
        measured = _in_frame_of(predicted, read_cloud(gt, settings.ground_z), gt) if gt else None
        pairs.append(Pair(name, pred, predicted, measured))
    return pairs


def _named(settings: FilterSettings) -> list[tuple[Path, Path | None]]:
    return list(zip(settings.pred, settings.gt or [None] * len(settings.pred), strict=True))


def _listed(path: Path) -> list[tuple[Path, Path | None]]:
    """From a CSV; an empty gt means that nothing was measured."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV with the columns pred and gt, got: {error}") from None
    for number, row in enumerate(rows, 2):
        if not row.get("pred") or row.get("gt") is None:
            raise UserError(f"{path}: line {number}: expected a pred and a gt, got {list(row.values())!r:.80}")
    if not rows:
        raise UserError(f"{path}: expected the columns pred and gt and some rows, got none")
    return [(Path(row["pred"]), Path(row["gt"]) if row["gt"] else None) for row in rows]


def _in_frame_of(predicted: Cloud, measured: Cloud, path: Path) -> Cloud:
    """The measured cloud in the frame of the prediction, through the world where both know their place in it."""
    ours, theirs = predicted.frame, measured.frame
    if ours.world_from_cloud is not None and theirs.world_from_cloud is not None and ours.scenario == theirs.scenario:
        return measured.moved(np.linalg.inv(ours.world_from_cloud) @ theirs.world_from_cloud, ours)
    if ours.lidar and theirs.lidar and ours.lidar != theirs.lidar:
        raise UserError(f"{path}: expected the frame of the prediction, {ours.lidar}, got {theirs.lidar}")
    # A file that says nothing is taken to be in the same frame: that is what a pair means.
    return replace(measured, frame=ours if ours.lidar else theirs)
