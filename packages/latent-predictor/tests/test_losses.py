import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from drivelab_shared.modules import freeze
from latent_predictor.losses import lane_cross_entropy, predictor_loss, vae_loss

ONES = torch.ones(2)


def lane_of(latents):
    """A classifier whose logits are three sums of the latent, so that cross entropies can be worked out by hand."""
    return latents @ torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])


def loss_of(predictions, targets, labels, **changes):
    arguments = {"scale": ONES, "classifier": lane_of, "lambda_cls": 0.5} | changes
    return predictor_loss(predictions, targets, labels, **arguments)


class Noisy(nn.Module):
    """A classifier with everything that behaves differently in training."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, latents):
        return self.layers(latents)


def batch(seed=0):
    rng = torch.Generator().manual_seed(seed)
    predictions, targets = (torch.randn(3, 4, 2, generator=rng) for _ in range(2))
    return predictions.requires_grad_(), targets, torch.randint(0, 3, (3, 4), generator=rng)


def test_the_vae_loss_sums_over_the_picture_and_the_latent_and_averages_over_the_batch():
    pictures = torch.zeros(2, 3, 64, 64)
    reconstructions = torch.stack([torch.full((3, 64, 64), 0.5), torch.zeros(3, 64, 64)])
    mean = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    log_variance = torch.tensor([[0.0, math.log(2)], [0.0, 0.0]])
    losses = vae_loss(pictures, reconstructions, mean, log_variance, kl_weight=0.1)
    # First picture: 12,288 values off by 0.5; KL of N(1, 1) is 1/2, of N(2, 2) (4 + 2 - 1 - ln 2) / 2. Second: 0.
    squared_error, kl = 12_288 * 0.25 / 2, (0.5 + (5 - math.log(2)) / 2) / 2
    assert_close(losses["squared_error"], torch.tensor(squared_error))
    assert_close(losses["kl"], torch.tensor(kl))
    assert_close(losses["loss"], torch.tensor(squared_error + 0.1 * kl))


def test_a_posterior_like_the_prior_costs_nothing():
    zeros, pictures = torch.zeros(2, 4), torch.rand(2, 3, 64, 64)
    assert vae_loss(pictures, pictures, zeros, zeros, kl_weight=1.0)["loss"] == 0


def test_the_cross_entropy_of_equal_logits_is_the_logarithm_of_three():
    assert_close(
        lane_cross_entropy(torch.zeros(2, 5, 3), torch.ones(2, 5, dtype=torch.int8)), torch.tensor(math.log(3))
    )


def test_unknown_labels_count_in_no_mean():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, -1, 2])
    by_hand = (math.log(math.exp(2) + 2) - 2 + math.log(math.e + 2)) / 2
    assert_close(lane_cross_entropy(logits, labels), torch.tensor(by_hand))


def test_unknown_labels_receive_no_gradient():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    lane_cross_entropy(logits, torch.tensor([0, -1, 1, -1])).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_without_any_known_label_the_cross_entropy_and_its_gradient_are_zero():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = lane_cross_entropy(logits, torch.full((4,), -1))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_the_predictor_loss_is_the_scaled_mse_plus_lambda_times_the_cross_entropy():
    predictions = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    targets = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    labels = torch.tensor([[0, -1]])
    losses = loss_of(predictions, targets, labels, scale=torch.tensor([1.0, 2.0]))
    mse = (1 + 9 + (4 / 2) ** 2) / 4
    ce = math.log(math.e + 1 + 1 / math.e) - 1  # logits 1, 0, -1 of the only known label
    assert_close(losses["mse"], torch.tensor(mse))
    assert_close(losses["ce"], torch.tensor(ce))
    assert_close(losses["loss"], torch.tensor(mse + 0.5 * ce))


def test_without_lambda_the_cross_entropy_is_measured_and_has_exactly_no_gradient():
    predictions, targets, labels = batch()
    losses = loss_of(predictions, targets, labels, lambda_cls=0.0)
    losses["loss"].backward()
    assert losses["ce"] > 0
    assert not losses["ce"].requires_grad
    assert torch.equal(losses["loss"], losses["mse"])
    assert_close(predictions.grad, 2 * (predictions - targets).detach() / predictions.numel())


def test_the_gradient_of_a_frozen_classifier_reaches_the_predictions_and_not_its_weights():
    torch.manual_seed(0)
    predictions, targets, labels = batch()
    classifier = freeze(Noisy())
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    losses = loss_of(predictions, targets, labels, classifier=classifier)
    (gradient,) = torch.autograd.grad(losses["ce"], predictions, retain_graph=True)
    losses["loss"].backward()
    assert (gradient.abs().sum(-1) > 0).all()
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_a_frozen_classifier_stays_in_eval_mode_when_its_parent_trains():
    torch.manual_seed(0)
    predictions, targets, labels = batch()
    parent = nn.ModuleDict({"classifier": freeze(Noisy()), "own": nn.Dropout()})
    before = loss_of(predictions, targets, labels, classifier=parent["classifier"])["ce"]
    parent.train()
    assert parent["own"].training
    assert not any(module.training for module in parent["classifier"].modules())
    again = [loss_of(predictions, targets, labels, classifier=parent["classifier"])["ce"] for _ in range(2)]
    assert again == [before, before]
    assert parent["classifier"].layers[1].num_batches_tracked == 0


@pytest.mark.parametrize("lambda_cls", [0.0, 0.5])
def test_the_losses_can_be_measured_without_gradients(lambda_cls):
    predictions, targets, labels = batch()
    with torch.no_grad():
        assert not any(
            loss.requires_grad for loss in loss_of(predictions, targets, labels, lambda_cls=lambda_cls).values()
        )


def test_the_noise_reaches_the_classifier_and_not_the_squared_error():
    predictions, targets, labels = batch()
    noise_std = torch.tensor([0.5, 2.0])
    torch.manual_seed(0)
    noisy = loss_of(predictions, targets, labels, noise_std=noise_std)
    torch.manual_seed(0)
    shaken = predictions + noise_std * torch.randn_like(predictions)
    assert_close(noisy["ce"], lane_cross_entropy(lane_of(shaken), labels))
    assert torch.equal(noisy["mse"], loss_of(predictions, targets, labels)["mse"])
