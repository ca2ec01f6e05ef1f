"""Depth losses by hand, and what their gradient reaches."""

import math

import pytest
import torch
from torch.testing import assert_close

from opv2v_stage2.losses.depth_loss import MOST_BALANCE, l1_depth_loss, log_ray_depth_loss
from opv2v_stage2.losses.robust import barron, knee, masked_mean


def picture(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


def pictures(count=3, size=50, seed=0):
    rng = torch.Generator().manual_seed(seed)
    predicted, target, confidence = 1 + 30 * torch.rand(3, 1, count, 1, size, generator=rng)
    labelled = torch.rand(1, count, 1, size, generator=rng) < 0.4
    return predicted, torch.where(labelled, target, 0.0), confidence


def test_the_penalty_is_barrons_with_alpha_a_half():
    # ((0.1 / 0.05)^2 / 1.5 + 1)^(1/4) - 1, times 1.5 / 0.5
    assert_close(barron(torch.tensor([0.0, 0.1])), torch.tensor([0.0, 3 * ((4 / 1.5 + 1) ** 0.25 - 1)]))


def test_the_knee_has_slope_one_beyond_it():
    assert_close(knee(torch.tensor([-0.1, 0.2, 3.0]), 0.2), torch.tensor([0.025, 0.1, 2.9]))


def test_a_mean_over_nothing_is_zero_with_a_gradient_of_zero():
    values = torch.tensor([math.nan, 1.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([False, False]))
    mean.backward()
    assert mean == 0
    assert (values.grad == 0).all()


def test_the_log_loss_is_a_mean_per_picture_and_then_over_pictures():
    predicted = torch.tensor([[10.0, 20.0, 7.0], [5.0, 5.0, 5.0]]).view(1, 2, 1, 3)
    target = torch.tensor([[11.0, 10.0, 0.0], [5.5, 0.0, 0.0]]).view(1, 2, 1, 3)
    first = (barron(torch.tensor(1.1).log()) + barron(torch.tensor(2.0).log())) / 2
    by_hand = (first + barron(torch.tensor(1.1).log())) / 2
    loss = log_ray_depth_loss(predicted, target, target, range_balance=False, min_labels=1)
    assert_close(loss, by_hand)


def test_pictures_with_few_labels_are_left_out():
    predicted, target, confidence = pictures()
    target[:, 2, :, 3:] = 0
    both = log_ray_depth_loss(predicted[:, :2], target[:, :2], confidence[:, :2], range_balance=False)
    assert_close(log_ray_depth_loss(predicted, target, confidence, range_balance=False), both)


@pytest.mark.parametrize("loss", [log_ray_depth_loss, lambda depth, target, _: l1_depth_loss(depth, target)])
def test_without_a_label_loss_and_gradient_are_zero(loss):
    predicted, target, confidence = pictures()
    predicted.requires_grad_()
    value = loss(predicted, torch.zeros_like(target), confidence)
    value.backward()
    assert value == 0
    assert (predicted.grad == 0).all()


@pytest.mark.parametrize("confidence_weight", [0.0, 0.5])
@pytest.mark.parametrize("garbage", [0.0, -3.0, 1e20, math.inf, math.nan])
def test_whatever_stands_at_pixels_without_a_label_changes_neither_loss_nor_gradient(garbage, confidence_weight):
    predicted, target, confidence = pictures()
    losses, gradients = [], []
    for filler in (1.0, garbage):
        depth = torch.where(target > 0, predicted, filler).requires_grad_()
        sure = torch.where(target > 0, confidence, filler)
        loss = log_ray_depth_loss(depth, target, sure, confidence_weight=confidence_weight)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(depth.grad)
    assert torch.equal(*losses)
    assert torch.equal(*gradients)
    assert (gradients[0][target == 0] == 0).all()
    assert gradients[0].isfinite().all()


def test_confidence_weighs_the_penalty_and_has_a_price():
    penalty = barron(torch.tensor(2.0).log())
    for given, counted in ((3.0, 3.0), (500.0, 20.0), (0.0, 1.0)):
        loss = log_ray_depth_loss(
            picture(10.0), picture(20.0), picture(given), min_labels=1, range_balance=False, confidence_weight=0.2
        )
        assert_close(loss, counted * penalty - 0.2 * math.log(counted))


def test_far_labels_count_as_much_as_near_ones_once_ranges_are_balanced():
    # Three labels at 3 m, right; one at 30 m, wrong by a factor of 2. Two ranges: weights 4/2/3 and 4/2/1.
    predicted, target = picture(3.0, 3.0, 3.0, 60.0), picture(3.0, 3.0, 3.0, 30.0)
    penalty = barron(torch.tensor(2.0).log())
    plain, balanced = (
        log_ray_depth_loss(predicted, target, target, min_labels=1, range_balance=balance) for balance in (False, True)
    )
    assert_close(plain, penalty / 4)
    assert_close(balanced, penalty / 2)


def test_a_range_with_a_single_label_does_not_rule():
    target = torch.cat([torch.full((1, 1, 1, 999), 3.0), torch.full((1, 1, 1, 1), 30.0)], dim=-1)
    loss = log_ray_depth_loss(target * torch.where(target > 5, 2.0, 1.0), target, target)
    near = 1000 / 2 / 999
    assert_close(loss, MOST_BALANCE * barron(torch.tensor(2.0).log()) / (999 * near + MOST_BALANCE))


def test_the_request_s_loss_pools_metres_over_the_batch():
    predicted = torch.tensor([[10.0, 20.0], [5.0, 9.0]]).view(1, 2, 1, 2)
    target = torch.tensor([[11.0, 0.0], [2.0, 0.0]]).view(1, 2, 1, 2)
    assert_close(l1_depth_loss(predicted, target), torch.tensor((1 + 3) / 2))
    assert_close(l1_depth_loss(predicted, target, mask_aware=False), torch.tensor((1 + 20 + 3 + 9) / 4))


def test_zeros_that_count_pull_unlabelled_pixels_towards_the_camera():
    predicted, target, confidence = pictures()
    for loss in (
        l1_depth_loss(predicted.requires_grad_(), target, mask_aware=False),
        log_ray_depth_loss(predicted, target, confidence, mask_aware=False),
    ):
        (gradient,) = torch.autograd.grad(loss, predicted)
        assert (gradient[target == 0] > 0).all()
