"""A few labels drawn into their pictures: the quickest way to see a wrong axis, a wrong camera or a wrong path."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from drivelab_shared.errors import UserError
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.trajectories import refused, step_speeds
from v2x_teacher.data.labels import TIMES_S, Samples
from v2x_teacher.drawing.board import draw_case
from v2x_teacher.drawing.cases import CaseMaker
from v2x_teacher.drawing.curves import DRIVEN, Curve


def boards(evidence: Evidence) -> Iterator[tuple[str, UInt8[np.ndarray, "height width 3"]]]:
    """Caption and picture. What cannot be drawn because a file is broken is left out: its error is in the list."""
    samples = evidence.samples
    if not len(samples):
        return
    times = TIMES_S - (TIMES_S[0] if samples.row_labels else 0.0)
    try:
        maker = CaseMaker.of(evidence.recording, samples, times, EvaluateSettings().ego_size_m)
    except UserError:
        return
    for reason, index in _telling(samples).items():
        curve = Curve("label", DRIVEN, samples.truth[index])
        try:
            yield reason, draw_case(maker.case(index, samples.ids[index], reason, [curve]))
        except UserError:
            continue


def _telling(samples: Samples) -> dict[str, int]:
    """Rows of the samples that show most."""
    ends = samples.truth[:, -1]
    if refused(samples):
        return {
            "the label with the fastest step": int(step_speeds(samples).max(axis=1).argmax()),
            "the label that ends furthest behind": int(ends[:, 0].argmin()),
        }
    return {
        "the label that ends furthest ahead": int(ends[:, 0].argmax()),
        "the label that ends furthest to the left": int(ends[:, 1].argmax()),
        "the label that ends furthest to the right": int(ends[:, 1].argmin()),
    }
