"""Every loss by hand, and what its gradient reaches."""

import math

import pytest
import torch
from torch.testing import assert_close

from v2x_teacher.losses import (
    SCALE_FLOOR,
    Prediction,
    huber,
    l2,
    laplace_nll,
    laplace_scale,
    mse,
    smooth_l1,
    trajectory_loss,
    wta,
)

torch.set_num_threads(1)
KINDS = ("mse", "smooth_l1", "huber", "l2", "laplace_nll", "wta")

# One sample, two steps: off by (3, 4) and by (0.5, 0).
TARGET = torch.zeros(1, 2, 2)
MEAN = torch.tensor([[[3.0, -4.0], [0.5, 0.0]]])


def random_prediction(batch=4, steps=5, modes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return torch.randn(*shape, generator=rng).requires_grad_()

    target = torch.randn(batch, steps, 2, generator=rng)
    prediction = Prediction(
        leaf(batch, steps, 2), leaf(batch, steps, 2), leaf(batch, modes, steps, 2), leaf(batch, modes)
    )
    return prediction, target


def test_the_squared_error_is_a_mean_over_coordinates():
    assert_close(mse(MEAN, TARGET), torch.tensor((9 + 16 + 0.25) / 4))


def test_smooth_l1_is_square_below_beta_and_linear_above():
    assert_close(smooth_l1(MEAN, TARGET, 2.0), torch.tensor((2 + 3 + 0.25 / 4) / 4))


def test_huber_is_square_below_delta_and_linear_above():
    assert_close(huber(MEAN, TARGET, 2.0), torch.tensor((2 * 2 + 2 * 3 + 0.25 / 2) / 4))


def test_a_beta_per_step_and_axis_holds_for_its_own_coordinate():
    # In metres beta is 2 everywhere; the units are 1, 4 and 0.25 m.
    scale = torch.tensor([[1.0, 4.0], [0.25, 1.0]])
    scaled = smooth_l1(MEAN / scale, TARGET / scale, 2 / scale)
    # 3 m and 4 m are linear, 0.5 m is square, whatever the unit.
    by_hand = [3 - 1.0, (4 - 1.0) / 4, (0.5**2 / 4) / 0.25, 0.0]
    assert_close(scaled, torch.tensor(sum(by_hand) / 4))


def test_the_distance_is_a_mean_over_steps():
    assert_close(l2(MEAN, TARGET), torch.tensor((5 + 0.5) / 2), atol=1e-6, rtol=0)


def test_the_distance_has_a_finite_gradient_where_it_is_zero():
    mean = torch.zeros(1, 2, 2, requires_grad=True)
    l2(mean, TARGET).backward()
    assert (mean.grad == 0).all()


def test_the_laplace_loss_weighs_the_error_with_its_own_scale():
    raw = torch.tensor([[[0.0, 1.0], [-2.0, 0.0]]])
    scales = [[math.log(2) + 0.1, math.log(1 + math.e) + 0.1], [math.log(1 + math.exp(-2)) + 0.1, math.log(2) + 0.1]]
    errors = [[3.0, 4.0], [0.5, 0.0]]
    by_hand = sum(
        math.log(2 * b) + e / b for rows in zip(scales, errors, strict=True) for b, e in zip(*rows, strict=True)
    )
    assert_close(laplace_nll(MEAN, raw, TARGET, floor=0.1), torch.tensor(by_hand / 4))


def test_the_best_laplace_scale_is_the_mean_absolute_error():
    torch.manual_seed(0)
    target = 3 * torch.randn(400, 1, 2)
    best = target.abs().mean(0, keepdim=True)
    raw = (best - SCALE_FLOOR).expm1().log()
    assert_close(laplace_scale(raw), best)
    losses = [
        laplace_nll(torch.zeros_like(target), (raw + change).expand_as(target), target) for change in (-0.05, 0.0, 0.05)
    ]
    assert losses[1] < min(losses[0], losses[2])


def test_the_laplace_scale_never_falls_below_its_floor():
    assert laplace_scale(torch.tensor(-1e4)) > 0
    assert laplace_nll(MEAN, torch.full_like(MEAN, -1e4), TARGET).isfinite()


def test_the_winner_is_the_mode_with_the_least_summed_distance():
    # The first mode is right at the end, the second one on the whole.
    modes = torch.tensor([[[[9.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]]])
    losses = wta(modes, torch.tensor([[1.0, 0.0]]), TARGET)
    assert_close(losses["distance"], torch.tensor(2.5), atol=1e-4, rtol=0)
    assert_close(losses["cross_entropy"], torch.tensor(math.log(math.e + 1)))
    assert_close(losses["loss"], losses["distance"] + losses["cross_entropy"])


def test_only_the_winner_learns_its_shape_and_all_learn_their_probability():
    prediction, target = random_prediction()
    wta(prediction.modes, prediction.logits, target)["loss"].backward()
    winners = (prediction.modes - target[:, None]).norm(dim=-1).sum(-1).argmin(1)
    has_gradient = prediction.modes.grad.abs().sum((-1, -2)) > 0
    assert has_gradient.sum(1).tolist() == [1] * 4
    assert torch.equal(has_gradient.int().argmax(1), winners)
    assert (prediction.logits.grad != 0).all()


def test_a_single_mode_is_a_plain_distance():
    losses = trajectory_loss("wta", Prediction(MEAN), TARGET, beta=1.0)
    assert_close(losses["loss"], l2(MEAN, TARGET))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_reached_by_name_and_has_gradients(kind):
    prediction, target = random_prediction()
    losses = trajectory_loss(kind, prediction, target, beta=torch.full((5, 2), 0.5))
    losses["loss"].backward()
    learned = prediction.modes if kind == "wta" else prediction.mean
    assert learned.grad.isfinite().all()
    assert learned.grad.abs().sum() > 0
    assert (prediction.raw_scale.grad is not None) == (kind == "laplace_nll")


def test_beta_reaches_the_losses_that_have_one():
    prediction, target = random_prediction()
    with torch.no_grad():
        for kind, by_hand in (("smooth_l1", smooth_l1), ("huber", huber)):
            loss = trajectory_loss(kind, prediction, target, beta=0.3)["loss"]
            assert_close(loss, by_hand(prediction.mean, target, 0.3))
            assert loss != trajectory_loss(kind, prediction, target, beta=0.6)["loss"]


def test_a_prediction_without_a_scale_has_no_laplace_loss():
    with pytest.raises(ValueError, match="expected a scale per step and axis for laplace_nll, got none"):
        trajectory_loss("laplace_nll", Prediction(MEAN), TARGET, beta=1.0)


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match=r"loss: expected mse, .* got 'l1'"):
        trajectory_loss("l1", Prediction(MEAN), TARGET, beta=1.0)
