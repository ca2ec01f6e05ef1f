"""The fast test for overlaps against polygons that are cut with each other, and labels in time against plain loops."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.collisions import Traffic, overlap
from v2x_teacher.data.labels import TIMES_S, Samples
from v2x_teacher.data.recording import Box, Pair, Poses, Recording

EGO = (4.0, 2.0)
START_US = 1_626_155_123_061_000


# --- rectangles ---


def corners(rectangle):
    x, y, yaw, length, width = rectangle
    c, s = math.cos(yaw), math.sin(yaw)
    half = [(length / 2, width / 2), (-length / 2, width / 2), (-length / 2, -width / 2), (length / 2, -width / 2)]
    return [(x + c * u - s * v, y + s * u + c * v) for u, v in half]


def shared_area(ours, theirs):
    """Of two rectangles: cut one with every side of the other (Sutherland and Hodgman), then the shoelace formula."""
    polygon, clip = corners(ours), corners(theirs)
    for (ax, ay), (bx, by) in zip(clip, clip[1:] + clip[:1], strict=True):

        def inside(p, ax=ax, ay=ay, bx=bx, by=by):
            return (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)

        cut = []
        for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            at_p, at_q = inside(p), inside(q)
            if at_p >= 0:
                cut.append(p)
            if (at_p >= 0) != (at_q >= 0):
                share = at_p / (at_p - at_q)
                cut.append((p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])))
        polygon = cut
    return 0.5 * abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True)))


def random_rectangles(rng, count):
    return np.column_stack(
        [
            rng.uniform(-5, 5, (count, 2)),
            rng.uniform(-4, 4, count),
            rng.uniform(0.3, 8, count),
            rng.uniform(0.3, 3, count),
        ]
    )


def test_overlap_agrees_with_polygons_that_are_cut():
    rng = np.random.default_rng(0)
    ours, theirs = random_rectangles(rng, 3000), random_rectangles(rng, 3000)
    areas = np.array([shared_area(a, b) for a, b in zip(ours, theirs, strict=True)])
    found = overlap(ours, theirs)
    assert np.array_equal(found, areas > 0)
    assert 0.2 < found.mean() < 0.8
    assert np.array_equal(found, overlap(theirs, ours))


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([2.9, 0, 0, 2, 2], True),
        ([3.1, 0, 0, 2, 2], False),
        ([0, 1.9, 0, 2, 2], True),
        ([0, 2.1, 0, 2, 2], False),
        # A diamond with a half diagonal of 1.414 beside the corner (2, 1): its circle and its upright box reach it.
        ([2.9, 1.9, math.pi / 4, 2, 2], False),
        ([2.6, 1.6, math.pi / 4, 2, 2], True),
        ([0, 0, 1.0, 0.1, 0.1], True),  # wholly inside
    ],
)
def test_overlap_by_hand(theirs, expected):
    assert overlap(np.array([[0.0, 0, 0, 4, 2]]), np.array([theirs], dtype=float)) == [expected]


# --- recordings made up here ---


def transform(x, y, yaw):
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def box(x, y, yaw=0.0, track="7", size=(4.5, 2.0, 1.5)):
    return Box("Car", track, transform(x, y, yaw), size)


def made_up(labels, sample_frames=(0,), ego=(0.0, 0.0, 0.0), speed=5.0, num_frames=60, row_labels=False):
    """A drive at constant speed, 10 Hz; `labels` maps a frame's number to its boxes in the world."""
    x, y, yaw = ego
    times = np.arange(num_frames) * 100_000
    distance = speed * times * 1e-6
    world = np.stack([transform(x + d * math.cos(yaw), y + d * math.sin(yaw), yaw) for d in distance])
    ids = tuple(f"{number:06d}" for number in range(num_frames))
    poses = Poses(ids, START_US + times, world)
    pairs = tuple(
        Pair(ids[f], None, "s", "test", int(poses.time_us[f]), None, Path("picture.jpg"), None) for f in sample_frames
    )
    recording = Recording(
        root=Path(),
        layout="spd",
        poses={"s": poses},
        pairs=pairs,
        problems=(),
        calibration=lambda pair, side: None,
        boxes=lambda sequence, frame: labels.get(int(frame)),
    )
    ahead = np.stack([speed * TIMES_S, np.zeros(45)], axis=-1)
    samples = Samples(
        pairs=pairs,
        sequences=("s",) * len(pairs),
        truth=np.tile(ahead, (len(pairs), 1, 1)).astype(np.float32),
        ego=np.zeros((len(pairs), 4), dtype=np.float32),
        history_s=np.zeros(len(pairs), dtype=np.float32),
        world_from_ego=np.stack([world[f] for f in sample_frames]),
        excluded=Counter(),
        forward_axis="x",
        row_labels=row_labels,
    )
    return recording, samples


