import pytest
import torch
from torch import nn
from torch.testing import assert_close

from latent_predictor.models import KINDS, LatentCnn, LatentMlp, LstmPredictor, PixelCnn, StateOracle, Vae
from latent_predictor.models.predictor import SMALLEST_STD, Predictor

LATENT, ACTION, BATCH = 6, 3, 4
SMALL_VAE = (4, 4, 8)


def predictor(*, spoilt_head=True, seed=0, **arguments):
    """In eval mode; its head says something, because a head that outputs 0 would hide nearly every mistake."""
    torch.manual_seed(seed)
    arguments = {"hidden_size": 8, "bottleneck": 5, "action_embedding": 4} | arguments
    network = LstmPredictor(LATENT, arguments.pop("action_size", ACTION), **arguments)
    if spoilt_head:
        for layer in (network.head, network.film):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.5)
                nn.init.normal_(layer.bias, std=0.5)
    network.normalise("latent", torch.randn(LATENT), torch.rand(LATENT) + 0.5)
    network.normalise("action", torch.randn(network.action_size), torch.rand(network.action_size) + 0.5)
    return network.eval()


class HalfAgain(Predictor):
    """Adds half of its input to the latent and remembers nothing."""

    def __init__(self):
        super().__init__(LATENT, ACTION, residual=True)

    def step(self, inputs, actions, memory):
        return inputs / 2, None


def window(forced=4, time=9, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, forced, LATENT, generator=rng), torch.randn(BATCH, time, ACTION, generator=rng)


VARIANTS = {
    "film": {},
    "concat of the raw action": {"conditioning": "concat", "action_embedding": 0, "bottleneck": 0},
    "none": {"conditioning": "none"},
    "absolute": {"residual": False},
}
variants = pytest.mark.parametrize("arguments", VARIANTS.values(), ids=VARIANTS)


@pytest.mark.parametrize(("latent_dim", "size"), [(64, 1024), (128, 2048), (256, 4096)])
def test_the_latent_has_sixteen_values_per_channel(latent_dim, size):
    vae = Vae(latent_dim, SMALL_VAE)
    mean, log_variance = vae.encode(torch.rand(2, 3, 64, 64))
    assert mean.shape == log_variance.shape == (2, size)
    assert vae.latent_size == size
    assert vae.decode(mean).shape == (2, 3, 64, 64)


def test_pictures_come_back_between_0_and_1():
    pictures = Vae(4, SMALL_VAE).decode(100 * torch.randn(2, 64, generator=torch.Generator().manual_seed(0)))
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_the_vae_trains_on_a_sample_and_shows_its_mean():
    vae, pictures = Vae(4, SMALL_VAE), torch.rand(2, 3, 64, 64)
    reconstructions, mean, log_variance = vae(pictures)
    assert not torch.equal(reconstructions, vae.decode(mean))
    with torch.no_grad():
        vae.encoder[-1].bias[4:] = -100  # log variance far below its clamp: the sample is nearly the mean
    reconstructions, mean, log_variance = vae(pictures)
    assert (log_variance == -10).all()
    assert_close(reconstructions, vae.decode(mean), atol=1e-2, rtol=0)


def test_every_kind_of_network_can_be_built_from_plain_arguments():
    arguments = {
        "vae": {"latent_dim": 4, "widths": [4, 4, 8]},
        "latent_mlp": {"latent_dim": 4},
        "latent_cnn": {"latent_dim": 4},
        "pixel_cnn": {},
        "oracle": {"action_size": 3, "num_tiles_ahead": 24},
        "lstm": {"latent_size": 64, "action_size": 3, "hidden_size": 8},
    }
    assert arguments.keys() == KINDS.keys()
    for kind, chosen in arguments.items():
        KINDS[kind](**chosen)


@pytest.mark.parametrize("judge", [LatentMlp(4), LatentCnn(4), PixelCnn()], ids=lambda judge: type(judge).__name__)
def test_judges_answer_the_same_twice_only_in_eval_mode(judge):
    shape = (2, 3, 64, 64) if isinstance(judge, PixelCnn) else (2, 64)
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert judge(inputs).shape == (2, 3)
    assert not torch.equal(judge.train()(inputs), judge(inputs))
    assert torch.equal(judge.eval()(inputs), judge(inputs))


