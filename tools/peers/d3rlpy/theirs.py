"""The gradient steps of d3rlpy with the networks of lapo-mm. `compare` starts it in an environment of its own."""

from collections.abc import Callable
from pathlib import Path

import d3rlpy
import numpy as np
import torch
from d3rlpy.algos import IQLConfig, PLASConfig, QLearningAlgoBase, TD3PlusBCConfig
from d3rlpy.dataset import Episode, ReplayBuffer, create_infinite_replay_buffer
from d3rlpy.models import EncoderFactory
from d3rlpy.models.torch import Encoder, EncoderWithAction
from d3rlpy.preprocessing import PixelObservationScaler, StandardObservationScaler, TupleObservationScaler
from stopwatch import BATCH_SIZE, Side, main, num_moved, num_parameters
from torch import Tensor, nn

WARMUP_FOREVER = 10**9


class Features(nn.Module):
    """Image and state as one vector: what `ObsEncoder` is in lapo-mm. Both come scaled."""

    def __init__(self, image: tuple[int, ...], state: tuple[int, ...]) -> None:
        super().__init__()
        layers, incoming, pixels = [], image[0], image[1]
        for outgoing in (16, 32, 32):
            layers += [nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1), nn.ReLU()]
            incoming, pixels = outgoing, (pixels + 1) // 2
        flat = [nn.Flatten(), nn.Linear(incoming * pixels**2, 64), nn.LayerNorm(64), nn.Tanh()]
        self.image = nn.Sequential(*layers, *flat)
        self.state = nn.Sequential(nn.Linear(state[0], 32), nn.LayerNorm(32), nn.Tanh())
        self.size = 64 + 32 + state[0]

    def forward(self, observation: list[Tensor]) -> Tensor:
        image, state = observation
        return torch.cat([self.image(image), self.state(state), state], dim=1)


def hidden_layers(inputs: int) -> nn.Sequential:
    """All of a head but its last layer, which d3rlpy adds."""
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())


class ObservationEncoder(Encoder):
    def __init__(self, shape: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.features = Features(*shape)
        self.layers = hidden_layers(self.features.size)

    def forward(self, x: list[Tensor]) -> Tensor:
        return self.layers(self.features(x))


class ObservationActionEncoder(EncoderWithAction):
    def __init__(self, shape: tuple[tuple[int, ...], ...], action_size: int) -> None:
        super().__init__()
        self.features = Features(*shape)
        self.layers = hidden_layers(self.features.size + action_size)

    def forward(self, x: list[Tensor], action: Tensor) -> Tensor:
        return self.layers(torch.cat([self.features(x), action], dim=1))


class Factory(EncoderFactory):
    """What d3rlpy asks for an encoder, once for every network."""

    def create(self, observation_shape: tuple[tuple[int, ...], ...]) -> Encoder:
        return ObservationEncoder(observation_shape)

    def create_with_action(
        self, observation_shape: tuple[tuple[int, ...], ...], action_size: int, discrete_action: bool = False
    ) -> EncoderWithAction:
        return ObservationActionEncoder(observation_shape, action_size)

    @staticmethod
    def get_type() -> str:
        return "image-and-state"


def prepare(path: Path) -> Side:
    d3rlpy.seed(0)
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    buffer = replay_buffer(data)
    shape, action_size = (data["image"].shape[1:], data["state"].shape[1:]), data["actions"].shape[1]
    by_name = configs(data["state"].mean(axis=0), data["state"].std(axis=0))
    algorithms = {name: config.create(device=False) for name, config in by_name.items()}
    for algorithm in algorithms.values():
        algorithm.create_impl(shape, action_size)

    def sample() -> object:
        return buffer.sample_transition_batch(BATCH_SIZE)

    def training(algorithm: QLearningAlgoBase) -> Callable[[], object]:
        return lambda: algorithm.update(sample())

    return Side(
        library=f"d3rlpy {d3rlpy.__version__}",
        encoder=Features,
        networks=networks(algorithms),
        steps={name: training(algorithm) for name, algorithm in algorithms.items()} | {"sampling": sample},
        trained={name: num_moved(*optimizers(name, algorithm)) for name, algorithm in algorithms.items()},
    )


def replay_buffer(data: dict[str, np.ndarray]) -> ReplayBuffer:
    """The same transitions. In d3rlpy the last row of a truncated episode starts none, so its action is made up."""
    episodes, frame, step = [], 0, 0
    for length in data["lengths"]:
        frames, steps = slice(frame, frame + length + 1), slice(step, step + length)
        actions, rewards = np.pad(data["actions"][steps], ((0, 1), (0, 0))), np.pad(data["rewards"][steps], (0, 1))
        observations = (data["image"][frames], data["state"][frames])
        episodes.append(Episode(observations, actions, rewards[:, None], terminated=False))
        frame, step = frame + length + 1, step + length
    return create_infinite_replay_buffer(episodes)


def configs(state_mean: np.ndarray, state_std: np.ndarray) -> dict[str, d3rlpy.base.LearnableConfig]:
    """d3rlpy's defaults, but for the networks and the scalers; every step of TD3+BC moves the policy, as ours does.

    PLAS trains its VAE for `warmup_steps` and nothing else, then critic and policy and nothing else.
    """
    scalers = TupleObservationScaler(
        [PixelObservationScaler(), StandardObservationScaler(mean=state_mean, std=state_std)]
    )
    common = {"batch_size": BATCH_SIZE, "observation_scaler": scalers}
    common |= {name: Factory() for name in ("actor_encoder_factory", "critic_encoder_factory")}
    plas = common | {"imitator_encoder_factory": Factory()}
    return {
        "PLAS": PLASConfig(**plas, warmup_steps=0),
        "PLAS, its VAE's step": PLASConfig(**plas, warmup_steps=WARMUP_FOREVER),
        "IQL": IQLConfig(**common, value_encoder_factory=Factory()),
        "TD3+BC": TD3PlusBCConfig(**common, update_actor_interval=1),
    }


def networks(algorithms: dict[str, QLearningAlgoBase]) -> dict[str, int]:
    plas, iql, td3bc = (algorithms[name].impl.modules for name in ("PLAS", "IQL", "TD3+BC"))
    parts = {
        "Q": [plas.q_funcs[0]],
        "V": [iql.value_func],
        "latent policy": [plas.policy],
        "VAE encoder": [plas.vae_encoder],
        "VAE decoder": [plas.vae_decoder],
        "IQL policy": [iql.policy._encoder, iql.policy._mu],  # ours has no standard deviation beside it
        "TD3+BC policy": [td3bc.policy],
    }
    return {name: num_parameters(*modules) for name, modules in parts.items()}


def optimizers(name: str, algorithm: QLearningAlgoBase) -> list[torch.optim.Optimizer]:
    modules = algorithm.impl.modules
    if name == "PLAS, its VAE's step":
        return [modules.vae_optim.optim]
    return [modules.actor_optim.optim, modules.critic_optim.optim]


if __name__ == "__main__":
    main(prepare)
