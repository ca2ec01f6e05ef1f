"""Recordings made of formulas, without files: the label rules are checked against numbers worked out by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2x_teacher.data.recording import Pair, Poses, Recording

START_US = 1_626_155_123_000_000
AXIS_ANGLES = {"x": 0.0, "y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}


@dataclass(frozen=True)
class Track:
    """A vehicle in the plane: seconds, metres, radians."""

    times_s: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray

    def keep(self, frames: Sequence[int] | np.ndarray) -> "Track":
        return Track(self.times_s[frames], self.positions[frames], self.yaws[frames])


def line(
    frames: int = 60, speed: float = 10.0, yaw: float = 0.0, origin: tuple[float, float] = (2636.0, 1745.0)
) -> Track:
    """Straight on, 10 Hz."""
    times = np.arange(frames) / 10
    return Track(times, origin + speed * times[:, None] * [np.cos(yaw), np.sin(yaw)], np.full(frames, yaw))


def circle(frames: int = 60, speed: float = 5.0, rate: float = 0.25, hz: float = 10.0) -> Track:
    """To the left on a circle of radius speed / rate, which starts at (100, 0) and heads along y."""
    times = np.arange(frames) / hz
    angle, radius = rate * times, speed / rate
    positions = np.column_stack([100 - radius + radius * np.cos(angle), radius * np.sin(angle)])
    return Track(times, positions, np.pi / 2 + angle)


def poses(track: Track, first_id: int = 0, forward_axis: str = "x") -> Poses:
    world_from_vehicle = np.tile(np.eye(4), (len(track.times_s), 1, 1))
    angles = track.yaws - AXIS_ANGLES[forward_axis]
    c, s = np.cos(angles), np.sin(angles)
    world_from_vehicle[:, 0, 0], world_from_vehicle[:, 0, 1] = c, -s
    world_from_vehicle[:, 1, 0], world_from_vehicle[:, 1, 1] = s, c
    world_from_vehicle[:, :2, 3], world_from_vehicle[:, 2, 3] = track.positions, 21.0
    return Poses(
        ids=tuple(f"{first_id + index:06d}" for index in range(len(track.times_s))),
        time_us=START_US + np.round(track.times_s * 1e6).astype(np.int64),
        world_from_vehicle=world_from_vehicle,
    )


def recording(
    *tracks: Track,
    pairs: Iterable[int] | None = None,
    forward_axis: str = "x",
    splits: Sequence[str] = ("train",),
) -> Recording:
    """One sequence per track, with ids that run on, and a pair for every frame or for these."""
    sequences, made = {}, []
    for number, track in enumerate(tracks):
        found = poses(track, sum(map(len, (other.times_s for other in tracks[:number]))), forward_axis)
        sequences[f"{number:04d}"] = found
        split = splits[number % len(splits)]
        made += [
            Pair(
                vehicle_id=name,
                infrastructure_id=name,
                sequence=f"{number:04d}",
                split=split,
                time_us=int(time_us),
                infrastructure_time_us=int(time_us) + 30_000,
                vehicle_image=Path("vehicle.jpg"),
                infrastructure_image=Path("infrastructure.jpg"),
            )
            for name, time_us in zip(found.ids, found.time_us, strict=True)
        ]
    chosen = made if pairs is None else [made[index] for index in pairs]
    return Recording(
        root=Path("drives"),
        layout="spd",
        poses=sequences,
        pairs=tuple(chosen),
        problems=(),
        calibration=lambda pair, side: None,
        boxes=lambda sequence, vehicle_id: None,
    )