def test_the_oracle_names_frames_from_the_actions_before_them():
    torch.manual_seed(0)
    oracle = StateOracle(action_size=3, num_tiles_ahead=24, hidden_size=8)
    states, actions, ahead = torch.randn(2, 4, 3), torch.randn(2, 9, 3), torch.randn(2, 24)
    logits = oracle(states, actions, ahead)
    assert logits.shape == (2, 6, 3)  # frames 4 .. 9
    later = actions.clone()
    later[:, 6] += 1  # leads from frame 6 to frame 7
    same = (oracle(states, later, ahead) == logits).all(2).all(0)
    assert same.tolist() == [True, True, True, False, False, False]


@variants
def test_the_fused_call_says_what_single_steps_say(arguments):
    network, (real, actions) = predictor(**arguments), window(time=4)
    fused, memory = network.forced(real, actions)
    stepwise, stepwise_memory = Predictor.forced(network, real, actions)
    assert_close(fused, stepwise)
    for ours, theirs in zip(memory, stepwise_memory, strict=True):
        assert_close(ours, theirs)


@variants
def test_the_open_loop_equals_a_loop_of_steps_written_by_hand(arguments):
    network, (real, actions) = predictor(**arguments), window()
    mean, std = network.latent_mean, network.latent_std
    x, a = (real - mean) / std, (actions - network.action_mean) / network.action_std
    expected, memory = [], None
    for t in range(actions.shape[1]):
        latent = x[:, t] if t < real.shape[1] else expected[-1]
        output, memory = network.step(latent, a[:, t], memory)
        expected.append(latent + output if network.residual else output)
    assert_close(network(real, actions), mean + std * torch.stack(expected, dim=1))


def test_training_starts_from_copying_the_last_latent():
    network, (real, actions) = predictor(spoilt_head=False), window()
    copied = torch.cat([real, real[:, -1:].expand(-1, 5, -1)], dim=1)
    assert_close(network(real, actions), copied)


def test_without_zero_init_head_it_does_not():
    network, (real, actions) = predictor(spoilt_head=False, zero_init_head=False), window()
    assert (network(real, actions)[:, :4] - real).abs().max() > 0.01


def test_an_absolute_predictor_with_a_silent_head_predicts_the_mean():
    network, (real, actions) = predictor(spoilt_head=False, residual=False), window()
    assert_close(network(real, actions), network.latent_mean.expand(BATCH, 9, LATENT))


def test_film_starts_as_the_identity():
    network, (real, actions) = predictor(), window(time=4)
    nn.init.zeros_(network.film.weight)
    nn.init.zeros_(network.film.bias)
    hidden, _ = network.lstm(torch.cat([network.read(real), network.embed(actions)], dim=-1))
    assert_close(network.forced(real, actions)[0], network.head(nn.functional.silu(hidden)))


def test_a_predictor_without_conditioning_ignores_actions_exactly():
    network, (real, actions) = predictor(conditioning="none"), window()
    assert torch.equal(network(real, actions), network(real, actions + 1000))


def test_data_without_actions_need_no_other_predictor():
    network, (real, actions) = predictor(action_size=0), window()
    assert network.conditioning == "none"
    assert network(real, actions[:, :, :0]).shape == (BATCH, 9, LATENT)


@pytest.mark.parametrize("conditioning", ["film", "concat"])
@pytest.mark.parametrize("t", [2, 6], ids=["forced", "open loop"])
def test_a_later_action_leaves_earlier_predictions_as_they_are(conditioning, t):
    network, (real, actions) = predictor(conditioning=conditioning), window()
    later = actions.clone()
    later[:, t] += 1
    same = (network(real, later) == network(real, actions)).all(2).all(0)
    assert same.tolist() == [True] * t + [False] * (9 - t)


