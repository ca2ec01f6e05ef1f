"""Which samples show what: strata of the truth, and traffic that the vehicle could not see. For reporting only."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from drivelab_shared.errors import UserError
from v2x_teacher.data.labels import Samples
from v2x_teacher.data.recording import Recording
from v2x_teacher.strata import strata

HIDDEN = "hidden cross traffic"
AHEAD_M, ASIDE_M = 70.0, 60.0
CROSSING = np.sin(np.deg2rad(45))


def situations(recording: Recording, samples: Samples) -> dict[str, Bool[np.ndarray, " samples"]]:
    """Samples by situation; empty ones are left out."""
    found = strata(samples.truth)
    if not samples.row_labels:
        found = {HIDDEN: hidden_cross_traffic(recording, samples)} | found
    return {name: which for name, which in found.items() if which.any()}


def hidden_cross_traffic(recording: Recording, samples: Samples) -> Bool[np.ndarray, " samples"]:
    """Samples at which somebody ahead drives across the vehicle's road, labelled by the infrastructure alone."""
    found = np.zeros(len(samples), dtype=bool)
    for index, pair in enumerate(samples.pairs):
        boxes = recording.boxes(pair.sequence, pair.vehicle_id) or ()
        ego_from_world = np.linalg.inv(samples.world_from_ego[index])
        found[index] = any(box.seen_by == "inf" and _crosses(ego_from_world @ box.world_from_box) for box in boxes)
    return found


def _crosses(ego_from_box: np.ndarray) -> bool:
    x, y = ego_from_box[:2, 3]
    return bool(0 < x < AHEAD_M and abs(y) < ASIDE_M and abs(ego_from_box[1, 0]) > CROSSING)


def save_situations(path: Path, found: Mapping[str, np.ndarray]) -> None:
    """As an npz without pickles."""
    np.savez_compressed(path, **found)


def load_situations(path: Path) -> dict[str, np.ndarray]:
    """What `save_situations` wrote.

    Raises:
        UserError: it is another file.
    """
    try:
        # Opened here, because numpy leaves a broken archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = dict(file)
        if odd := [name for name, which in found.items() if which.dtype != bool or which.ndim != 1]:
            raise ValueError(f"{odd[0]} of {found[odd[0]].dtype} {found[odd[0]].shape}")
    except Exception as problem:  # broken archives raise whatever zipfile, zlib or numpy stumble over
        text = " ".join(str(problem).split()) or type(problem).__name__
        raise UserError(f"{path}: expected the situations of an evaluation, got {text}") from problem
    return found
