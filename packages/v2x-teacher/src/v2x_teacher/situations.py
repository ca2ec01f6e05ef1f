"""Which samples show what: speeds and manoeuvres, and traffic that the vehicle could not see.

Told from what was driven and from labels, for reporting only and never as an input. Most driving goes straight ahead,
so an average over all samples hides what happens in turns.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from drivelab_shared.arrays import read_archive
from v2x_teacher.data.labels import RATE_HZ, Samples
from v2x_teacher.data.recording import Recording

HIDDEN = "hidden cross traffic"
AHEAD_M, ASIDE_M = 70.0, 60.0
CROSSING = np.sin(np.deg2rad(45))

STANDING_MPS = 0.5
FAST_MPS = 5.0
TURN_RAD = np.deg2rad(15)
SECONDS = 0.5
"""Over which a speed or a direction is read: 2 cm of noise are 0.06 m/s then."""


def situations(recording: Recording, samples: Samples) -> dict[str, Bool[np.ndarray, " samples"]]:
    """Samples by situation; empty ones are left out."""
    found = strata(samples.truth)
    if not samples.row_labels:
        found = {HIDDEN: hidden_cross_traffic(recording, samples)} | found
    return {name: which for name, which in found.items() if which.any()}


def strata(truth: Float[np.ndarray, "samples steps 2"]) -> dict[str, Bool[np.ndarray, " samples"]]:
    """Which samples belong to each stratum, by speed at t0 and by manoeuvre.

    Speed: standing (< 0.5 m/s), slow (< 5 m/s), fast. Manoeuvre: `stop` ends standing, wherever it went before; `left`
    and `right` end turned by more than 15 degrees; `straight` is the rest. Without a known end a sample has none.
    """
    steps = round(SECONDS * RATE_HZ)
    first = np.linalg.norm(truth[:, steps - 1], axis=-1) / SECONDS
    end = truth[:, -1] - truth[:, -1 - steps]
    last, turned = np.linalg.norm(end, axis=-1) / SECONDS, np.arctan2(end[:, 1], end[:, 0])
    moves = last >= STANDING_MPS
    return {
        "standing": first < STANDING_MPS,
        "slow": (first >= STANDING_MPS) & (first < FAST_MPS),
        "fast": first >= FAST_MPS,
        "straight": moves & (np.abs(turned) <= TURN_RAD),
        "left": moves & (turned > TURN_RAD),
        "right": moves & (turned < -TURN_RAD),
        "stop": last < STANDING_MPS,
    }


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
    return read_archive(path, "the situations of an evaluation", _require_masks)


def _require_masks(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if odd := [name for name, which in arrays.items() if which.dtype != bool or which.ndim != 1]:
        raise ValueError(f"{odd[0]} of {arrays[odd[0]].dtype} {arrays[odd[0]].shape}")
    return arrays
