"""Which labels are left when everything with an error is left out."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from v2x_teacher.data.check_data.motion import flipped, turned_sequences
from v2x_teacher.data.kinematics import HISTORY_S
from v2x_teacher.data.labels import Samples, implausible
from v2x_teacher.data.recording import Recording


def unusable(
    recording: Recording, samples: Samples, unreadable: Collection[Path] = ()
) -> dict[str, Bool[np.ndarray, " samples"]]:
    """Which labels must be left out, by reason. What the reader rejects is not among the samples any more.

    Args:
        recording: of the samples.
        samples: labels by time or by rows.
        unreadable: pictures that cannot be opened or decoded.
    """
    turned = turned_sequences(recording, samples.forward_axis)
    around = {name: poses.time_us[flipped(poses)] for name, poses in recording.poses.items()}
    pairs = samples.pairs
    return {
        **implausible(samples),
        "heading turned around": np.array(
            [
                any(0 <= pair.time_us - time_us <= HISTORY_S * 1e6 for time_us in around.get(pair.sequence, ()))
                for pair in pairs
            ],
            dtype=bool,
        ),
        "another forward axis": np.array([pair.sequence in turned for pair in pairs], dtype=bool),
        "unreadable picture": np.array(
            [pair.vehicle_image in unreadable or pair.infrastructure_image in unreadable for pair in pairs], dtype=bool
        ),
    }