def in_frames(boxes, frames=range(60)):
    return {frame: list(boxes) for frame in frames}


def straight(speed, y=0.0):
    return np.stack([speed * TIMES_S, np.full(45, y)], axis=-1)[None].astype(np.float32)


def collisions(recording, samples, trajectories):
    return Traffic.of(recording, samples).collides(trajectories, EGO)


def test_a_faster_prediction_runs_into_the_car_ahead():
    # It stands with its tail at 27.75 m; the vehicle's front is 2 m ahead of its reference point.
    recording, samples = made_up(in_frames([box(30.0, 0.0)]), speed=5.0)
    hits, evaluated = collisions(recording, samples, straight(10.0))
    assert evaluated.all()
    first, last = 27.75 - 2, 32.25 + 2
    assert np.array_equal(hits[0], (straight(10.0)[0, :, 0] >= first) & (straight(10.0)[0, :, 0] <= last))
    assert not collisions(recording, samples, samples.truth)[0].any()


def test_the_labels_of_the_moment_count_not_those_of_now():
    # A car crosses the path 20 m ahead, from right to left at 10 m/s, 2 s from now.
    labels = {f: [box(20.0, -20.0 + f, math.pi / 2)] for f in range(60)}
    recording, samples = made_up(labels, speed=4.0)
    hits, _ = collisions(recording, samples, straight(10.0))
    assert hits[0, 19]  # both are there after 2 s
    assert not collisions(recording, samples, straight(20.0))[0].any()  # passes before it
    assert not collisions(recording, samples, straight(5.0))[0].any()  # passes behind it


def test_the_rectangle_turns_with_the_trajectory():
    # Driving to the left, the vehicle reaches 1 m to its side, not 2 m: the side of the car beside it is 1.6 m away.
    recording, samples = made_up(in_frames([box(1.6 + 1.0, 12.0, math.pi / 2)]), speed=5.0)
    traffic, to_the_left = Traffic.of(recording, samples), straight(5.0)[..., ::-1]
    assert not traffic.collides(to_the_left, EGO)[0].any()
    assert traffic.collides(to_the_left, (4.0, 3.4))[0].any()


def test_where_the_vehicle_as_driven_overlaps_nothing_is_evaluated():
    # The vehicle drives through the label at 10 m: reference points from 5.75 m to 14.25 m overlap it.
    recording, samples = made_up(in_frames([box(10.0, 0.0), box(30.0, 10.0, track="8")]), speed=5.0)
    hits, evaluated = collisions(recording, samples, straight(5.0, y=10.0))
    driven = 5 * TIMES_S
    assert np.array_equal(evaluated[0], ~((driven >= 5.75) & (driven <= 14.25)))
    assert not hits[~evaluated].any()


def test_steps_without_labels_are_not_evaluated():
    labelled = [*range(20), *range(21, 30), *range(33, 40)]
    recording, samples = made_up(in_frames([box(100.0, 0.0)], labelled))
    evaluated = collisions(recording, samples, samples.truth)[1][0]
    # Labels 19 and 21 are 0.2 s apart, 29 and 33 are 0.4 s apart.
    assert np.arange(1, 46)[evaluated].tolist() == [*range(1, 30), *range(33, 40)]


def test_a_tracked_car_is_interpolated_over_a_quarter_of_a_second_and_not_further():
    labels = {f: [box(20.0, -20.0 + f, math.pi / 2)] for f in range(0, 60, 2)}
    recording, samples = made_up(labels, speed=4.0)
    hits, evaluated = collisions(recording, samples, straight(20 / 1.9))
    assert evaluated.all()
    assert hits[0, 18]  # 1.9 s, between two labels: the car is 1 m before the middle of the path
    labels = {f: [box(20.0, -20.0 + f, math.pi / 2)] for f in range(0, 60, 3)}
    recording, samples = made_up(labels, speed=4.0)
    assert np.arange(1, 46)[collisions(recording, samples, samples.truth)[1][0]].tolist() == list(range(3, 46, 3))


def test_a_car_that_is_missing_for_long_is_nowhere_meanwhile():
    """Others are labelled, so the steps are evaluated."""
    labels = {f: [box(0.0, 50.0, track="other")] + ([box(20.0, 0.0)] if f < 10 or f > 30 else []) for f in range(60)}
    recording, samples = made_up(labels, speed=2.0)
    hits, evaluated = collisions(recording, samples, straight(10.0))
    assert evaluated.all()
    assert not hits.any()  # it would be hit from 1.6 to 2.4 s


