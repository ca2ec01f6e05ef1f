"""Kinds of situations, told from what was driven: for reporting, never as an input.

Most driving goes straight ahead, so an average over all samples hides what happens in turns.
"""

import numpy as np
from jaxtyping import Bool, Float

from v2x_teacher.data.labels import RATE_HZ

STANDING_MPS = 0.5
FAST_MPS = 5.0
TURN_RAD = np.deg2rad(15)
SECONDS = 0.5
"""Over which a speed or a direction is read: 2 cm of noise are 0.06 m/s then."""


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
