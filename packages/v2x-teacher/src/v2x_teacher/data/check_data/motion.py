"""What the poses say about the drive: gaps, jumps, headings that flip, axes that point elsewhere, noise."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from v2x_teacher.data.check_data.evidence import Evidence, clearest
from v2x_teacher.data.cooperative.frames import Faults
from v2x_teacher.data.labels import (
    CLEAR_COSINE,
    MAX_SPEED_MPS,
    RATE_HZ,
    SLACK_S,
    SLOWEST_MPS,
    TIMES_S,
    forward_cosines,
)
from v2x_teacher.data.recording import Poses, Problem, Recording

CLEAR_IN_SEQUENCE = 0.9
"""Mean cosine of a single sequence: a short slow drive is noisier than all drives together."""
FLIP_RAD = np.pi / 2
MAX_ACCELERATION_MPS2 = 10.0
"""More than tyres hold. Over half a second, 2 cm of noise is 0.2 m/s2."""
WINDOW_STEPS = 5
MAX_NOISE_M = 0.2


def motion_problems(evidence: Evidence) -> Iterator[Problem]:
    """All of them."""
    if evidence.is_flat:
        return
    yield from forward_axis(evidence)
    yield from time_gaps(evidence)
    for name, poses in evidence.recording.poses.items():
        yield from _impossible_motion(evidence, name, poses)
    yield from _noise(evidence)


# --- which axis points forward ----------------------------------------------------------------------------------------


def forward_axis(evidence: Evidence) -> Iterator[Problem]:
    """Whether one axis of the vehicle's frame points along the motion, in all sequences."""
    folder, cosines, axis = _pose_folder(evidence), evidence.cosines, evidence.axis
    if np.isnan(cosines[axis]):
        text = f"expected motion faster than {SLOWEST_MPS:g} m/s somewhere, got none, so no axis can be told from it"
        yield Problem("error" if evidence.settings.labels.forward_axis == "auto" else "warning", folder, text)
        return
    best = clearest(cosines)
    found = ", ".join(f"{name} {value:.3f}" for name, value in cosines.items())
    expected = f"expected one axis of the vehicle frame along the motion (mean cosine > {CLEAR_COSINE})"
    if cosines[best] <= CLEAR_COSINE:
        yield Problem("error", folder, f"{expected}, got {found}")
    elif best != axis:
        yield Problem(
            "error", folder, f"labels.forward_axis: expected {best!r}, which points along, got {axis!r}: {found}"
        )
    elif axis != "x":
        text = (
            f"the vehicle frame points forward along {axis}, not x (mean cosine {cosines[axis]:.3f}); labels use that"
        )
        yield Problem("note", folder, text)
    for name, alone in turned_sequences(evidence.recording, best).items():
        other = clearest(alone)
        text = f"sequence {name}: expected {best} forward as in most sequences (mean cosine {alone[best]:.2f})"
        first = evidence.recording.poses[name].ids[0]
        yield Problem("error", evidence.pose_file(first), f"{text}, got {other} ({alone[other]:.2f})")


def turned_sequences(recording: Recording, axis: str) -> dict[str, dict[str, float]]:
    """Sequences whose motion does not follow the axis, with the mean cosines of all axes."""
    found = {}
    for name, poses in recording.poses.items():
        alone = forward_cosines(dataclasses.replace(recording, poses={name: poses}))
        if alone[axis] < CLEAR_IN_SEQUENCE:
            found[name] = alone
    return found


# --- time -------------------------------------------------------------------------------------------------------------


def time_gaps(evidence: Evidence) -> Iterator[Problem]:
    """Where a sequence breaks off for a while, and sequences that are too short for a single label."""
    limit_s = evidence.settings.labels.max_gap_s
    path = evidence.recording.root / "vehicle-side" / "data_info.json"
    gaps, short = Faults(path), Faults(path)
    for name, poses in evidence.recording.poses.items():
        seconds = np.diff(poses.time_us) * 1e-6
        for index in np.flatnonzero(seconds > limit_s + SLACK_S):
            place = f"sequence {name} {seconds[index]:.2f} s after frame {poses.ids[index]}"
            gaps.add("warning", f"expected frames at most {limit_s:g} s apart, got a gap", place)
        if name in evidence.split_of and seconds.sum() < TIMES_S[-1]:
            text = f"expected sequences longer than the horizon of {TIMES_S[-1]:g} s, got one that gives no label"
            short.add("warning", text, f"sequence {name} {seconds.sum():.1f} s")
    yield from (*gaps.problems(), *short.problems())


# --- motion -----------------------------------------------------------------------------------------------------------


def flipped(poses: Poses) -> Bool[np.ndarray, " frames"]:
    """Frames whose heading is turned around: between two jumps of more than 90 degrees, on the shorter side of them."""
    yaws = np.arctan2(poses.world_from_vehicle[:, 1, 0], poses.world_from_vehicle[:, 0, 0])
    turns = np.abs(np.angle(np.exp(1j * np.diff(yaws)))) > FLIP_RAD
    seconds = np.diff(poses.time_us) * 1e-6
    side = np.concatenate([[0], np.cumsum(turns & (seconds < 1.0))]) % 2 == 1
    return side if side.mean() <= 0.5 else ~side


