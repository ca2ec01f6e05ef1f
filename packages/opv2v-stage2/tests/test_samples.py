"""Who belongs together in a sample."""

import numpy as np
import pytest

from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.samples import Sample, coop_samples, curriculum, sample_of, single_samples
from opv2v_stage2.data.store import Store

HERE, LATER = FrameKey("street", "000069"), FrameKey("street", "000071")


def store_of(*rows: tuple[FrameKey, str, float, float]) -> Store:
    """(moment, agent, x, y) each."""
    world_from_lidar = np.tile(np.eye(4), (len(rows), 1, 1))
    world_from_lidar[:, :2, 3] = [row[2:] for row in rows]
    keys, agents = [row[0] for row in rows], [row[1] for row in rows]
    return Store("train", tuple(keys), tuple(agents), {"world_from_lidar": world_from_lidar}, "made up")


STORE = store_of(
    (HERE, "7", 0, 0), (HERE, "12", 50, 0), (HERE, "101", 30, 40), (HERE, "-1", 0, 3), (LATER, "7", 1, 0),
    (LATER, "12", 49, 0),
)  # fmt: skip


def test_every_vehicle_alone_is_a_sample():
    found = single_samples(STORE)
    assert [sample.rows for sample in found] == [(0,), (1,), (2,), (4,), (5,)]
    assert {sample.distance_m for sample in found} == {0.0}


def test_a_vehicle_cooperates_with_its_nearest_one_of_the_same_moment():
    found = {sample.rows: sample.distance_m for sample in coop_samples(STORE, 2)}
    # Nobody's nearest is who was written first: 7 has 12 and 101 at 50 m both, these two are 44.7 m apart.
    apart = np.hypot(20, 40)
    assert found == pytest.approx({(0, 1): 50, (1, 2): apart, (2, 1): apart, (4, 5): 48, (5, 4): 48})


def test_roadside_units_are_in_no_sample():
    rows = {row for sample in single_samples(STORE) + coop_samples(STORE, 2) for row in sample.rows}
    assert 3 not in rows


def test_moments_with_too_few_vehicles_are_left_out():
    assert {sample.key for sample in coop_samples(STORE, 3)} == {HERE}
    assert coop_samples(STORE, 4) == []


def test_distance_is_that_of_the_farthest():
    store = store_of((HERE, "7", 0, 0), (HERE, "12", 10, 0), (HERE, "101", 0, 25))
    assert coop_samples(store, 3)[0] == Sample(HERE, (0, 1, 2), 25.0)


def test_named_agents_come_in_the_order_they_are_named():
    assert sample_of(STORE, HERE, ("101", "7")) == Sample(HERE, (2, 0), 50.0)
    with pytest.raises(KeyError):
        sample_of(STORE, LATER, ("7", "101"))


def at(*distances: float) -> list[Sample]:
    return [Sample(HERE, (number,), distance) for number, distance in enumerate(distances)]


def test_the_curriculum_goes_from_near_to_all_by_half_of_the_steps():
    samples = at(5, 10, 20, 28, 50, 55, 90, 120)
    phases = curriculum(samples, 60)
    assert [(start, len(pool)) for start, pool in phases] == [(0, 2), (10, 4), (20, 6), (30, 8)]


def test_a_phase_with_too_few_samples_is_skipped_and_something_is_there_from_the_first_step():
    assert [(start, len(pool)) for start, pool in curriculum(at(5, 40, 50, 70, 80, 90, 95, 99), 60)] == [
        (0, 3),
        (30, 8),
    ]
    assert [(start, len(pool)) for start, pool in curriculum(at(70, 80, 90, 99), 60)] == [(0, 4)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_phase_is_ever_empty(count):
    phases = curriculum(at(*[90.0] * count), 60)
    assert phases[0][0] == 0
    assert all(pool for _, pool in phases)


def test_of_phases_that_start_together_the_last_counts():
    phases = curriculum(at(5, 20, 50, 90), 2)
    starts = [start for start, _ in phases]
    assert starts == sorted(set(starts))
    assert len(phases[-1][1]) == 4
