"""What there is to learn from, before anything is made of it."""

import numpy as np

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.findings import Grid
from v2x_teacher.data.check_data.motion import position_noise_m
from v2x_teacher.data.labels import SLACK_S


def recording_table(evidence: Evidence) -> Grid:
    """Frames, time, place, clocks and noise."""
    body = [["layout", evidence.recording.layout], ["listed pairs", f"{len(evidence.listed)}"]]
    if evidence.is_flat:
        rows = evidence.recording.row_trajectories
        reach = np.linalg.norm(rows - rows[:, :1], axis=-1).max(initial=0)
        body.append(["furthest row from the first of its trajectory, unlimited (m)", f"{reach:.1f}"])
        return ["", ""], body
    poses = evidence.recording.poses.values()
    if not poses:
        return ["", ""], body
    steps = np.concatenate([np.zeros(0), *(np.diff(one.time_us) * 1e-6 for one in poses)])
    positions = np.concatenate([one.world_from_vehicle[:, :2, 3] for one in poses])
    low, high = positions.min(axis=0), positions.max(axis=0)
    gaps = int((steps > evidence.settings.labels.max_gap_s + SLACK_S).sum())
    body += [
        ["sequences", f"{len(poses)}"],
        ["vehicle frames", f"{sum(len(one.ids) for one in poses)}"],
        ["rows of the cooperative list", f"{len(evidence.recording.pairs)}"],
        ["time between frames, median (s)", f"{np.median(steps) if len(steps) else np.nan:.3f}"],
        [f"gaps of more than {evidence.settings.labels.max_gap_s:g} s", f"{gaps}"],
        ["world x (m)", f"{low[0]:.0f} to {high[0]:.0f}"],
        ["world y (m)", f"{low[1]:.0f} to {high[1]:.0f}"],
        ["noise of positions, per axis (m)", f"{position_noise_m(evidence):.3f}"],
        ["vehicle and infrastructure apart, median, 99 %, max (ms)", _apart(evidence)],
        ["pairs without an infrastructure picture", f"{sum(p.infrastructure_image is None for p in evidence.listed)}"],
    ]
    return ["", ""], body


def _apart(evidence: Evidence) -> str:
    """Of the two clouds of a pair: the asynchrony that cooperative methods have to live with."""
    apart = [
        abs(pair.time_us - pair.infrastructure_time_us) * 1e-3
        for pair in evidence.listed
        if pair.infrastructure_time_us is not None
    ]
    return ", ".join(f"{value:.0f}" for value in np.percentile(apart, [50, 99, 100])) if apart else "unknown"