def test_a_label_that_flips_by_half_a_turn_does_not_sweep_around():
    # A long bus parallel to the road, 4 m beside it. Halfway between 0 and pi it would stand across the road.
    labels = {f: [box(15.0, 4.0, math.pi * (f // 2 % 2), size=(12.0, 2.5, 3.0))] for f in range(0, 60, 2)}
    recording, samples = made_up(labels, speed=2.0)
    hits, evaluated = collisions(recording, samples, straight(8.0))
    assert evaluated.all()
    assert not hits.any()


def test_without_tracks_only_labels_within_50_milliseconds_count():
    recording, samples = made_up(in_frames([box(20.0, 0.0, track=None)], range(0, 60, 2)), speed=2.0)
    hits, evaluated = collisions(recording, samples, straight(10.0))
    assert np.arange(1, 46)[evaluated[0]].tolist() == list(range(2, 46, 2))
    assert np.arange(1, 46)[hits[0]].tolist() == [16, 18, 20, 22, 24]


@pytest.mark.parametrize(("late_us", "step"), [(-40_000, 20), (45_000, 20), (60_000, 21)])
def test_an_untracked_label_counts_at_the_step_that_is_close_to_it(late_us, step):
    recording, samples = made_up({20: [box(20.0, 0.0, track=None)]}, speed=2.0)
    recording.poses["s"].time_us[20] += late_us
    hits, evaluated = collisions(recording, samples, straight(10.0))
    assert np.arange(1, 46)[evaluated[0]].tolist() == [step]
    assert np.array_equal(hits, evaluated)


@pytest.mark.parametrize("distances", [(100.0, 20.0), (20.0, 100.0)])
def test_two_boxes_with_the_same_track_both_count(distances):
    recording, samples = made_up(in_frames([box(distance, 0.0) for distance in distances]), speed=2.0)
    assert collisions(recording, samples, straight(10.0))[0].any()


def test_frames_without_anybody_are_evaluated():
    recording, samples = made_up(in_frames([]), speed=2.0)
    hits, evaluated = collisions(recording, samples, straight(10.0))
    assert evaluated.all()
    assert not hits.any()


def test_without_labels_or_times_there_is_no_traffic():
    assert Traffic.of(*made_up({})) is None
    assert Traffic.of(*made_up(in_frames([box(9.0, 0.0)]), row_labels=True)) is None


def collides_by_loop(recording, samples, trajectories):
    """Step by step, box by box; labels of exact frames only."""
    found = np.zeros(trajectories.shape[:2], dtype=bool)
    for n, pair in enumerate(samples.pairs):
        ego_from_world = np.linalg.inv(samples.world_from_ego[n])
        yaw, before = 0.0, np.zeros(2)
        for k, (x, y) in enumerate(trajectories[n]):
            if math.hypot(x - before[0], y - before[1]) >= 0.05:
                yaw = math.atan2(y - before[1], x - before[0])
            before = (x, y)
            for other in recording.boxes("s", f"{int(pair.vehicle_id) + k + 1:06d}"):
                there = ego_from_world @ other.world_from_box
                theirs = (*there[:2, 3], math.atan2(there[1, 0], there[0, 0]), *other.size_m[:2])
                found[n, k] |= shared_area((x, y, yaw, *EGO), theirs) > 1e-9
    return found


def test_many_road_users_and_samples_agree_with_a_plain_loop():
    rng = np.random.default_rng(0)
    starts, velocities = rng.uniform(-30, 60, (25, 2)), rng.normal(0, 4, (25, 2))
    labels = {
        f: [
            box(2600 + x + u * f / 10, 1700 + y + v * f / 10, math.atan2(v, u), f"{i}")
            for i, ((x, y), (u, v)) in enumerate(zip(starts, velocities, strict=True))
        ]
        for f in range(60)
    }
    recording, samples = made_up(labels, sample_frames=(0, 4, 9, 14), ego=(2600.0, 1700.0, 2.1), num_frames=60)
    trajectories = np.cumsum(rng.normal([0.7, 0.0], 0.25, (4, 45, 2)), axis=1).astype(np.float32)
    hits, evaluated = collisions(recording, samples, trajectories)
    expected = collides_by_loop(recording, samples, trajectories)
    driven = collides_by_loop(recording, samples, samples.truth)
    assert np.array_equal(evaluated, ~driven)
    assert np.array_equal(hits, expected & ~driven)
    assert 5 < hits.sum() < hits.size / 2
