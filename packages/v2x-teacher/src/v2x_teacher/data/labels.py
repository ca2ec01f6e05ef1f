"""From poses to trajectories: what the vehicle did in the 4.5 s after a picture, seen from where it was.

Every rule here is one whose absence made labels that no car can drive: positions are interpolated by *time*, never
counted in rows or ids; nothing crosses a gap or a sequence; the heading comes from the pose, because a standing car has
none in its displacement; the past is what lies at or before t0.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from drivelab_shared.errors import UserError
from v2x_teacher.config import LabelSettings
from v2x_teacher.data.kinematics import recent_motion
from v2x_teacher.data.recording import Pair, Poses, Recording

RATE_HZ = 10
NUM_STEPS = 45
TIMES_S = np.arange(1, NUM_STEPS + 1) / RATE_HZ
"""Of the predicted steps: 0.1, 0.2 ... 4.5 s."""
NUM_ROWS = 45
"""Of the request's trajectories. The first is now, so they end at what would be 4.4 s."""
ROW_LIMIT_M = 200.0
"""The request's loader shrinks a longer trajectory to this: a repair that hides the fault and keeps its shape."""

SLACK_S = 1e-6
"""Of comparisons: a frame exactly at the end of the horizon is inside, and so is a gap of exactly the limit."""
SLOWEST_MPS = 2.0
CLEAR_COSINE = 0.98
FORWARD_AXES = {"x": 0.0, "y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}
"""Angle from the frame's x axis to the axis that points forward."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Pairs with a known future."""

    pairs: tuple[Pair, ...]
    sequences: tuple[str, ...]
    """Of each pair: the unit of splits and of the bootstrap."""
    truth: Float[np.ndarray, "samples steps 2"]
    """Ego frame at t0, metres; step k is k / 10 s after t0 (of `rows` labels: the k-th row, whenever it was). NaN where
    it is not known, in samples that need no future."""
    ego: Float[np.ndarray, "samples 4"]
    """vx, vy [m/s], yaw rate [rad/s], acceleration [m/s2] of the last 0.5 s; zeros where the past is unknown."""
    history_s: Float[np.ndarray, " samples"]
    world_from_ego: Float64[np.ndarray, "samples 4 4"]
    excluded: Counter[str]
    """Pairs without a usable future, by reason."""
    forward_axis: str
    row_labels: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def ids(self) -> list[str]:
        """`sequence/vehicle frame id`."""
        return [f"{pair.sequence}/{pair.vehicle_id}" for pair in self.pairs]

    def mask(self, split: str) -> Bool[np.ndarray, " samples"]:
        """Which samples belong to a split; `all` means every one."""
        return np.array([split in ("all", pair.split) for pair in self.pairs], dtype=bool)

    def take(self, chosen: Bool[np.ndarray, " samples"]) -> "Samples":
        """The chosen samples. What was excluded stays counted."""
        return self.at(np.flatnonzero(chosen))

    def at(self, rows: Int[np.ndarray, " rows"]) -> "Samples":
        """The samples of these rows, in their order."""
        return Samples(
            pairs=tuple(self.pairs[row] for row in rows),
            sequences=tuple(self.sequences[row] for row in rows),
            truth=self.truth[rows],
            ego=self.ego[rows],
            history_s=self.history_s[rows],
            world_from_ego=self.world_from_ego[rows],
            excluded=self.excluded,
            forward_axis=self.forward_axis,
            row_labels=self.row_labels,
        )

    @property
    def asynchrony_s(self) -> Float[np.ndarray, " samples"]:
        """|t_vehicle - t_infrastructure|; NaN without an infrastructure frame."""
        others = (pair.infrastructure_time_us for pair in self.pairs)
        return np.array(
            [
                np.nan if other is None else abs(pair.time_us - other) * 1e-6
                for pair, other in zip(self.pairs, others, strict=True)
            ]
        )


def build_samples(recording: Recording, settings: LabelSettings, *, needs_future: bool = True) -> Samples:
    """Every pair of the recording that a split lists, with its future.

    Args:
        recording: the data set.
        settings: how poses become trajectories.
        needs_future: leave out pairs whose future is not known to its end; otherwise it is NaN from where it is not.

    Raises:
        UserError: the forward axis cannot be found, or the layout has no times.
    """
    if recording.row_trajectories is not None:
        return _given_rows(recording, settings)
    axis = settings.forward_axis if settings.forward_axis != "auto" else _detected_axis(recording)
    if settings.kind == "rows":
        return _rows(recording, axis)
    rows, excluded = [], Counter()
    tracks = {name: _Track.of(poses, axis) for name, poses in recording.poses.items()}
    for pair in recording.pairs:
        if not pair.split:
            continue
        sample = _by_time(tracks.get(pair.sequence), pair, settings.max_gap_s, needs_future=needs_future)
        if isinstance(sample, str):
            excluded[sample] += 1
        else:
            rows.append((pair, *sample))
    return _collect(rows, excluded, axis)


# --- labels by time ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Track:
    """Poses of one sequence in the plane, with the forward axis known."""

    poses: Poses
    times_s: Float64[np.ndarray, " frames"]
    """Since the first frame."""
    yaws: Float64[np.ndarray, " frames"]
    """Of the forward axis in the world, unwrapped."""

    @classmethod
    def of(cls, poses: Poses, axis: str) -> "_Track":
        rotation = poses.world_from_vehicle[:, :2, 0]
        yaws = np.arctan2(rotation[:, 1], rotation[:, 0]) + FORWARD_AXES[axis]
        times = (poses.time_us - poses.time_us[0]) * 1e-6
        return cls(poses, times, np.unwrap(yaws))

    @property
    def positions(self) -> Float64[np.ndarray, "frames 2"]:
        return self.poses.world_from_vehicle[:, :2, 3]

    def world_from_ego(self, index: int) -> Float64[np.ndarray, "4 4"]:
        """Level: the ego frame turns with the yaw only."""
        c, s = np.cos(self.yaws[index]), np.sin(self.yaws[index])
        transform = np.eye(4)
        transform[:2, :2] = [[c, -s], [s, c]]
        transform[:3, 3] = self.poses.world_from_vehicle[index, :3, 3]
        return transform


def _by_time(
    track: _Track | None, pair: Pair, max_gap_s: float, *, needs_future: bool
) -> tuple[np.ndarray | np.float64, ...] | str:
    """(truth, ego, history, world_from_ego), or why there is none."""
    if track is None or pair.vehicle_id not in track.poses.ids:
        return "no pose"
    now = track.poses.ids.index(pair.vehicle_id)
    times = track.times_s[now] + TIMES_S
    gaps = np.flatnonzero(np.diff(track.times_s[now:]) > max_gap_s + SLACK_S)
    is_known = times <= track.times_s[now + gaps[0] if len(gaps) else -1] + SLACK_S
    if needs_future and times[-1] > track.times_s[-1] + SLACK_S:
        return "the sequence ends within the horizon"
    if needs_future and not is_known.all():
        return f"a gap of more than {max_gap_s:g} s within the horizon"
    future = np.stack([np.interp(times, track.times_s, axis) for axis in track.positions.T], axis=-1)
    future[~is_known] = np.nan
    # The past ends where it breaks off.
    breaks = np.flatnonzero(np.diff(track.times_s[: now + 1]) > max_gap_s + SLACK_S)
    first = int(breaks[-1]) + 1 if len(breaks) else 0
    origin, yaw = track.positions[now], track.yaws[now]
    past = in_frame(track.positions[first : now + 1], origin, yaw)
    motion = recent_motion(track.times_s[first : now + 1], past, track.yaws[first : now + 1])
    return in_frame(future, origin, yaw), motion.vector(), np.float64(motion.history_s), track.world_from_ego(now)


def in_frame(
    points: Float64[np.ndarray, "points 2"], origin: Float64[np.ndarray, " 2"], yaw: float
) -> Float64[np.ndarray, "points 2"]:
    """World points seen from `origin`, x along `yaw`."""
    c, s = np.cos(yaw), np.sin(yaw)
    return (points - origin) @ np.array([[c, -s], [s, c]])


def _detected_axis(recording: Recording) -> str:
    cosines = forward_cosines(recording)
    best = max(cosines, key=cosines.__getitem__)
    if not cosines[best] > CLEAR_COSINE:
        found = ", ".join(f"{axis} {value:.3f}" for axis, value in cosines.items())
        raise UserError(
            f"{recording.root}: labels.forward_axis: expected an axis of the vehicle frame that points along the "
            f"motion (mean cosine > {CLEAR_COSINE}), got {found}; name it if you know it"
        )
    return best


def forward_cosines(recording: Recording) -> dict[str, float]:
    """Mean cosine between each axis of the vehicle frame and the motion, over frames faster than 2 m/s.

    NaN where the vehicle never moves.
    """
    cosines: dict[str, list[np.ndarray]] = {axis: [] for axis in FORWARD_AXES}
    for poses in recording.poses.values():
        step, seconds = np.diff(poses.world_from_vehicle[:, :2, 3], axis=0), np.diff(poses.time_us) * 1e-6
        distance = np.linalg.norm(step, axis=1)
        fast = (distance > SLOWEST_MPS * seconds) & (seconds < 0.25)
        for axis in FORWARD_AXES:
            column, sign = "xy".index(axis[-1]), -1 if axis[0] == "-" else 1
            pointing = sign * poses.world_from_vehicle[:-1, :2, column][fast]
            cosines[axis].append((pointing * step[fast]).sum(1) / distance[fast])
    joined = {axis: np.concatenate(values) if values else np.zeros(0) for axis, values in cosines.items()}
    return {axis: float(values.mean()) if len(values) else float("nan") for axis, values in joined.items()}


# --- the request's row-wise labels ------------------------------------------------------------------------------------


def row_trajectory(rows: Float64[np.ndarray, "rows 2"]) -> Float64[np.ndarray, "rows 2"]:
    """World positions of consecutive rows as the request's loader turns them: nobody asks when the rows were taken.

    Subtracts the first, takes the heading from the first step, and shrinks what is longer than 200 m.
    """
    moved = rows - rows[0]
    dx, dy = moved[1]
    turned = in_frame(moved, np.zeros(2), 0.0 if max(abs(dx), abs(dy)) < 1e-5 else float(np.arctan2(dy, dx)))
    longest = np.abs(turned).max()
    return turned * (ROW_LIMIT_M / longest) if longest > ROW_LIMIT_M else turned


def _rows(recording: Recording, axis: str) -> Samples:
    """The next 45 rows of the cooperative list. The list knows no sequence, so neither do they."""
    tracks = {name: _Track.of(poses, axis) for name, poses in recording.poses.items()}
    places = [_place(tracks.get(pair.sequence), pair) for pair in recording.pairs]
    known = [index for index, place in enumerate(places) if place is not None]
    positions = np.array([tracks[recording.pairs[i].sequence].positions[places[i]] for i in known])
    lost = sum(place is None and bool(pair.split) for pair, place in zip(recording.pairs, places, strict=True))
    rows, excluded = [], Counter({"no pose": lost} if lost else {})
    for order, index in enumerate(known):
        pair = recording.pairs[index]
        if not pair.split:
            continue
        if order + NUM_ROWS > len(known):
            excluded["fewer than 45 rows left in the list"] += 1
            continue
        _, ego, history, world_from_ego = _past_only(tracks[pair.sequence], places[index])
        rows.append((pair, row_trajectory(positions[order : order + NUM_ROWS]), ego, history, world_from_ego))
    return _collect(rows, excluded, axis, row_labels=True)


def _place(track: _Track | None, pair: Pair) -> int | None:
    return track.poses.ids.index(pair.vehicle_id) if track and pair.vehicle_id in track.poses.ids else None


def _past_only(track: _Track, now: int) -> tuple[None, np.ndarray, np.float64, np.ndarray]:
    past = in_frame(track.positions[: now + 1], track.positions[now], track.yaws[now])
    motion = recent_motion(track.times_s[: now + 1], past, track.yaws[: now + 1])
    return None, motion.vector(), np.float64(motion.history_s), track.world_from_ego(now)


def _given_rows(recording: Recording, settings: LabelSettings) -> Samples:
    if settings.kind == "time":
        raise UserError(
            f"{recording.root}: labels.kind: expected 'rows', because a flat folder says neither when a row was taken "
            f"nor which rows belong together, got {settings.kind!r}"
        )
    nothing = (np.zeros(4), np.float64(0.0), np.eye(4))
    trajectories = zip(recording.pairs, recording.row_trajectories, strict=True)
    rows = [(pair, row_trajectory(rows), *nothing) for pair, rows in trajectories if pair.split]
    return _collect(rows, Counter(), "x", row_labels=True)


def _collect(rows: list[tuple], excluded: Counter[str], axis: str, *, row_labels: bool = False) -> Samples:
    pairs, truth, ego, history, transforms = zip(*rows, strict=True) if rows else ((),) * 5
    steps = NUM_ROWS if row_labels else NUM_STEPS
    return Samples(
        pairs=tuple(pairs),
        sequences=tuple(pair.sequence for pair in pairs),
        truth=np.array(truth, dtype=np.float32).reshape(-1, steps, 2),
        ego=np.array(ego, dtype=np.float32).reshape(-1, 4),
        history_s=np.array(history, dtype=np.float32),
        world_from_ego=np.array(transforms, dtype=np.float64).reshape(-1, 4, 4),
        excluded=excluded,
        forward_axis=axis,
        row_labels=row_labels,
    )


# --- the gate ---------------------------------------------------------------------------------------------------------

MAX_SPEED_MPS = 40.0
BEHIND_M = 2.0
REVERSE_MPS = -0.5
MAX_IMPLAUSIBLE = 0.01
"""Share of samples that may be impossible before training refuses them all."""


def implausible(samples: Samples) -> dict[str, Bool[np.ndarray, " samples"]]:
    """Which samples no car can have driven, by what is wrong with them."""
    start = np.zeros((len(samples), 1, 2), dtype=samples.truth.dtype)
    speed = np.linalg.norm(np.diff(samples.truth, axis=1, prepend=start), axis=-1).max(axis=1, initial=0) * RATE_HZ
    reversing = samples.ego[:, 0] < REVERSE_MPS
    return {
        f"faster than {MAX_SPEED_MPS:g} m/s": speed > MAX_SPEED_MPS,
        "ends behind the vehicle": (samples.truth[:, -1, 0] < -BEHIND_M) & ~reversing,
    }


def require_plausible(samples: Samples, settings: LabelSettings, source: str) -> None:
    """Refuse labels of which more than 1 % are impossible: no recipe can be judged on them.

    Raises:
        UserError: they are; names the first samples and what they do.
    """
    found = {what: np.flatnonzero(which) for what, which in implausible(samples).items()}
    bad = {what: rows for what, rows in found.items() if len(rows) > MAX_IMPLAUSIBLE * len(samples)}
    if not bad or settings.allow_implausible:
        return
    what, rows = max(bad.items(), key=lambda item: len(item[1]))
    first = ", ".join(samples.ids[row] for row in rows[:10])
    raise UserError(
        f"{source}: labels: expected trajectories that a car can drive, got {len(rows)} of {len(samples)} samples "
        f"({len(rows) / len(samples):.0%}) {what}: {first}; see check-data, or go on with --labels.allow_implausible"
    )


def sequences_of(samples: Samples) -> Iterator[tuple[str, np.ndarray]]:
    """Each sequence with the rows of its samples."""
    names = np.array(samples.sequences)
    for name in dict.fromkeys(samples.sequences):
        yield name, np.flatnonzero(names == name)
