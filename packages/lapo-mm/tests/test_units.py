"""Units: the way there and back, boxes, and rewards whose sign must survive."""

import math

import pytest
import torch

from lapo_mm.models.units import Units

torch.set_num_threads(1)


def fitted(**rewards):
    units = Units(2)
    units.fit_actions(
        torch.tensor([0.5, -1.0]), torch.tensor([0.5, 2.0]), torch.tensor([-1.0, -3.0]), torch.tensor([1.0, 3.0])
    )
    units.fit_rewards(**({"low": -2.0, "high": 0.0, "scale": "range", "gamma": 0.9, "has_terminals": False} | rewards))
    return units


def test_raw_undoes_standardise():
    actions = torch.tensor([[0.3, -2.0], [-1.0, 3.0]])
    torch.testing.assert_close(fitted().raw(fitted().standardise(actions)), actions)


def test_raw_actions_stay_in_the_box():
    assert fitted().raw(torch.tensor([[100.0, -100.0]])).tolist() == [[1.0, -3.0]]


@pytest.mark.parametrize(
    ("low", "high", "scale", "unit"),
    [(-3.0, -1.0, "range", 2.0), (-3.0, -1.0, "max_abs", 3.0), (-1.0, 0.0, "range", 1.0), (-5.0, 2.0, "none", 1.0)],
)
def test_no_scale_turns_rewards_around(low, high, scale, unit):
    units = fitted(low=low, high=high, scale=scale)
    assert float(units.reward_unit) == unit
    assert unit > 0


@pytest.mark.parametrize("scale", ["range", "max_abs"])
def test_rewards_that_are_all_the_same_keep_a_finite_unit(scale):
    assert float(fitted(low=0.0, high=0.0, scale=scale).reward_unit) == 1.0


def test_values_are_limited_by_what_an_endless_task_can_add_up_to():
    units = fitted(low=-3.0, high=-1.0, scale="range")
    assert float(units.value_low) == pytest.approx(-1.5 * 10)
    assert float(units.value_high) == pytest.approx(-0.5 * 10)


def test_where_the_task_can_end_a_single_reward_is_a_value_too():
    units = fitted(low=-3.0, high=-1.0, scale="range", has_terminals=True)
    assert float(units.value_high) == pytest.approx(-0.5)


def test_units_that_were_never_set_change_nothing():
    units, actions = Units(1), torch.tensor([[1e6]])
    assert torch.equal(units.raw(units.standardise(actions)), actions)
    assert not units.has_box
    assert math.isinf(float(units.value_high))
    assert fitted().has_box
