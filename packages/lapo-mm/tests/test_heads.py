"""Heads: bounds that hold, a VAE that uses its latent, and a network that lets gradients through without taking any."""

import pytest
import torch

from lapo_mm.models.heads import ActionVae, Bounds, Critic, LatentPolicy, TwinQ, constant

torch.set_num_threads(1)


def test_actions_fill_the_box_and_never_leave_it():
    bounds = Bounds(2, is_bounded=True)
    bounds.fit(torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 6.0]))
    squeezed = bounds(torch.tensor([[-50.0, -50.0], [0.0, 0.0], [50.0, 50.0]]))
    assert squeezed.tolist() == [[-1.0, 2.0], [0.0, 4.0], [1.0, 6.0]]


def test_without_bounds_actions_stay_as_they_are():
    assert Bounds(1, is_bounded=False)(torch.tensor([[7.0]])).item() == 7.0


def test_latents_stay_within_the_largest_one():
    torch.manual_seed(0)
    policy = LatentPolicy(3, 4, (8,), max_latent=2.0)
    latents = policy(100 * torch.randn(50, 3))
    assert latents.abs().max() <= 2.0
    assert latents.abs().max() > 1.0


def test_the_twins_are_two_networks():
    torch.manual_seed(0)
    q1, q2 = TwinQ(3, 2, (8,))(torch.randn(5, 3), torch.randn(5, 2))
    assert q1.shape == q2.shape == (5,)
    assert not torch.allclose(q1, q2)


def test_the_critic_answers_like_its_parts():
    torch.manual_seed(0)
    critic, features, actions = Critic(3, 2, (8,)), torch.randn(5, 3), torch.randn(5, 2)
    q1, q2, v = critic(features, actions)
    assert torch.equal(torch.stack([q1, q2]), torch.stack(critic.q(features, actions)))
    assert torch.equal(v, critic.v(features))


def test_the_vae_draws_its_latent_anew_and_the_decoder_uses_it():
    torch.manual_seed(0)
    vae = ActionVae(3, 4, 2, (16,), is_bounded=True)
    features, actions = torch.randn(6, 3), torch.randn(6, 2)
    first, mean, log_variance = vae(features, actions)
    second, same_mean, _ = vae(features, actions)
    assert torch.equal(mean, same_mean)
    assert mean.shape == log_variance.shape == (6, 4)
    assert not torch.equal(first, second)


def test_an_absurd_variance_stays_finite():
    vae = ActionVae(1, 1, 1, (4,), is_bounded=True)
    torch.nn.init.constant_(vae.encoder[-1].bias, 1e6)
    assert all(torch.isfinite(part).all() for part in vae(torch.zeros(2, 1), torch.zeros(2, 1)))


def test_gradients_pass_through_a_constant_network_and_none_stay_in_it():
    torch.manual_seed(0)
    q, features = TwinQ(3, 2, (8,)), torch.randn(5, 3)
    actions = torch.randn(5, 2, requires_grad=True)
    constant(q, features, actions)[0].sum().backward()
    through = actions.grad.clone()
    assert all(parameter.grad is None for parameter in q.parameters())
    actions.grad = None
    q(features, actions)[0].sum().backward()
    torch.testing.assert_close(through, actions.grad)


@pytest.mark.parametrize("hidden", [(8,), (8, 8), (4, 5, 6)])
def test_any_number_of_hidden_layers(hidden):
    assert sum(isinstance(layer, torch.nn.Linear) for layer in TwinQ(3, 2, hidden).q1) == len(hidden) + 1
