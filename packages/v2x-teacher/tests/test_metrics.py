"""Every measure by hand or by a plain loop."""

import math

import numpy as np
import pytest

from v2x_teacher.metrics import (
    Errors,
    at_horizon,
    displacement,
    headings,
    missed,
    mode_errors,
    ranges,
    spread_ratio,
    up_to_horizon,
)
from v2x_teacher.situations import strata
from v2x_teacher.transmission import file_bytes_per_s, raw_bytes_per_s

NAN = float("nan")


def straight(speed, steps=45, angle=0.0):
    """A path at constant speed [m/s]."""
    distance = speed * np.arange(1, steps + 1) / 10
    return np.stack([distance * math.cos(angle), distance * math.sin(angle)], axis=-1)


def arc(speed, rate, steps=45):
    """A circle: speed [m/s], yaw rate [rad/s]."""
    turn = rate * np.arange(1, steps + 1) / 10
    return speed / rate * np.stack([np.sin(turn), 1 - np.cos(turn)], axis=-1)


def stopping(speed, seconds, steps=45):
    """Brakes evenly and stands after `seconds`."""
    t = np.minimum(np.arange(1, steps + 1) / 10, seconds)
    return np.stack([speed * (t - t * t / (2 * seconds)), np.zeros(steps)], axis=-1)


# --- distances ---


def test_the_two_meanings_of_l2_at_a_horizon():
    # The error grows by 1 m per second.
    errors = displacement(straight(9.0)[None], straight(8.0)[None])
    assert at_horizon(errors, 2.5) == pytest.approx([2.5])
    assert up_to_horizon(errors, 2.5).shape == (1, 25)
    assert up_to_horizon(errors, 2.5).mean() == pytest.approx((0.1 + 2.5) / 2)
    assert at_horizon(errors, 4.5) == pytest.approx(errors[:, -1])
    assert errors.mean() == pytest.approx((0.1 + 4.5) / 2)


@pytest.mark.parametrize("horizon_s", [0.0, 4.6, -1.0])
def test_a_horizon_that_is_no_step_is_refused(horizon_s):
    with pytest.raises(ValueError, match=r"horizons_s: expected 0\.1 to 4\.5 s, got "):
        at_horizon(np.zeros((1, 45)), horizon_s)


def test_a_miss_ends_more_than_two_metres_off_and_nobody_misses_an_unknown_end():
    assert missed(np.array([1.9, 2.0, 2.1, NAN])).tolist()[:3] == [0, 0, 1]
    assert np.isnan(missed(np.array([NAN])))[0]


def test_an_unknown_step_has_no_error_of_any_kind():
    truth = straight(8.0)[None].copy()
    truth[0, 20:] = NAN
    errors = Errors.of(straight(9.0)[None], truth)
    for values in (errors.l2, errors.longitudinal, errors.lateral, errors.heading):
        assert np.isnan(values[0, 20:]).all()
        assert not np.isnan(values[0, :20]).any()


# --- directions ---


def heading_by_loop(trajectory):
    found, held, before = [], 0.0, (0.0, 0.0)
    for x, y in trajectory:
        dx, dy = x - before[0], y - before[1]
        if math.hypot(dx, dy) >= 0.05:
            held = math.atan2(dy, dx)
        found.append(held)
        before = (x, y)
    return found


def test_a_heading_is_held_while_steps_are_short():
    # 1 m ahead, 1 m left, 1 cm right, 1 m right
    path = np.array([[1.0, 0.0], [1.0, 1.0], [1.01, 1.0], [1.01, 0.0]])
    assert headings(path) == pytest.approx([0, math.pi / 2, math.pi / 2, -math.pi / 2])


def test_a_vehicle_that_stands_looks_ahead_until_it_moves():
    path = np.array([[-0.01, 0.02], [0.0, -0.02], [0.0, -1.0]])
    assert headings(path) == pytest.approx([0, 0, -math.pi / 2])


def test_headings_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    paths = np.cumsum(rng.normal(0, 0.05, (20, 45, 2)), axis=1)
    assert headings(paths) == pytest.approx(np.array([heading_by_loop(path) for path in paths]))


def test_an_error_along_the_path_is_longitudinal_and_one_across_it_lateral():
    truth = straight(10.0, angle=math.pi / 2)[None]  # to the left
    ahead, left = truth + np.array([0.0, 2.0]), truth + np.array([-3.0, 0.0])
    assert Errors.of(ahead, truth).longitudinal == pytest.approx(np.full((1, 45), 2.0))
    assert Errors.of(ahead, truth).lateral == pytest.approx(np.zeros((1, 45)), abs=1e-9)
    assert Errors.of(left, truth).lateral == pytest.approx(np.full((1, 45), 3.0))


def test_the_two_parts_of_an_error_make_up_the_whole():
    rng = np.random.default_rng(0)
    truth, predicted = (np.cumsum(rng.normal(0.3, 0.3, (8, 45, 2)), axis=1) for _ in range(2))
    errors = Errors.of(predicted, truth)
    assert np.hypot(errors.longitudinal, errors.lateral) == pytest.approx(errors.l2)


def test_the_heading_error_is_the_smaller_angle_between_the_paths():
    truth = straight(10.0, angle=math.radians(170))[None]
    predicted = straight(10.0, angle=math.radians(-170))[None]
    assert np.rad2deg(Errors.of(predicted, truth).heading) == pytest.approx(np.full((1, 45), 20.0))


