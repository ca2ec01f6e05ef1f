"""Losses by hand: small numbers that can be worked out on paper."""

import math

import pytest
import torch

from lapo_mm import losses

torch.set_num_threads(1)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_mix_of_two_values_goes_from_the_smaller_to_the_larger():
    q1, q2 = tensor(1.0, 5.0), tensor(3.0, 4.0)
    assert losses.mixed(q1, q2, 1.0).tolist() == [1.0, 4.0]
    assert losses.mixed(q1, q2, 0.0).tolist() == [3.0, 5.0]
    assert losses.mixed(q1, q2, 0.75).tolist() == [1.5, 4.25]


def test_nothing_follows_a_terminal_step_and_something_follows_a_truncated_one():
    target = losses.td_target(tensor(1.0, 1.0), tensor(1.0, 0.0), tensor(10.0, 10.0), gamma=0.9)
    assert target.tolist() == [1.0, 10.0]


def test_the_twin_loss_adds_both_mean_squared_errors():
    assert losses.twin_loss(tensor(1.0, 2.0), tensor(0.0, 0.0), tensor(1.0, 4.0)).item() == 4 / 2 + 17 / 2


def test_the_step_weight_is_nine_to_one_and_an_advantage_of_zero_counts_as_none():
    weights = losses.advantage_weights(tensor(0.2, 0.0, -3.0), "expectile", 0.9, 1.0)
    assert weights.tolist() == pytest.approx([0.9, 0.1, 0.1])


def test_the_exponential_weight_is_in_units_of_the_temperature_and_ends_at_100():
    weights = losses.advantage_weights(tensor(0.1, -0.2, 50.0), "exp", 0.9, 0.1)
    assert weights.tolist() == pytest.approx([math.e, math.exp(-2), 100.0])


def test_the_kl_of_the_prior_is_zero_and_that_of_a_shifted_narrow_gaussian_is_as_on_paper():
    mean, log_variance = tensor([0.0, 0.0], [1.0, 0.0]), tensor([0.0, 0.0], [0.0, math.log(0.25)])
    narrow = 0.5 * (0.25 - 1 - math.log(0.25))
    assert losses.kl_to_prior(mean, log_variance).tolist() == pytest.approx([0.0, 0.5 + narrow])


def test_the_kl_agrees_with_torch_distributions():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(losses.kl_to_prior(mean, log_variance), expected)


def test_the_vae_terms_sum_over_the_action_and_weigh_each_sample():
    error, kl = losses.vae_terms(
        tensor([1.0, 2.0], [0.0, 0.0]),
        tensor([0.0, 0.0], [0.0, 3.0]),
        tensor([2.0], [0.0]),
        tensor([0.0], [0.0]),
        tensor(0.9, 0.1),
    )
    assert error.item() == pytest.approx((0.9 * 5 + 0.1 * 9) / 2)
    assert kl.item() == pytest.approx((0.9 * 2 + 0.1 * 0) / 2)


def test_the_expectile_loss_weighs_underestimates_more():
    assert losses.expectile_loss(tensor(2.0, -2.0), 0.7).item() == pytest.approx((0.7 * 4 + 0.3 * 4) / 2)


def test_an_expectile_of_a_half_is_half_the_mean_squared_error():
    torch.manual_seed(1)
    errors = torch.randn(50, dtype=torch.float64)
    assert losses.expectile_loss(errors, 0.5).item() == pytest.approx(errors.square().mean().item() / 2)


def test_cloning_is_weighted_per_sample():
    actions, data = tensor([1.0, 1.0], [0.0, 0.0]), tensor([0.0, 0.0], [2.0, 0.0])
    assert losses.cloning_loss(actions, data).item() == 3.0
    assert losses.cloning_loss(actions, data, tensor(2.0, 0.5)).item() == 3.0


def test_td3bc_does_not_depend_on_the_unit_of_the_value():
    actions, data = tensor([1.0], [0.0]), tensor([0.0], [0.0])
    small = losses.td3bc_loss(tensor(1.0, 3.0), actions, data, 2.5)
    large = losses.td3bc_loss(tensor(100.0, 300.0), actions, data, 2.5)
    assert small.item() == large.item() == -2.5 + 0.5


def test_td3bc_does_not_move_the_unit_that_it_divides_by():
    q = tensor(1.0, 3.0).requires_grad_()
    losses.td3bc_loss(q, tensor([0.0], [0.0]), tensor([0.0], [0.0]), 2.5).backward()
    assert q.grad.tolist() == pytest.approx([-2.5 * 0.5 / 2.0] * 2)
