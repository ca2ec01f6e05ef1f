"""Motion whose accelerations are known from a formula."""

import numpy as np
import pytest

from v2x_teacher.comfort import BOUNDS, dynamics, violations

TIMES = np.arange(1, 46) / 10
NAMES = [name.split(" [")[0] for name in BOUNDS]


def violated(path):
    return [name.split(" [")[0] for name, values in violations(path[None]).items() if values[0]]


def along(distance):
    return np.stack([distance, np.zeros_like(distance)], axis=-1)


def circle(speed, rate):
    return speed / rate * np.stack([np.sin(rate * TIMES), 1 - np.cos(rate * TIMES)], axis=-1)


def test_a_steady_circle_has_lateral_acceleration_and_yaw_rate_and_nothing_else():
    found = dict(zip(NAMES, dynamics(circle(8.0, 0.4)[None])[:, 0], strict=True))
    expected = {"lateral acceleration": 8.0 * 0.4, "yaw rate": 0.4}
    for name, values in found.items():
        assert values[8:-8] == pytest.approx(expected.get(name, 0.0), abs=0.03), name


def test_a_rising_acceleration_shows_as_jerk():
    # x = 2 t + t^3 / 2: acceleration 3 t, jerk 3
    found = dict(zip(NAMES, dynamics(along(2 * TIMES + TIMES**3 / 2)[None])[:, 0], strict=True))
    assert found["longitudinal acceleration"] == pytest.approx(3 * np.arange(46) / 10, abs=1e-6)
    assert found["longitudinal jerk"] == pytest.approx(3.0)
    assert found["jerk"][1:] == pytest.approx(3.0)


def integrated(speed, heading):
    """Path of a vehicle whose speed and heading are functions of time."""
    fine = np.arange(1, 4501) / 1000 - 0.0005
    steps = speed(fine) / 1000 * np.stack([np.cos(heading(fine)), np.sin(heading(fine))])
    return np.cumsum(steps, axis=1)[:, 99::100].T


def test_a_tightening_curve_has_a_yaw_acceleration():
    path = integrated(lambda t: 6.0 + 0 * t, lambda t: t**2 / 10)
    found = dict(zip(NAMES, dynamics(path[None])[:, 0], strict=True))
    middle = slice(8, -8)
    assert found["yaw rate"][middle] == pytest.approx(np.arange(46)[middle] / 50, abs=0.02)
    assert found["yaw acceleration"][middle] == pytest.approx(0.2, abs=0.02)


def test_braking_in_a_curve_is_no_yaw_acceleration():
    path = integrated(lambda t: 10.0 - 1.5 * t, lambda t: 0.3 * t)
    found = dict(zip(NAMES, dynamics(path[None])[:, 0], strict=True))
    middle = slice(8, -8)
    assert found["yaw rate"][middle] == pytest.approx(0.3, abs=0.02)
    assert found["yaw acceleration"][middle] == pytest.approx(0.0, abs=0.03)
    assert found["longitudinal acceleration"][middle] == pytest.approx(-1.5, abs=0.03)
    assert found["lateral acceleration"][middle] == pytest.approx(0.3 * (10 - 0.15 * np.arange(46)[middle]), abs=0.05)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (along(10 * TIMES), []),
        (along(20 * TIMES - 3 * TIMES**2 / 2), []),
        (along(30 * TIMES - 5 * TIMES**2 / 2), ["longitudinal acceleration"]),
        (along(3 * TIMES**2 / 2), ["longitudinal acceleration"]),
        (circle(13.0, 0.4), ["lateral acceleration"]),
        (circle(3.0, 1.1), ["yaw rate"]),
    ],
)
def test_what_exceeds_a_bound_is_named(path, expected):
    assert violated(path) == expected


def test_a_zigzag_is_not_comfortable():
    zigzag = along(8 * TIMES) + np.stack([np.zeros(45), np.where(np.arange(45) % 8 < 4, 0.5, -0.5)], axis=-1)
    assert {"lateral acceleration", "yaw acceleration"} <= set(violated(zigzag))


@pytest.mark.parametrize("speed", [0.0, 0.5, 1.0, 10.0])
def test_two_centimetres_of_noise_exceed_no_bound(speed):
    noise = np.random.default_rng(0).normal(0, 0.02, (100, 45, 2))
    found = violations(along(speed * TIMES) + noise)
    assert max(values.mean() for values in found.values()) <= 0.02


def test_a_drive_that_is_not_known_to_its_end_is_not_judged():
    path = along(10 * TIMES)
    path[-1] = np.nan
    assert all(np.isnan(values[0]) for values in violations(path[None]).values())
