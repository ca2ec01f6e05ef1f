"""What a data set holds, in figures."""

from collections.abc import Mapping, Sequence

import numpy as np

from opv2v_stage2.data.check_data.glances import Glance
from opv2v_stage2.data.check_data.problems import Grid
from opv2v_stage2.data.recording import CAMERAS


def tables(glances: Mapping[str, Sequence[Glance]]) -> dict[str, Grid]:
    """By caption; a row per split."""
    return {
        "What was recorded": _recorded(glances),
        "Lidar, and the share of a picture's pixels that it labels at the native size": _sweeps(glances),
        "GNSS against the true pose": _gps(glances),
    }


def _recorded(glances: Mapping[str, Sequence[Glance]]) -> Grid:
    header = ["split", "scenarios", "moments", "agents at moments", "of these roadside", "most at once", "usable"]
    body = []
    for split, of_split in glances.items():
        moments: dict[object, int] = {}
        for glance in of_split:
            moments[glance.files.key] = moments.get(glance.files.key, 0) + 1
        figures = [
            len({key.scenario for key in moments}),
            len(moments),
            len(of_split),
            sum(glance.files.folder.name.startswith("-") for glance in of_split),
            max(moments.values()),
            sum(glance.is_usable for glance in of_split),
        ]
        body.append([split, *map(str, figures)])
    return header, body


def _sweeps(glances: Mapping[str, Sequence[Glance]]) -> Grid:
    cameras = [f"camera{number} %" for number in CAMERAS]
    header = ["split", "points", "lowest deg", "highest deg", "range m", *cameras, "boxes", "boxes without hit"]
    body = []
    for split, of_split in glances.items():
        sweeps = [glance.sweep for glance in of_split if glance.sweep is not None]
        figures = [
            _mean([sweep.num_points for sweep in sweeps], 0),
            _mean([sweep.low_deg for sweep in sweeps], 1),
            _mean([sweep.high_deg for sweep in sweeps], 1),
            f"{max((sweep.range_m for sweep in sweeps), default=0):.0f}",
            *(_mean([100 * sweep.coverage[number] for sweep in sweeps], 2) for number in CAMERAS),
            str(sum(len(sweep.hits) for sweep in sweeps)),
            str(sum(int((sweep.hits == 0).sum()) for sweep in sweeps)),
        ]
        body.append([split, *figures])
    return header, body


def _gps(glances: Mapping[str, Sequence[Glance]]) -> Grid:
    header = ["split", "mean m", "largest m", "mean yaw deg", "largest yaw deg"]
    body = []
    for split, of_split in glances.items():
        errors = np.array([glance.gps_error for glance in of_split if glance.document is not None]).reshape(-1, 2)
        figures = [(np.mean(column), np.max(column)) for column in errors.T] if len(errors) else [(np.nan, np.nan)] * 2
        body.append([split, *(_mean([figure], 2) for pair in figures for figure in pair)])
    return header, body


def _mean(values: Sequence[float | int], decimals: int) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.{decimals}f}" if known else "-"
