"""What is fixed about every sequence before anybody drives: place, clocks, numbers, pairs and splits.

Two units record at 10 Hz, each by its own clock. A vehicle frame and the infrastructure frame nearest in time are a
pair, up to 50 ms apart, wherever both recordings were kept: the cooperative list has holes, as the real ones have.
Frames are numbered through, across sequences and splits, so that the numbers do not show where a sequence ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from drivelab_shared.scenes import standing
from drivelab_shared.seeding import keyed_rng
from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data.traffic import Event, Scenario, scenario

RATE_HZ = 10
START_S, PHASE_S, JITTER_S = 0.07, 0.045, 0.0025
"""First frame of the vehicle; how far the other clock may be off; how far single frames may. Together below 50 ms."""
EXPOSURE_US = 15_000
"""A picture is taken this long before the sweep of its frame is stamped: never after the pose."""
HORIZON_US = 4_500_000
"""Pictures without as much of a recorded future could teach nothing."""
FIRST_US = 1_626_155_000_000_000
WORLD_ORIGIN_M, WORLD_SPREAD_M = (2636.0, 1745.0, 21.0), 400.0


@dataclass(frozen=True)
class Frame:
    """One sweep of the lidar and the picture that belongs to it."""

    id: str
    """Six digits."""
    cloud_us: int
    image_us: int


@dataclass(frozen=True)
class Pair:
    """A row of the cooperative list."""

    vehicle_index: int
    """Into the frames of the sequence."""
    infrastructure_index: int
    has_pictures: bool


@dataclass(frozen=True, eq=False)
class SequencePlan:
    """One drive and who records it when."""

    index: int
    split: str
    scenario: Scenario
    start_us: int
    """Time stamp of the drive's second 0."""
    world_from_junction: Float64[np.ndarray, "4 4"]
    vehicle: tuple[Frame, ...]
    infrastructure: tuple[Frame, ...]
    pairs: tuple[Pair, ...]

    @property
    def place(self) -> str:
        """Name of the junction; every drive has one of its own."""
        return f"yizhuang{self.index:02d}"

    def drive_s(self, stamp_us: int) -> float:
        """Seconds since the start of the drive."""
        return (stamp_us - self.start_us) / 1e6


@lru_cache(maxsize=1)
def plan_sequences(settings: MakeDataSettings) -> tuple[SequencePlan, ...]:
    """All sequences of a data set: a pure function of the settings, without a simulation."""
    scenarios = [scenario(settings.seed, index, settings.seconds) for index in range(settings.num_sequences)]
    splits = assign_splits([one.event for one in scenarios])
    plans, next_ids = [], (0, 0)
    for index, (chosen, split) in enumerate(zip(scenarios, splits, strict=True)):
        plan, next_ids = _plan(settings, index, chosen, split, next_ids)
        plans.append(plan)
    return tuple(plans)


def assign_splits(events: Sequence[Event]) -> list[str]:
    """`train`, `val` or `test` of each sequence: a tenth, at least one, for validation, 7 in 30 for test.

    Both are spread evenly over the sequences ordered by event: every split gets its share of each kind, and sequences
    that follow each other lie in different splits.
    """
    order = sorted(range(len(events)), key=lambda index: (events[index], index))
    num_val, num_test = max(1, round(len(events) / 10)), max(1, round(len(events) * 7 / 30))
    val = _evenly(order, num_val)
    test = _evenly([index for index in order if index not in val], num_test)
    return ["val" if index in val else "test" if index in test else "train" for index in range(len(events))]


def _evenly(items: list[int], count: int) -> set[int]:
    return {items[int((step + 0.5) * len(items) / count)] for step in range(count)}


