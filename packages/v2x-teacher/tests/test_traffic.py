"""The simulated drives: nobody drives through the vehicle, rules are kept, and both answers to every event occur."""

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from v2x_teacher.data.make_data.traffic import RATE_HZ, STOP_LINE_M, Actor, Drive, scenario, simulate

SECONDS = 16.0
FRONT_M, REAR_M, WIDTH_M = 3.2, 0.9, 1.85
"""Of the vehicle, from its reference point."""


@lru_cache(maxsize=100)
def drive(index: int) -> Drive:
    return simulate(scenario(0, index, SECONDS))


def drives(event: str, count: int = 60) -> list[Drive]:
    return [drive(index) for index in range(count) if drive(index).scenario.event == event]


def rectangle(x: float, y: float, heading: float, front: float, rear: float, width: float) -> np.ndarray:
    corners = np.array([(front, width / 2), (front, -width / 2), (-rear, -width / 2), (-rear, width / 2)])
    cos, sin = np.cos(heading), np.sin(heading)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


def overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether no edge of either rectangle separates them."""
    for edges in (first, second):
        for axis in np.diff(edges, axis=0)[:2]:
            if (first @ axis).max() <= (second @ axis).min() or (second @ axis).max() <= (first @ axis).min():
                return False
    return True


def actor_rectangle(actor: Actor, index: int) -> np.ndarray:
    length, width, _ = actor.body.size_m
    return rectangle(*actor.pose(index / 50), length / 2, length / 2, width)


def touches(found: Drive, index: int) -> bool:
    position, heading = found.path.at(found.s[index])
    vehicle = rectangle(*position, float(heading), FRONT_M, REAR_M, WIDTH_M)
    others = (actor_rectangle(actor, index) for actor in found.actors)
    return any(overlap(vehicle, other) for other in others)


def test_the_overlap_of_rectangles_is_told_from_a_near_miss() -> None:
    square = rectangle(0, 0, 0.0, 1, 1, 2)
    assert overlap(square, rectangle(1.9, 0, 0.0, 1, 1, 2))
    assert not overlap(square, rectangle(2.1, 0, 0.0, 1, 1, 2))
    # Turned by 45 degrees its corner reaches 1.41 m.
    assert overlap(square, rectangle(2.3, 0, np.pi / 4, 1, 1, 2))
    assert not overlap(square, rectangle(1.8, 1.8, np.pi / 4, 1, 1, 2))


def test_nobody_ever_touches_the_vehicle() -> None:
    touched = {}
    for index in range(60):
        found = drive(index)
        hits = [k for k in range(0, len(found.times_s), 5) if touches(found, k)]
        if hits:
            touched[index] = float(found.times_s[hits[0]])
    assert touched == {}


def test_a_vehicle_that_did_not_give_way_would_be_hit() -> None:
    """The drives need looking: at its steady speed the vehicle would meet cross traffic or the car ahead."""
    hits = 0
    for index in range(40):
        found = drive(index)
        s = found.scenario.cruise_mps * found.times_s
        blind = Drive(found.scenario, found.times_s, found.path, s, found.speed_mps, found.actors, found.lights)
        hits += any(touches(blind, k) for k in range(0, len(s), 5))
    assert hits >= 10


def test_nobody_passes_a_red_light() -> None:
    for found in drives("light"):
        line = found.scenario.approach_m - STOP_LINE_M + 0.5  # a bumper may stand over it
        front = found.s + FRONT_M
        crossing = np.flatnonzero((front[:-1] <= line) & (front[1:] > line))
        assert not {found.lights[k] for k in crossing} & {"red", "red_amber"}
    assert len(drives("light")) == 12


@pytest.mark.parametrize("event", ["light", "cross", "lead"])
def test_the_vehicle_sometimes_stops_and_sometimes_does_not(event: str) -> None:
    stops = [bool(found.speed_mps.min() < 0.1) for found in drives(event, 100)]
    assert 0.2 < np.mean(stops) < 0.8


def test_the_light_changes_and_red_announces_green() -> None:
    for found in drives("light"):
        states = list(dict.fromkeys(found.lights))
        assert states in (["red", "red_amber", "green"], ["green", "amber", "red"], ["green", "amber"])
    assert all(set(found.lights) == {"off"} for found in drives("cross"))


def test_cross_traffic_is_there_in_some_drives_and_missing_in_others() -> None:
    counts = Counter(found.scenario.num_crossing > 0 for found in drives("cross", 100))
    assert min(counts.values()) >= 10
    for found in drives("cross"):
        across = [actor for actor in found.actors if abs(np.sin(actor.path.headings[0])) > 0.9]
        assert len(across) == found.scenario.num_crossing


def test_only_somebody_else_makes_the_vehicle_stop_at_an_open_junction() -> None:
    alone = [found for found in drives("cross", 100) if not found.scenario.num_crossing]
    alone = [found for found in alone if not found.scenario.lead_distance_m]
    assert len(alone) >= 5
    assert min(found.speed_mps.min() for found in alone) > 3.0
    stopped = [found for found in drives("cross", 100) if found.speed_mps.min() < 0.1]
    for found in stopped:
        line = found.scenario.approach_m - STOP_LINE_M
        assert found.s[found.speed_mps.argmin()] + FRONT_M < line + 0.5
    assert all(found.scenario.num_crossing for found in stopped)


def test_accelerations_stay_within_what_the_driver_may_do() -> None:
    for index in range(60):
        found = drive(index)
        acceleration = np.diff(found.speed_mps) * RATE_HZ
        assert acceleration.max() <= 2.0 + 1e-9
        assert acceleration.min() >= -6.0 - 1e-9
        assert found.speed_mps.min() >= 0
        np.testing.assert_allclose(np.diff(found.s) * RATE_HZ, (found.speed_mps[1:] + found.speed_mps[:-1]) / 2)


def test_bends_are_taken_at_a_lateral_acceleration_that_passengers_accept() -> None:
    for found in drives("bend"):
        _, headings = found.path.at(found.s)
        lateral = found.speed_mps * np.gradient(headings) * RATE_HZ
        # 4.89 m/s2 is the comfort bound of NAVSIM.
        assert np.abs(lateral[2:-2]).max() < 4.0
        assert (
            abs(headings[-1]) == pytest.approx(found.scenario.bend_angle, abs=0.15) or found.s[-1] < found.path.length
        )


def test_the_driver_slows_down_before_a_tight_bend_begins() -> None:
    tight = [found for found in drives("bend", 100) if found.scenario.bend_radius_m < 18]
    assert tight
    for found in tight:
        bend = found.scenario.bend_radius_m * found.scenario.bend_angle
        entry = found.speed_mps[np.searchsorted(found.s, found.scenario.approach_m - bend / 2)]
        assert entry < found.speed_mps[0] - 0.1


def test_braking_on_command_changes_nothing_before_the_command() -> None:
    plan = scenario(0, 0, SECONDS)
    free, braked = simulate(plan), simulate(plan, ego_brakes_at_s=3.0)
    k = round(3.0 * RATE_HZ)
    np.testing.assert_array_equal(free.s[: k + 1], braked.s[: k + 1])
    assert braked.speed_mps[k + 2 * RATE_HZ] < free.speed_mps[k + 2 * RATE_HZ]
    assert braked.speed_mps[-1] == 0


def test_a_drive_is_a_function_of_seed_and_index() -> None:
    first, again, other = (simulate(scenario(seed, 3, 8.0)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.s, again.s)
    assert len(first.s) == len(other.s)
    assert not np.array_equal(first.s, other.s)
