"""LAPO's training step against the same step written out plainly, and what its networks may share."""

import copy
from dataclasses import replace

import pytest
import torch

from lapo_mm.algorithms import ALGORITHMS, build
from lapo_mm.algorithms.lapo import NOISE_LIMIT, NOISE_STD
from lapo_mm.config import EncoderSettings, TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.models.shapes import Shapes

torch.set_num_threads(1)

SHAPES = Shapes(image=(3, 16, 16), state=5, action=2)
SETTINGS = TrainSettings(
    encoder=EncoderSettings(channels=(4, 8), image_features=8, state_features=4), hidden_sizes=(16, 16), tau=0.1
)
WIRINGS = ("critic", "vae", "both", "separate", "none")


def batch(size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def observation():
        image = torch.randint(0, 256, (size, 3, 16, 16), generator=generator, dtype=torch.uint8)
        return {"image": image, "state": torch.randn(size, 5, generator=generator)}

    return Batch(
        observation=observation(),
        next_observation=observation(),
        actions=torch.rand(size, 2, generator=generator) * 2 - 1,
        rewards=-torch.rand(size, generator=generator),
        terminals=(torch.rand(size, generator=generator) < 0.2).float(),
    )


def algorithm(**changes):
    torch.manual_seed(0)
    built = build(SHAPES, replace(SETTINGS, **changes))
    low, high = torch.full((2,), -1.0), torch.full((2,), 1.0)
    built.units.fit_actions(torch.zeros(2), torch.ones(2), low, high)
    built.units.fit_rewards(-1.0, 0.0, "range", built.settings.gamma, has_terminals=True)
    built.start_training()
    return built.train()


def plain_backward(name, loss):
    loss.backward()


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before, after):
    return any(not torch.equal(before[name], tensor) for name, tensor in after.items())


# --- the losses, written out once more


def test_the_losses_are_those_of_the_paper_written_out_plainly():
    ours, data = algorithm(), batch()
    plain = copy.deepcopy(ours)
    torch.manual_seed(5)
    found = ours.update(data, plain_backward)

    # A second reading of section 4 of the paper and of the released code, without sharing anything.
    torch.manual_seed(5)
    settings = plain.settings
    h, h_next = plain.obs_encoder(data.observation), plain.obs_encoder(data.next_observation)
    latents = plain.target_actor(h)
    latents = latents + (NOISE_STD * torch.randn_like(latents)).clamp(-NOISE_LIMIT, NOISE_LIMIT)
    q1, q2 = plain.target_q(h, plain.target_decoder(h, latents))
    v_target = torch.min(q1, q2).clamp(plain.units.value_low, plain.units.value_high).detach()
    q_target = (data.rewards + settings.gamma * (1 - data.terminals) * plain.critic.v(h_next)).detach()
    q1, q2 = plain.critic.q(h, data.actions)
    critic = ((q1 - q_target) ** 2).mean() + ((q2 - q_target) ** 2).mean()
    critic = critic + ((plain.critic.v(h) - v_target) ** 2).mean()
    plain.critic_optimizer.zero_grad()
    critic.backward()
    plain.critic_optimizer.step()

    h, h_next = h.detach(), h_next.detach()
    q1, q2 = plain.target_q(h_next, plain.target_decoder(h_next, plain.target_actor(h_next)))
    advantage = data.rewards + settings.gamma * (1 - data.terminals) * torch.min(q1, q2) - plain.critic.v(h)
    weight = torch.where(advantage > 0, 0.9, 0.1).detach()
    reconstruction, mean, log_variance = plain.actor_vae(h, data.actions)
    error = ((reconstruction - data.actions) ** 2).sum(1)
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    vae = (weight * (error + settings.kl_beta * kl)).mean()
    plain.actorvae_optimizer.zero_grad()
    vae.backward()
    plain.actorvae_optimizer.step()

    actor = -plain.critic.q(h, plain.target_decoder(h, plain.actor(h)))[0].mean()
    plain.actor_optimizer.zero_grad()
    actor.backward()
    plain.actor_optimizer.step()

    for name, expected in {"critic": critic, "vae": vae, "actor": actor}.items():
        torch.testing.assert_close(found[name], expected.detach())
    for name in ("obs_encoder", "critic", "actor_vae", "actor"):
        for own, other in zip(getattr(ours, name).parameters(), getattr(plain, name).parameters(), strict=True):
            torch.testing.assert_close(own, other)


# --- who moves


@pytest.mark.parametrize("wiring", WIRINGS)
def test_the_encoder_moves_unless_nobody_trains_it(wiring):
    ours = algorithm(wiring=wiring)
    before = weights(ours.obs_encoder)
    ours.update(batch(), plain_backward)
    assert moved(before, weights(ours.obs_encoder)) is (wiring != "none")