def _plan(
    settings: MakeDataSettings, index: int, chosen: Scenario, split: str, next_ids: tuple[int, int]
) -> tuple[SequencePlan, tuple[int, int]]:
    """The sequence, and the first free frame numbers after it."""
    rng = keyed_rng(settings.seed, index, 3)
    pause_s = rng.uniform(0, 300)
    start_us = FIRST_US + round((index * (600 + settings.seconds) + pause_s) * 1e6)
    origin = np.array(WORLD_ORIGIN_M) + rng.uniform(-1, 1, 3) * (WORLD_SPREAD_M, WORLD_SPREAD_M, 0.5)
    world_from_junction = standing(*origin[:2], rng.uniform(-np.pi, np.pi), z=origin[2])

    clouds_s = _ticks(START_S, settings.seconds, rng)
    other_clouds_s = _ticks(START_S + rng.uniform(-PHASE_S, PHASE_S), settings.seconds, rng)
    is_covered = _covered(len(clouds_s), settings.layout != "spd", rng)
    is_kept = rng.random(len(clouds_s)) >= settings.drop_frames
    vehicle = _frames(clouds_s[is_kept], start_us, next_ids[0], settings.id_gaps, rng)
    infrastructure = _frames(other_clouds_s, start_us, next_ids[1], settings.id_gaps, rng)
    pairs = _pairs(vehicle, infrastructure, is_covered[is_kept], settings.picture_every)
    plan = SequencePlan(index, split, chosen, start_us, world_from_junction, vehicle, infrastructure, pairs)
    return plan, (int(vehicle[-1].id) + 1 if vehicle else next_ids[0], int(infrastructure[-1].id) + 1)


def _ticks(first_s: float, seconds: float, rng: np.random.Generator) -> Float64[np.ndarray, " frames"]:
    """Times of the sweeps within the drive."""
    count = round(seconds * RATE_HZ)
    jitter_s = np.clip(rng.normal(0.0, JITTER_S / 2, count), -JITTER_S, JITTER_S)
    times_s = first_s + np.arange(count) / RATE_HZ + jitter_s
    return times_s[times_s <= seconds]


def _covered(count: int, is_sparse: bool, rng: np.random.Generator) -> Bool[np.ndarray, " frames"]:
    """Which vehicle frames may have a partner: not the ends of a sequence, and not where one recording was cut out.

    Counted in the official split files, 45 rows of the cooperative list span 44 frame numbers in 59.7 % of all windows
    of V2X-Seq-SPD; in DAIR-V2X-C (`is_sparse`) in 18.5 %, with a median of 73. The holes here come close to both.
    """
    is_covered = np.ones(count, dtype=bool)
    is_covered[: rng.integers(count // 12 + 1)] = False
    is_covered[count - rng.integers(count // 16 + 1) :] = False
    num_holes, longest = (rng.binomial(7, 0.6), count // 4) if is_sparse else (rng.binomial(2, 0.32), count // 14)
    for _ in range(num_holes):
        start = rng.integers(count)
        is_covered[start : start + rng.integers(1, longest + 1)] = False
    return is_covered


def _frames(
    clouds_s: Float64[np.ndarray, " frames"], start_us: int, first_id: int, has_gaps: bool, rng: np.random.Generator
) -> tuple[Frame, ...]:
    gaps = np.where(rng.random(len(clouds_s)) < 0.1, rng.integers(1, 6, len(clouds_s)), 0) * has_gaps
    ids = first_id + np.arange(len(clouds_s)) + np.cumsum(gaps)
    stamps_us = [start_us + round(time_s * 1e6) for time_s in clouds_s]
    return tuple(Frame(f"{id_:06d}", us, us - EXPOSURE_US) for id_, us in zip(ids, stamps_us, strict=True))


def _pairs(
    vehicle: tuple[Frame, ...],
    infrastructure: tuple[Frame, ...],
    is_covered: Bool[np.ndarray, " frames"],
    picture_every: int,
) -> tuple[Pair, ...]:
    others_us = np.array([frame.cloud_us for frame in infrastructure])
    pairs: list[Pair] = []
    for index in np.flatnonzero(is_covered):
        apart_us = np.abs(others_us - vehicle[index].cloud_us)
        nearest = int(apart_us.argmin())
        if apart_us[nearest] <= 50_000:
            has_future = vehicle[-1].cloud_us - vehicle[index].cloud_us >= HORIZON_US
            pairs.append(Pair(int(index), nearest, has_future and len(pairs) % picture_every == 0))
    return tuple(pairs)
