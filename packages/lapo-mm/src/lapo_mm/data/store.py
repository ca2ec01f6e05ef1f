"""All usable episodes of a dataset as a few flat arrays that are mapped into memory instead of loaded.

The conversion is done once per content of the dataset. It holds one episode at a time, and a reader holds none, so
neither needs more memory for more data.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64, Real

from drivelab_shared.arrays import map_rows
from drivelab_shared.digests import digests
from drivelab_shared.errors import UserError
from lapo_mm.config import Modality
from lapo_mm.data.conversion import INDEX, convert
from lapo_mm.data.episodes import DatasetInfo
from lapo_mm.data.metadata import METADATA
from lapo_mm.data.minari_files import MAIN_FILE, read_info
from lapo_mm.data.roles import Roles, assign_roles
from lapo_mm.data.splits import Span, Split
from lapo_mm.data.statistics import Statistics
from lapo_mm.data.survey import Survey, survey
from lapo_mm.models.shapes import Shapes

_VERSION = 1
"""Part of the key: raise it when the conversion changes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """The usable episodes, one behind the other, read only. An episode has T steps and T + 1 frames."""

    data_dir: Path
    info: DatasetInfo
    roles: Roles
    observations: Mapping[str, Real[np.ndarray, "frames ..."]]
    """By modality: `image` uint8 [channels, height, width], `state` float32 [n], `lidar` float32 [beams, n]."""
    actions: Float32[np.ndarray, "steps actions"]
    """In the units of the environment."""
    rewards: Float32[np.ndarray, " steps"]
    terminals: Bool[np.ndarray, " steps"]
    """The task ended with this step. Where only the recording did, it is false, and the last observation counts."""
    rows: Int64[np.ndarray, " steps"]
    """The frame that a step starts from; it leads to the one behind it."""
    episodes: tuple[Span, ...]
    infos: Mapping[str, Real[np.ndarray, "frames ..."]]
    """What every episode has beside its observations, such as the simulator's state."""
    statistics: Statistics
    """Of the training split."""
    fingerprint: str
    """Of everything here."""
    left_out: tuple[str, ...]
    """What skip_invalid went on without, one line each."""

    def steps_of(self, split: Split, top_share: float = 1.0) -> Int64[np.ndarray, " transitions"]:
        """The steps of a split in order; `top_share` keeps that share of its episodes, those with the highest return.

        At least one episode is kept.
        """
        spans = [span for span in self.episodes if span.split == split]
        best = sorted(spans, key=lambda span: -span.return_)[: max(1, round(top_share * len(spans)))]
        kept = sorted(best, key=lambda span: span.first_step)
        return np.concatenate([np.arange(span.length) + span.first_step for span in kept])

    def shapes(self, modalities: Sequence[Modality] = ()) -> Shapes:
        """What a network must know; empty `modalities` means all there are.

        Raises:
            UserError: a modality is asked for that there is not.
        """
        for name in modalities:
            if name not in self.observations:
                there = ", ".join(self.observations)
                raise UserError(f"{self.data_dir}: modalities: expected some of {there}, got {name}")
        sizes = {name: self.roles.shape(name) for name in modalities or self.roles.modalities}
        if "state" in sizes:
            (sizes["state"],) = sizes["state"]
        return Shapes(**sizes, action=self.actions.shape[1])


def open_store(
    data_dir: Path,
    cache_dir: Path,
    *,
    modalities: Sequence[Modality] = (),
    val_share: float = 0.13,
    skip_invalid: bool = False,
) -> Store:
    """The dataset's episodes, converted below `cache_dir` unless they are there already.

    Any number of processes may ask at the same time.

    Args:
        data_dir: folder of the dataset.
        cache_dir: folder that is safe to delete.
        modalities: use only these; empty means all there are.
        val_share: share of the episodes kept for validation.
        skip_invalid: go on without unusable episodes, and list them on stderr.

    Raises:
        UserError: something is wrong with the dataset, and skip_invalid is off or does not help.
    """
    info = read_info(data_dir)
    roles = assign_roles(info.observation_space, str(data_dir / METADATA), modalities)
    key = {
        "version": _VERSION,
        "digests": digests([data_dir / METADATA, data_dir / MAIN_FILE], cache_dir / "hashes.json"),
        "roles": [dataclasses.astuple(role) for role in roles.roles],
        "settings": [val_share, skip_invalid],
    }
    fingerprint = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = cache_dir / f"episodes-{fingerprint[:16]}"
    if not (folder / INDEX).exists():
        found = survey(data_dir, modalities, val_share)
        _stop_at_errors(found, skip_invalid)
        convert(found, folder)
    return _load(folder, data_dir, info, roles, fingerprint)


def _stop_at_errors(found: Survey, skip_invalid: bool) -> None:
    stopping = [problem for problem in found.errors if problem.level == "fatal" or not skip_invalid]
    if stopping:
        others = f" (and {len(stopping) - 1} more: run check-data)" if len(stopping) > 1 else ""
        raise UserError(f"{stopping[0]}{others}")


def _load(folder: Path, data_dir: Path, info: DatasetInfo, roles: Roles, fingerprint: str) -> Store:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    for line in index["left_out"]:
        print(f"left out: {line}", file=sys.stderr)
    arrays = {path.stem: map_rows(path) for path in folder.glob("*.npy")}
    spans = tuple(Span(**span) for span in index["episodes"])
    return Store(
        data_dir=data_dir,
        info=info,
        roles=roles,
        observations={name: arrays[name] for name in roles.modalities},
        actions=arrays["actions"],
        rewards=arrays["rewards"],
        terminals=arrays["terminals"],
        rows=np.concatenate([np.arange(span.length) + span.first_frame for span in spans]),
        episodes=spans,
        infos={key: arrays[f"info_{number}"] for number, key in enumerate(index["infos"])},
        statistics=Statistics.from_json(index["statistics"]),
        fingerprint=fingerprint,
        left_out=tuple(index["left_out"]),
    )