def test_a_later_latent_leaves_earlier_predictions_as_they_are():
    network, (real, actions) = predictor(), window()
    later = real.clone()
    later[:, 2] += 1
    same = (network(later, actions) == network(real, actions)).all(2).all(0)
    assert same.tolist() == [True, True] + [False] * 7


def test_whitening_makes_the_units_of_the_latents_irrelevant():
    network, (real, actions) = predictor(), window()
    scale, shift = torch.tensor([1e-2, 0.1, 1, 10, 100, 1000]), torch.arange(6.0)
    other = predictor()
    other.latent_mean, other.latent_std = scale * network.latent_mean + shift, scale * network.latent_std
    found = (other(scale * real + shift, actions) - shift) / scale
    assert_close(found, network(real, actions), atol=1e-3, rtol=1e-3)


def test_dead_dimensions_and_constant_actions_are_not_blown_up():
    network = predictor()
    network.normalise("latent", torch.zeros(LATENT), torch.zeros(LATENT))
    network.normalise("action", torch.zeros(ACTION), torch.tensor([0.0, 0.009, 0.2]))
    assert_close(network.latent_std, torch.full((LATENT,), SMALLEST_STD))
    assert_close(network.action_std, torch.tensor([SMALLEST_STD, SMALLEST_STD, 0.2]))


def test_the_normalisers_are_part_of_the_checkpoint():
    network, again = predictor(), predictor(seed=5)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.latent_mean, network.latent_mean)
    assert torch.equal(again.action_std, network.action_std)


@pytest.mark.parametrize("arguments", [{"noise_std": 0.1}, {"sampling_probability": 0.5}], ids=["noise", "sampling"])
def test_noise_and_scheduled_sampling_are_functions_of_the_seed(arguments):
    network, (real, actions) = predictor(), window()

    def drawn(seed):
        torch.manual_seed(seed)
        return network(real, actions, **arguments)

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(drawn(3), network(real, actions))


def test_noise_reaches_real_and_fed_back_inputs():
    network, (real, actions) = HalfAgain(), window(forced=1, time=3)
    torch.manual_seed(0)
    predictions = network(real, actions, noise_std=0.1)
    torch.manual_seed(0)
    expected = [real[:, 0]]
    for _ in range(3):
        expected.append(1.5 * expected[-1] + 0.05 * torch.randn_like(expected[-1]))
    assert_close(predictions, torch.stack(expected[1:], dim=1))


def test_noise_is_measured_in_standard_deviations_of_the_latents():
    network, (real, actions) = predictor(), window(time=4)
    seen = []
    network.forced = lambda inputs, actions: (seen.append(inputs), (torch.zeros_like(inputs), None))[1]
    torch.manual_seed(0)
    network(real, actions, noise_std=0.1)
    torch.manual_seed(0)
    assert_close(seen[0], (real - network.latent_mean) / network.latent_std + 0.1 * torch.randn_like(real))


def test_always_sampling_reads_only_the_first_real_latent():
    network, (real, actions) = predictor(), window()
    sampled = network(real, actions, sampling_probability=1.0)
    assert_close(sampled, network(real[:, :1], actions))
    assert not torch.allclose(sampled, network(real, actions))


def test_hardly_ever_sampling_is_teacher_forcing():
    network, (real, actions) = predictor(), window()
    assert_close(network(real, actions, sampling_probability=1e-12), network(real, actions))


def test_gradients_flow_through_the_fed_back_predictions():
    network, (real, actions) = HalfAgain(), window()
    real.requires_grad_()
    (gradient,) = torch.autograd.grad(network(real, actions)[:, -1].sum(), real)
    # One step from the last real latent, five from predictions; this predictor remembers nothing else.
    assert_close(gradient[:, -1], torch.full((BATCH, LATENT), 1.5**6))
    assert (gradient[:, :-1] == 0).all()


@variants
def test_every_parameter_learns_from_the_open_loop(arguments):
    network, (real, actions) = predictor(**arguments), window(forced=1)
    network(real, actions)[:, 1:].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