def _impossible_motion(evidence: Evidence, name: str, poses: Poses) -> Iterator[Problem]:
    for index in np.flatnonzero(flipped(poses)):
        text = (
            f"sequence {name}: expected the heading of the frames around it, got one turned around by about 180 degrees"
        )
        yield Problem("error", evidence.pose_file(poses.ids[index]), text)
    positions, seconds = poses.world_from_vehicle[:, :2, 3], np.diff(poses.time_us) * 1e-6
    distance = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    jumps = distance > MAX_SPEED_MPS * seconds
    for index in np.flatnonzero(jumps):
        text = (
            f"sequence {name}: expected less than {MAX_SPEED_MPS:g} m/s from frame to frame, got "
            f"{distance[index]:.1f} m in {seconds[index]:.2f} s"
        )
        yield Problem("error", evidence.pose_file(poses.ids[index + 1]), text)
    for first, last in _runs(~jumps & (seconds < evidence.settings.labels.max_gap_s + SLACK_S)):
        times = (poses.time_us[first : last + 1] - poses.time_us[first]) * 1e-6
        at, peak = strongest_acceleration(times, positions[first : last + 1])
        if peak > MAX_ACCELERATION_MPS2:
            frame = poses.ids[first + int(np.abs(times - at).argmin())]
            text = (
                f"sequence {name}: expected at most {MAX_ACCELERATION_MPS2:g} m/s2 over half a second, got {peak:.1f}"
            )
            yield Problem("warning", evidence.pose_file(frame), text)


def _runs(joined: Bool[np.ndarray, " steps"]) -> Iterator[tuple[int, int]]:
    """First and last frame of every stretch of steps that belong together."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], joined, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def strongest_acceleration(
    times_s: Float64[np.ndarray, " frames"], positions: Float64[np.ndarray, "frames 2"]
) -> tuple[float, float]:
    """When it was, and how strong (m/s2): the change of velocity between two half seconds. 0 in less than a second."""
    grid = np.arange(0.0, times_s[-1] + SLACK_S, 1 / RATE_HZ)
    if len(grid) <= 2 * WINDOW_STEPS:
        return 0.0, 0.0
    path = np.stack([np.interp(grid, times_s, axis) for axis in positions.T], axis=-1)
    window_s = WINDOW_STEPS / RATE_HZ
    velocity = (path[WINDOW_STEPS:] - path[:-WINDOW_STEPS]) / window_s
    change = np.linalg.norm(velocity[WINDOW_STEPS:] - velocity[:-WINDOW_STEPS], axis=1) / window_s
    peak = int(change.argmax())
    return float(grid[peak + WINDOW_STEPS]), float(change[peak])


# --- noise ------------------------------------------------------------------------------------------------------------


def position_noise_m(evidence: Evidence) -> float:
    """Standard deviation per axis of the reported positions, from what no smooth path explains; NaN if unknown.

    Third differences (the jerk) of four frames in a row, scaled so that white noise keeps its size. Their median, so
    that jumps do not count; only while the vehicle moves, because a standing receiver may repeat itself.
    """
    parts = [_unexplained(poses, evidence.settings.labels.max_gap_s) for poses in evidence.recording.poses.values()]
    residuals = np.concatenate([*parts, np.zeros(0)])
    return float(1.4826 * np.median(np.abs(residuals))) if len(residuals) else float("nan")


def _unexplained(poses: Poses, max_gap_s: float) -> Float64[np.ndarray, " numbers"]:
    if len(poses.ids) < 4:
        return np.zeros(0)
    times = np.lib.stride_tricks.sliding_window_view((poses.time_us - poses.time_us[0]) * 1e-6, 4)
    places = np.lib.stride_tricks.sliding_window_view(poses.world_from_vehicle[:, :2, 3], 4, axis=0)
    apart = times[:, :, None] - times[:, None, :] + np.eye(4)
    weights = 1 / apart.prod(axis=2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    moves = np.linalg.norm(places[..., 3] - places[..., 0], axis=1) > SLOWEST_MPS * (times[:, 3] - times[:, 0])
    usable = moves & (np.diff(times, axis=1).max(axis=1) < max_gap_s)
    return (places * weights[:, None]).sum(axis=2)[usable].ravel()


def _noise(evidence: Evidence) -> Iterator[Problem]:
    noise = position_noise_m(evidence)
    if noise > MAX_NOISE_M:
        text = f"expected positions within {MAX_NOISE_M:g} m of a smooth path, got noise of {noise:.2f} m per axis"
        yield Problem("warning", _pose_folder(evidence), text)


def _pose_folder(evidence: Evidence) -> str:
    return str(Path(evidence.recording.root) / "vehicle-side" / "calib" / "novatel_to_world")