def test_with_the_vae_wiring_the_critic_moves_nothing_of_the_encoder():
    ours = algorithm(wiring="vae")
    before, gradients = weights(ours.obs_encoder), {}

    def backward(name, loss):
        loss.backward()
        gradients[name] = [p.grad.abs().sum().item() for p in ours.obs_encoder.parameters() if p.grad is not None]
        if name == "critic":
            ours.critic_optimizer.step()
            assert not moved(before, weights(ours.obs_encoder))

    ours.update(batch(), backward)
    assert sum(gradients["critic"]) > 0  # it arrives, and actorvae_optimizer deletes it
    assert moved(before, weights(ours.obs_encoder))


def test_with_separate_encoders_each_is_moved_by_its_own_loss():
    ours = algorithm(wiring="separate")
    reached = {}

    def backward(name, loss):
        encoders = {"obs": ours.obs_encoder, "vae": ours.vae_encoder}
        for encoder, module in encoders.items():
            found = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True, allow_unused=True)
            reached[name, encoder] = any(one is not None for one in found)
        loss.backward()

    ours.update(batch(), backward)
    assert {pair for pair, is_reached in reached.items() if is_reached} == {("critic", "obs"), ("vae", "vae")}


def test_both_sums_the_gradients_of_critic_and_vae_in_one_step():
    ours = algorithm(wiring="both")
    parameters = list(ours.obs_encoder.parameters())
    total = [torch.zeros_like(p) for p in parameters]

    def backward(name, loss):
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for sum_, one in zip(total, found, strict=True):
            sum_ += 0 if one is None else one
        loss.backward()

    ours.update(batch(), backward)
    for parameter, expected in zip(parameters, total, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


# --- targets


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_targets_share_no_storage_with_what_they_follow_and_take_no_gradient(name):
    ours = algorithm(algorithm=name)
    online = {p.data_ptr() for module in ours.trained().values() for p in module.parameters()}
    for target in ours.targets:
        for parameter in getattr(ours, target).parameters():
            assert parameter.data_ptr() not in online
            assert not parameter.requires_grad


@pytest.mark.parametrize("name", ["lapo", "iql", "td3bc"])
def test_targets_follow_by_tau(name):
    ours = algorithm(algorithm=name)
    before = {target: weights(getattr(ours, target)) for target in ours.targets}
    ours.update(batch(), plain_backward)
    for target, path in ours.targets.items():
        online = weights(ours.resolve(path))
        for key, value in weights(getattr(ours, target)).items():
            torch.testing.assert_close(value, before[target][key].lerp(online[key], 0.1), atol=1e-7, rtol=0)


# --- acting


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize("bounded", [True, False])
def test_actions_stay_in_the_box_whatever_the_decoder_says(name, bounded):
    ours = algorithm(algorithm=name, bounded_decoder=bounded).eval()
    for module in ours.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data *= 20
    with torch.no_grad():
        actions = ours(batch().observation)
    assert actions.shape == (32, 2)
    assert actions.abs().max() <= 1.0


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_acting_draws_nothing_at_random(name):
    ours, data = algorithm(algorithm=name, encoder=EncoderSettings(channels=(4,), shift_px=2)).eval(), batch()
    with torch.no_grad():
        assert torch.equal(ours(data.observation), ours(data.observation))


@pytest.mark.parametrize("name", ["lapo", "iql", "td3bc"])
def test_values_are_the_smaller_twin_in_the_rewards_of_the_environment(name):
    ours, data = algorithm(algorithm=name), batch()
    ours.units.reward_unit.fill_(4.0)
    with torch.no_grad():
        twins = ours.twin_values(data.observation, data.actions)
        torch.testing.assert_close(ours.q_values(data.observation, data.actions), 4.0 * torch.minimum(*twins))


def test_cloning_has_no_values():
    ours, data = algorithm(algorithm="bc"), batch()
    assert ours.q_values(data.observation, data.actions) is None


# --- learning


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_learns_a_batch(name):
    # With an expectile of a half no sample gains weight while the advantage moves.
    rates = {"critic_lr": 3e-3, "actor_lr": 3e-3, "vae_lr": 3e-3}
    ours, data = algorithm(algorithm=name, expectile=0.5, **rates), batch()
    logged = [ours.update(data, plain_backward) for _ in range(40)]
    key = {"bc": "actor", "lapo": "vae"}.get(name, "critic")
    first, last = (sum(float(line[key]) for line in part) / 5 for part in (logged[:5], logged[-5:]))
    assert last < first


def test_the_augmentation_moves_pictures_in_training_and_not_in_evaluation():
    ours, data = algorithm(encoder=EncoderSettings(channels=(4,), shift_px=2)), batch()
    assert not torch.equal(ours.scaled(data)[0]["image"], data.observation["image"])
    assert torch.equal(ours.eval().scaled(data)[0]["image"], data.observation["image"])
