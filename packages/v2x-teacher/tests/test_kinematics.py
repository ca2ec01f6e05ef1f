"""Recent motion by least squares, and the two priors made of it, against formulas."""

import numpy as np
import pytest

from v2x_teacher.data.kinematics import constant_turn, constant_velocity, prior, recent_motion

TIMES = np.arange(-5, 1) / 10
"""The last 0.5 s at 10 Hz, up to now."""
STEPS = np.arange(1, 46) / 10


def along_x(metres: np.ndarray) -> np.ndarray:
    return np.column_stack([metres, np.zeros(len(metres))])


def test_a_straight_drive_has_its_speed_and_nothing_else() -> None:
    motion = recent_motion(TIMES, along_x(8.0 * TIMES), np.zeros(6))
    np.testing.assert_allclose(motion.vector(), [8, 0, 0, 0], atol=1e-9)
    assert motion.history_s == pytest.approx(0.5)


def test_acceleration_is_the_curve_of_the_way() -> None:
    motion = recent_motion(TIMES, along_x(8.0 * TIMES - 1.5 * TIMES**2), np.zeros(6))
    assert motion.acceleration_mps2 == pytest.approx(-3)
    # A line through a parabola has its slope in the middle of the window: 8 + 3 * 0.25.
    assert motion.velocity_mps[0] == pytest.approx(8.75)


def test_braking_backwards_is_still_acceleration_along_the_motion() -> None:
    motion = recent_motion(TIMES, along_x(-4.0 * TIMES - 0.5 * TIMES**2), np.zeros(6))
    # It moves along -x and gets faster that way.
    assert motion.velocity_mps[0] == pytest.approx(-3.75)
    assert motion.acceleration_mps2 == pytest.approx(1)


def test_the_yaw_rate_comes_from_the_heading_and_not_from_the_way() -> None:
    motion = recent_motion(TIMES, along_x(8.0 * TIMES), 0.3 * TIMES + 1.0)
    assert motion.yaw_rate_radps == pytest.approx(0.3)


def test_only_the_last_half_second_counts() -> None:
    times = np.arange(-20, 1) / 10
    ways = np.where(times < -0.51, 50.0, 8.0 * times)
    motion = recent_motion(times, along_x(ways), np.where(times < -0.51, 3.0, 0.0))
    np.testing.assert_allclose(motion.vector(), [8, 0, 0, 0], atol=1e-9)


def test_noise_at_a_standstill_is_no_motion() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (6, 2))
    noise[-1] = noise[0] + [0.03, 0.03]  # 4 cm apart
    motion = recent_motion(TIMES, noise, np.random.default_rng(1).normal(0, 0.1, 6))
    np.testing.assert_array_equal(motion.vector(), np.zeros(4))
    assert motion.history_s == pytest.approx(0.5)


def test_a_little_more_than_the_noise_is_motion() -> None:
    motion = recent_motion(TIMES, along_x(0.12 * TIMES), np.zeros(6))  # 6 cm
    assert motion.velocity_mps[0] == pytest.approx(0.12)


@pytest.mark.parametrize(("frames", "history", "speed"), [(1, 0.0, 0.0), (2, 0.1, 8.0), (3, 0.2, 8.0)])
def test_a_short_past_is_used_and_flagged(frames: int, history: float, speed: float) -> None:
    motion = recent_motion(TIMES[-frames:], along_x(8.0 * TIMES[-frames:]), np.zeros(frames))
    assert motion.history_s == pytest.approx(history)
    assert motion.velocity_mps[0] == pytest.approx(speed)
    assert motion.acceleration_mps2 == 0


def test_constant_velocity_goes_straight() -> None:
    paths = constant_velocity(np.array([[10.0, -1.0, 0.5, 3.0]]), STEPS)
    np.testing.assert_allclose(paths[0, [0, 44]], [[1, -0.1], [45, -4.5]])


def test_constant_turn_drives_a_circle() -> None:
    # A quarter of a circle of radius 5 / 0.5 = 10 m takes pi s.
    path = constant_turn(np.array([[5.0, 0.0, 0.5, 0.0]]), np.array([np.pi, 2 * np.pi]))[0]
    np.testing.assert_allclose(path, [[10, 10], [0, 20]], atol=1e-12)


def test_constant_turn_agrees_with_small_steps_to_both_sides() -> None:
    ego = np.array([[7.0, 0.0, 0.4, 0.0], [7.0, 0.0, -0.4, 0.0], [7.0, 0.0, 0.002, 0.0]])
    paths = constant_turn(ego, STEPS)
    step = 1e-4
    for (speed, _, rate, _), path in zip(ego, paths, strict=True):
        yaws = rate * (np.arange(45_000) + 0.5) * step
        walked = np.cumsum(speed * step * np.column_stack([np.cos(yaws), np.sin(yaws)]), axis=0)
        np.testing.assert_allclose(path, walked[999::1000], atol=1e-6)


def test_without_a_turn_both_priors_agree() -> None:
    ego = np.array([[9.0, 0.0, rate, 0.0] for rate in (0.0, 9e-4, -9e-4, 1e-9)])
    np.testing.assert_array_equal(constant_turn(ego, STEPS), constant_velocity(ego, STEPS))


def test_constant_turn_has_no_jump_where_it_becomes_a_line() -> None:
    curved, straight = (
        constant_turn(np.array([[15.0, 0.0, rate, 0.0]]), STEPS) for rate in (1.0000001e-3, 0.9999999e-3)
    )
    # 15 m/s for 4.5 s at 1e-3 rad/s: 0.15 m aside.
    assert np.abs(curved - straight).max() == pytest.approx(15 * 1e-3 * 4.5**2 / 2, rel=1e-3)


def test_a_standing_vehicle_stays_where_it_is() -> None:
    for kind in ("none", "cv", "ctrv"):
        np.testing.assert_array_equal(prior(kind, np.zeros((2, 4)), STEPS), np.zeros((2, 45, 2)))


def test_an_unknown_prior_is_named() -> None:
    with pytest.raises(ValueError, match="prior: expected none, cv or ctrv, got 'kalman'"):
        prior("kalman", np.zeros((1, 4)), STEPS)
