"""Labels by time against hand calculation, labels by row against what they did to the request's training."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.config import LabelSettings
from v2x_teacher.data.kinematics import constant_velocity
from v2x_teacher.data.labels import (
    NUM_STEPS,
    TIMES_S,
    Samples,
    build_samples,
    forward_cosines,
    implausible,
    require_plausible,
    row_trajectory,
    sequences_of,
)
from v2x_teacher.data.recording import Poses, Recording

from .drives import Track, circle, line, recording

BY_TIME, BY_ROW = LabelSettings(), LabelSettings(kind="rows")
KNOWN_AXIS = LabelSettings(forward_axis="x")


# --- straight and round -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5, np.pi])
def test_a_straight_drive_is_straight_ahead_wherever_it_heads(yaw: float) -> None:
    samples = build_samples(recording(line(speed=10.0, yaw=yaw)), BY_TIME)
    assert samples.forward_axis == "x"
    np.testing.assert_allclose(samples.truth[3], np.column_stack([10 * TIMES_S, np.zeros(45)]), atol=1e-4)
    np.testing.assert_allclose(samples.ego[9], [10, 0, 0, 0], atol=1e-4)


def test_a_drive_on_a_circle_is_a_circle_in_the_ego_frame() -> None:
    speed, rate = 5.0, 0.25
    # At 100 Hz the chords between frames leave the circle by less than a micron.
    track = circle(frames=600, speed=speed, rate=rate, hz=100.0)
    samples = build_samples(recording(track), BY_TIME)
    turned = rate * TIMES_S
    expected = speed / rate * np.column_stack([np.sin(turned), 1 - np.cos(turned)])
    for row in (0, 60, 149):
        np.testing.assert_allclose(samples.truth[row], expected, atol=1e-4)
    np.testing.assert_allclose(samples.ego[60, 2:], [rate, 0], atol=0.02)


def test_between_frames_positions_are_interpolated_by_time() -> None:
    """Frames at 10 Hz that come 0.04 s late after the first: x(t) is a line through the frames around t."""
    times = np.concatenate([[0.0], np.arange(1, 60) / 10 + 0.04])
    ways = np.concatenate([[0.0], np.cumsum(np.arange(1.0, 60.0)) / 10])
    track = Track(times, np.column_stack([ways, np.zeros(60)]), np.zeros(60))
    samples = build_samples(recording(track), KNOWN_AXIS)
    # 0.1 s lies 0.1 / 0.14 of the way between 0 m and 0.1 m; 0.2 s lies 0.06 / 0.1 between 0.1 m and 0.3 m.
    np.testing.assert_allclose(samples.truth[0, :2, 0], [0.1 / 1.4, 0.1 + 0.6 * 0.2], atol=1e-6)
    assert samples.pairs[0].vehicle_id == "000000"


def test_steps_are_at_a_tenth_of_a_second_to_four_and_a_half() -> None:
    assert NUM_STEPS == 45
    np.testing.assert_allclose(TIMES_S[[0, 24, 34, 44]], [0.1, 2.5, 3.5, 4.5])


def test_a_missing_frame_moves_nothing() -> None:
    whole = build_samples(recording(line()), BY_TIME)
    holes = build_samples(recording(line().keep([*range(12), *range(13, 40), *range(41, 60)])), BY_TIME)
    for row in (0, 5, 11):
        np.testing.assert_allclose(holes.truth[row], whole.truth[row], atol=1e-4)


def test_the_world_frame_of_a_sample_leads_back_to_the_poses() -> None:
    track = circle(frames=60)
    samples = build_samples(recording(track), BY_TIME)
    ahead = samples.world_from_ego[7] @ [*samples.truth[7, 9].astype(float), 0, 1]  # 1 s later
    np.testing.assert_allclose(ahead[:2], track.positions[17], atol=1e-4)
    assert ahead[2] == pytest.approx(21.0)


# --- what is left out -------------------------------------------------------------------------------------------------


def test_the_end_of_a_sequence_costs_its_last_45_frames_and_no_more() -> None:
    samples = build_samples(recording(line(frames=200)), BY_TIME)
    assert len(samples) == 155
    assert samples.excluded == {"the sequence ends within the horizon": 45}
    assert samples.pairs[-1].vehicle_id == "000154"


def test_nothing_is_joined_across_sequences() -> None:
    """Two sequences of 30 frames whose ids, times and places run on: none of them has 4.5 s of future."""
    track = line(frames=60)
    samples = build_samples(recording(track.keep(range(30)), track.keep(range(30, 60))), BY_TIME)
    assert len(samples) == 0
    assert samples.excluded == {"the sequence ends within the horizon": 60}
    assert samples.truth.shape == (0, 45, 2)


@pytest.mark.parametrize(("dropped", "lost"), [(1, 0), (2, 45)])
def test_a_gap_within_the_horizon_costs_every_sample_that_would_cross_it(dropped: int, lost: int) -> None:
    """Two dropped frames are 0.3 s without a pose, from 5.9 s on: 1.4 s still ends there, 1.5 s to 5.9 s cross it."""
    frames = [index for index in range(120) if not 60 <= index < 60 + dropped]
    samples = build_samples(recording(line(frames=120).keep(frames)), BY_TIME)
    assert samples.excluded["the sequence ends within the horizon"] == 45
    assert samples.excluded["a gap of more than 0.25 s within the horizon"] == lost
    assert len(samples) == 120 - dropped - 45 - lost


def test_a_gap_setting_of_one_frame_accepts_frames_that_are_one_frame_apart() -> None:
    samples = build_samples(recording(line(frames=100)), replace(BY_TIME, max_gap_s=0.1))
    assert samples.excluded == {"the sequence ends within the horizon": 45}


def test_pairs_without_a_pose_are_counted_and_pairs_without_a_split_are_not() -> None:
    found = recording(line(frames=60))
    strange = replace(found.pairs[0], vehicle_id="999999")
    unknown = replace(found.pairs[0], sequence="9999")
    unlisted = replace(found.pairs[0], vehicle_id="999998", split="")
    found = replace(found, pairs=(strange, unknown, unlisted, *found.pairs[:3]))
    for settings in (BY_TIME, BY_ROW):
        samples = build_samples(found, settings)
        assert samples.excluded["no pose"] == 2


# --- heading and forward axis -----------------------------------------------------------------------------------------


def test_a_standing_car_looks_where_its_pose_says() -> None:
    """It stands for 2 s, heading along y, jittering by 2 cm, then drives off ahead."""
    times = np.arange(80) / 10
    way = np.maximum(0.0, times - 2.0) ** 2
    jitter = np.random.default_rng(3).normal(0, 0.02, (80, 2))
    positions = np.column_stack([np.full(80, 2636.0), 1745.0 + way]) + jitter
    samples = build_samples(recording(Track(times, positions, np.full(80, np.pi / 2))), KNOWN_AXIS)
    end = samples.truth[5, -1]  # at 0.5 + 4.5 s it is 9 m ahead
    np.testing.assert_allclose(end, [9.0, 0.0], atol=0.1)


@pytest.mark.parametrize("axis", ["x", "-x", "y", "-y"])
def test_the_forward_axis_is_found_from_the_motion(axis: str) -> None:
    found = recording(circle(), line(yaw=2.0), forward_axis=axis)
    samples = build_samples(found, BY_TIME)
    assert samples.forward_axis == axis
    np.testing.assert_allclose(
        samples.truth, build_samples(recording(circle(), line(yaw=2.0)), BY_TIME).truth, atol=1e-4
    )
    cosines = forward_cosines(found)
    assert cosines[axis] > 0.99
    assert min(cosines.values()) < -0.99


def test_a_frame_that_is_askew_is_refused_with_all_four_cosines() -> None:
    track = line()
    askew = replace(track, yaws=track.yaws + 0.5)  # cos 0.5 = 0.878
    with pytest.raises(UserError, match=r"drives: labels.forward_axis: .* got x 0.878, y -0.479, -x -0.878, -y 0.479;"):
        build_samples(recording(askew), BY_TIME)
    assert build_samples(recording(askew), KNOWN_AXIS).forward_axis == "x"


def test_a_data_set_in_which_nothing_moves_is_refused() -> None:
    with pytest.raises(UserError, match=r"labels.forward_axis: .* got x nan"):
        build_samples(recording(line(speed=1.0)), BY_TIME)


# --- the past ---------------------------------------------------------------------------------------------------------


def test_another_future_changes_no_input() -> None:
    track = circle(frames=120)
    now = 50
    changed = track.positions.copy()
    changed[now + 1 :] += np.cumsum(np.random.default_rng(0).normal(0, 0.5, (120 - now - 1, 2)), axis=0)
    yaws = track.yaws.copy()
    yaws[now + 1 :] += 1.0
    before = build_samples(recording(track), KNOWN_AXIS)
    after = build_samples(recording(Track(track.times_s, changed, yaws)), KNOWN_AXIS)
    upto = now + 1
    np.testing.assert_array_equal(after.ego[:upto], before.ego[:upto])
    np.testing.assert_array_equal(after.history_s[:upto], before.history_s[:upto])
    np.testing.assert_array_equal(after.world_from_ego[:upto], before.world_from_ego[:upto])
    assert np.abs(after.truth[now] - before.truth[now]).max() > 0.1


def test_the_start_of_a_sequence_has_a_short_past_and_says_so() -> None:
    samples = build_samples(recording(line()), BY_TIME)
    np.testing.assert_allclose(samples.history_s[:7], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5], atol=1e-6)
    np.testing.assert_array_equal(samples.ego[0], np.zeros(4))
    np.testing.assert_allclose(samples.ego[1], [10, 0, 0, 0], atol=1e-4)


def test_the_past_ends_at_a_gap() -> None:
    frames = [*range(10), *range(13, 80)]
    samples = build_samples(recording(line(frames=80).keep(frames)), BY_TIME)
    history = {pair.vehicle_id: past for pair, past in zip(samples.pairs, samples.history_s, strict=True)}
    # Frame 10 of those that are left is the first one after the gap.
    assert history["000010"] == 0
    assert history["000012"] == pytest.approx(0.2)


def test_a_sample_knows_how_far_apart_its_pictures_were_taken() -> None:
    found = recording(line())
    alone = replace(found.pairs[0], infrastructure_time_us=None)
    samples = build_samples(replace(found, pairs=(alone, *found.pairs[1:])), BY_TIME)
    assert np.isnan(samples.asynchrony_s[0])
    assert samples.asynchrony_s[1] == pytest.approx(0.03)


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_splits_and_sequences_choose_their_own_samples() -> None:
    samples = build_samples(recording(line(), line(yaw=1.0), line(), splits=("train", "val")), BY_TIME)
    assert [int(samples.mask(split).sum()) for split in ("train", "val", "test", "all")] == [30, 15, 0, 45]
    val = samples.take(samples.mask("val"))
    assert set(val.sequences) == {"0001"}
    assert val.ids[0] == "0001/000060"
    assert val.truth.shape == (15, 45, 2)
    assert {name: rows.tolist() for name, rows in sequences_of(samples)}["0001"] == list(range(15, 30))


# --- labels by row ----------------------------------------------------------------------------------------------------


def test_a_row_trajectory_starts_at_zero_and_turns_with_its_first_step() -> None:
    rows = np.column_stack([np.full(45, 5.0), 7.0 + np.arange(45)])  # along y
    np.testing.assert_allclose(row_trajectory(rows), np.column_stack([np.arange(45), np.zeros(45)]), atol=1e-12)


def test_a_row_trajectory_of_a_standing_start_is_not_turned() -> None:
    rows = np.column_stack([np.zeros(45), np.maximum(0.0, np.arange(45.0) - 1)])
    np.testing.assert_allclose(row_trajectory(rows), rows)


def test_a_long_row_trajectory_is_shrunk_to_200_m_whatever_that_does_to_its_shape() -> None:
    rows = np.column_stack([10.0 * np.arange(45), np.zeros(45)])
    shrunk = row_trajectory(rows)
    assert shrunk[-1, 0] == pytest.approx(200)
    assert shrunk[1, 0] == pytest.approx(200 / 44)


def test_rows_of_a_gapless_list_are_frames() -> None:
    samples = build_samples(recording(line(frames=60)), BY_ROW)
    assert samples.row_labels
    assert samples.excluded == {"fewer than 45 rows left in the list": 44}
    # The first row is now, so the last is 4.4 s ahead.
    np.testing.assert_allclose(samples.truth[0], np.column_stack([np.arange(45), np.zeros(45)]), atol=1e-3)


def town(seed: int = 0) -> Recording:
    """Eight drives up to 400 m apart that slow down and turn, on a list that kept half of their frames."""
    rng = np.random.default_rng(seed)
    tracks = []
    for _ in range(8):
        times = np.arange(200) / 10
        speeds = np.clip(7 + 6 * np.sin(times / rng.uniform(2, 4) + rng.uniform(0, 6)), 0, None)
        yaws = rng.uniform(-np.pi, np.pi) + np.cumsum(0.002 * speeds * np.sin(times / 5))
        steps = speeds[:, None] / 10 * np.column_stack([np.cos(yaws), np.sin(yaws)])
        positions = 2000 + rng.uniform(-400, 400, 2) + np.cumsum(steps, axis=0)
        tracks.append(Track(times, positions + rng.normal(0, 0.02, (200, 2)), yaws))
    listed = np.flatnonzero(rng.random(1600) < 0.5)
    return recording(*tracks, pairs=listed.tolist())


def test_rows_of_a_list_with_holes_across_sequences_are_trajectories_that_no_car_drives() -> None:
    by_row, by_time = (build_samples(town(), settings) for settings in (BY_ROW, BY_TIME))
    rates = {what: bad.mean() for what, bad in implausible(by_row).items()}
    assert rates["faster than 40 m/s"] > 0.2
    assert rates["ends behind the vehicle"] > 0.1
    assert np.abs(by_row.truth).max() == pytest.approx(200)
    assert [bad.sum() for bad in implausible(by_time).values()] == [0, 0]
    # Standing still is off by more than twice as much, as on the real lists.
    still = [np.linalg.norm(samples.truth, axis=-1).mean() for samples in (by_row, by_time)]
    assert still[0] > 2 * still[1]


def test_the_gate_refuses_them_and_names_the_first_ten() -> None:
    samples = build_samples(town(), BY_ROW)
    bad = np.flatnonzero(implausible(samples)["faster than 40 m/s"])
    first = ", ".join(samples.ids[row] for row in bad[:10])
    with pytest.raises(UserError) as caught:
        require_plausible(samples, BY_ROW, "data/town")
    text = str(caught.value)
    assert text.startswith("data/town: labels: expected trajectories that a car can drive, got ")
    assert f"{len(bad)} of {len(samples)} samples" in text
    assert f"faster than 40 m/s: {first};" in text
    assert "\n" not in text


def test_the_gate_opens_for_right_labels_and_on_request() -> None:
    require_plausible(build_samples(town(), BY_TIME), BY_TIME, "data/town")
    require_plausible(build_samples(town(), BY_ROW), replace(BY_ROW, allow_implausible=True), "data/town")


def moving(truth_end: float, speed: float, count: int) -> Samples:
    samples = build_samples(recording(line(frames=45 + count)), KNOWN_AXIS)
    truth = np.linspace(0, 1, 46)[1:, None] * [truth_end, 0.0]
    ego = np.tile(np.array([speed, 0, 0, 0], np.float32), (count, 1))
    return replace(samples, truth=np.tile(truth.astype(np.float32), (count, 1, 1)), ego=ego)


def test_a_car_that_reverses_may_end_behind_itself() -> None:
    require_plausible(moving(-5.0, -1.0, 10), BY_TIME, "data")
    with pytest.raises(UserError, match=r"10 of 10 samples .* ends behind the vehicle"):
        require_plausible(moving(-5.0, 0.0, 10), BY_TIME, "data")


def test_one_in_a_hundred_may_be_impossible_and_two_may_not() -> None:
    samples = moving(30.0, 7.0, 200)
    for bad, refused in ((2, False), (3, True)):
        truth = samples.truth.copy()
        truth[:bad, 20:] += 5.0  # 5 m in one step
        changed = replace(samples, truth=truth)
        if refused:
            with pytest.raises(UserError, match="3 of 200 samples"):
                require_plausible(changed, BY_TIME, "data")
        else:
            require_plausible(changed, BY_TIME, "data")


def test_trajectories_that_come_with_the_data_are_rows_or_nothing() -> None:
    found = recording(line(frames=3))
    positions = np.stack([np.column_stack([np.zeros(45), np.arange(45.0)])] * 3)
    flat = replace(found, poses={}, row_trajectories=positions)
    with pytest.raises(UserError, match=r"labels.kind: expected 'rows', because a flat folder .*, got 'time'"):
        build_samples(flat, BY_TIME)
    samples = build_samples(flat, BY_ROW)
    np.testing.assert_allclose(samples.truth[1], np.column_stack([np.arange(45), np.zeros(45)]), atol=1e-5)
    assert samples.history_s.tolist() == [0, 0, 0]


# --- a real minute ----------------------------------------------------------------------------------------------------


def comma_minute() -> tuple[Recording, np.ndarray, np.ndarray]:
    """One minute of highway at 20 Hz from comma2k19, in a level frame at its start; times and CAN speed beside it."""
    folder = os.environ.get("DRIVELAB_REAL_DATA")
    if not folder:
        pytest.skip("DRIVELAB_REAL_DATA is not set: no real drive")
    segment = Path(folder) / "comma2k19_segment" / "segment"
    times, positions, quaternions = (
        np.load(segment / "global_pose" / f"frame_{name}", allow_pickle=False)
        for name in ("times", "positions", "orientations")
    )
    origin = positions[0]
    # The ellipsoid's normal is up; WGS84 is 1.0067 times as steep along the axis of the earth.
    up = origin * [1, 1, 1.006739]
    east = np.cross([0, 0, 1], up)
    level_from_earth = np.stack([axis / np.linalg.norm(axis) for axis in (east, np.cross(up, east), up)])
    w, x, y, z = quaternions.T
    earth_from_device = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    level_from_device = np.tile(np.eye(4), (len(times), 1, 1))
    level_from_device[:, :3, :3] = level_from_earth @ earth_from_device
    level_from_device[:, :3, 3] = (positions - origin) @ level_from_earth.T
    stamps = (1_600_000_000_000_000 + np.round(times * 1e6)).astype(np.int64)
    made = recording(Track(times - times[0], level_from_device[:, :2, 3], np.zeros(len(times))))
    pairs = tuple(replace(pair, time_us=int(stamp)) for pair, stamp in zip(made.pairs, stamps, strict=True))
    poses = Poses(made.poses["0000"].ids, stamps, level_from_device)
    speed = [np.load(segment / "processed_log" / "CAN" / "speed" / name, allow_pickle=False).ravel() for name in "t"]
    values = np.load(segment / "processed_log" / "CAN" / "speed" / "value", allow_pickle=False).ravel()
    return replace(made, pairs=pairs, poses={"0000": poses}), times, np.interp(times, speed[0], values)


def test_a_real_minute_gives_labels_that_a_car_can_drive() -> None:
    found, times, can_speed = comma_minute()
    samples = build_samples(found, BY_TIME)
    assert samples.forward_axis == "x"
    assert sum(samples.excluded.values()) == len(times) - len(samples) <= 92  # 4.5 s at 20 Hz
    require_plausible(samples, BY_TIME, "comma2k19")
    assert [bad.sum() for bad in implausible(samples).values()] == [0, 0]
    # Speed over the last 0.5 s, and in the label of the next 0.5 s, against what the wheels say of the same time.
    rows = np.flatnonzero(samples.history_s > 0.49)
    past = np.linalg.norm(samples.ego[rows, :2], axis=1)
    future = np.linalg.norm(samples.truth[rows, 4], axis=1) / 0.5
    for name, speed, shift in (("past", past, -0.5), ("label", future, 0.0)):
        starts = times[rows] + shift
        wheels = np.array([can_speed[(times > start - 0.01) & (times < start + 0.51)].mean() for start in starts])
        off = speed - wheels
        print(f"{name}: GNSS - CAN speed: mean {off.mean():.2f}, largest {np.abs(off).max():.2f} m/s")
        assert np.abs(off).max() < 0.4
    error = np.linalg.norm(constant_velocity(samples.ego[rows], TIMES_S) - samples.truth[rows], axis=-1)
    print(f"constant velocity: ADE {error.mean():.2f} m, at 4.5 s {error[:, -1].mean():.2f} m")
    # Speeds go from 8 to 20 m/s and back to 14; 0.5 m/s2 that constant velocity does not know are 5 m after 4.5 s.
    assert 0.5 < error.mean() < 3.0
    assert 1.0 < error[:, -1].mean() < 8.0