def test_after_a_stop_the_last_direction_counts():
    truth = np.concatenate([straight(10.0, 10, angle=math.pi / 2), np.full((35, 2), [0.0, 10.0])])
    predicted = truth + np.array([0.0, 1.0])
    assert Errors.of(predicted[None], truth[None]).longitudinal[0, -1] == pytest.approx(1.0)


# --- modes ---


def test_the_final_choice_scores_one_mode_and_the_independent_one_the_best_of_each():
    truth = np.zeros((1, 3, 2))
    first = [[4.0, 0.0], [4.0, 0.0], [1.0, 0.0]]  # ADE 3, FDE 1
    second = [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]  # ADE 1, FDE 3
    modes = np.array([[first, second]])
    final, independent = (mode_errors(modes, truth, choice) for choice in ("final", "independent"))
    assert (final.ade, final.fde, final.missed) == (3.0, 1.0, 0.0)
    assert (independent.ade, independent.fde) == (1.0, 1.0)


def test_modes_without_a_known_end_have_no_score():
    truth = np.zeros((2, 3, 2))
    truth[1, 2] = NAN
    truth[0, 1] = NAN
    errors = mode_errors(np.ones((2, 4, 3, 2)), truth)
    assert errors.ade == pytest.approx([math.sqrt(2), NAN], nan_ok=True)
    assert np.isnan(errors.fde[1])
    assert np.isnan(errors.missed[1])


# --- collapse ---


def test_the_spread_ratio_compares_stds_per_step():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (50, 45, 2)) * np.arange(1, 46)[:, None] * [1.0, 0.2]
    predicted = rng.normal(0, 1, (50, 45, 2))
    by_hand = predicted.std(axis=0).mean(axis=0) / truth.std(axis=0).mean(axis=0)
    assert spread_ratio(predicted, truth) == pytest.approx(by_hand)
    assert spread_ratio(truth, truth) == pytest.approx([1, 1])


def test_a_constant_trajectory_has_the_range_of_the_truth_and_no_spread():
    rng = np.random.default_rng(0)
    truth = straight(10.0)[None] * rng.uniform(0.5, 1.5, (100, 1, 1)) + rng.normal(0, 1, (100, 1, 2))
    collapsed = np.broadcast_to(truth.mean(axis=0), truth.shape).astype(np.float32)
    assert ranges(collapsed)[0] == pytest.approx([1, 45], abs=3)
    assert spread_ratio(collapsed, truth) == pytest.approx([0, 0], abs=1e-4)


def test_unknown_steps_do_not_count_in_the_spread():
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(0, 1, (2, 50, 45, 2))
    truth[:30, 40:] = NAN
    known = ~np.isnan(truth)
    stds = [np.nanstd(np.where(known, values, NAN), axis=0).mean(axis=0) for values in (predicted, truth)]
    assert spread_ratio(predicted, truth) == pytest.approx(stds[0] / stds[1])


def test_without_any_spread_in_the_truth_there_is_no_ratio():
    assert np.isnan(spread_ratio(np.zeros((1, 45, 2)), np.zeros((1, 45, 2)))).all()


def test_the_range_is_lowest_and_highest_per_axis():
    values = np.array([[[1.0, -2.0], [NAN, NAN]], [[5.0, 7.0], [0.0, 0.0]]])
    assert ranges(values).tolist() == [[0, 5], [-2, 7]]


# --- strata ---


@pytest.mark.parametrize(
    ("path", "speed", "manoeuvre"),
    [
        (straight(10.0), "fast", "straight"),
        (straight(3.0), "slow", "straight"),
        (arc(6.0, 0.3), "fast", "left"),
        (arc(4.0, -0.3), "slow", "right"),
        (arc(8.0, 0.03), "fast", "straight"),
        (stopping(9.0, 3.0), "fast", "stop"),
        (straight(0.1), "standing", "stop"),
        (np.concatenate([np.zeros((20, 2)), straight(6.0, 25)]), "standing", "straight"),
    ],
)
def test_a_drive_belongs_to_one_speed_and_one_manoeuvre(path, speed, manoeuvre):
    found = [name for name, members in strata(path[None]).items() if members[0]]
    assert found == [speed, manoeuvre]


def test_a_drive_without_a_known_end_has_no_manoeuvre():
    path = straight(10.0)[None].copy()
    path[0, -1] = NAN
    assert [name for name, members in strata(path).items() if members[0]] == ["fast"]


def test_two_centimetres_of_noise_do_not_move_a_standing_vehicle():
    noise = np.random.default_rng(0).normal(0, 0.02, (500, 45, 2))
    found = strata(noise)
    assert found["standing"].all()
    assert found["stop"].all()
    assert not np.any([found["straight"], found["left"], found["right"]])


# --- transmission ---


def test_raw_pictures_of_the_real_camera_at_2_hz_are_12_megabytes_per_second():
    assert raw_bytes_per_s(1920, 1080, 2.0) == pytest.approx(1.24e7, rel=0.01)
    assert raw_bytes_per_s(1920, 1080, 2.0, downsampling=0.5) == raw_bytes_per_s(1920, 1080, 2.0) / 4


def test_stored_pictures_cost_what_their_files_weigh(tmp_path):
    for name, size in (("a", 100), ("b", 300)):
        (tmp_path / name).write_bytes(bytes(size))
    assert file_bytes_per_s([tmp_path / "a", tmp_path / "b"], 10.0) == 2000
    assert math.isnan(file_bytes_per_s([], 10.0))
