"""The gradient steps of lapo-mm, as its own bench prepares them. `compare` starts it."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from stopwatch import BATCH_SIZE, Side, main, num_moved, num_parameters
from torch import Tensor

from drivelab_shared.seeding import StepSampler
from lapo_mm.algorithms import Algorithm
from lapo_mm.bench.steps import ready
from lapo_mm.config import CACHE_DIR, TrainSettings
from lapo_mm.data.batches import Batch, Batches
from lapo_mm.data.store import open_store
from lapo_mm.models.encoder import ObsEncoder

NAMES = {"LAPO": "lapo", "IQL": "iql", "TD3+BC": "td3bc"}


def prepare(data_dir: Path) -> Side:
    store = open_store(data_dir, CACHE_DIR)
    settings = TrainSettings(data_dir=data_dir, batch_size=BATCH_SIZE)
    batches, indices = Batches(store, "cpu"), store.steps_of("train")
    sampler, counter = StepSampler(len(indices), settings.batch_size), itertools.count()

    def sample() -> Batch:
        return batches.fetch(indices[sampler.batch(next(counter))])

    algorithms = {name: ready(None, store, replace(settings, algorithm=one)) for name, one in NAMES.items()}
    return Side(
        library=f"lapo-mm {version('lapo-mm')}",
        encoder=ObsEncoder,
        networks=networks(algorithms),
        steps={name: training(algorithm, sample) for name, algorithm in algorithms.items()} | {"sampling": sample},
        trained={name: num_moved(*algorithm.optimizers.values()) for name, algorithm in algorithms.items()},
    )


def training(algorithm: Algorithm, sample: Callable[[], Batch]) -> Callable[[], object]:
    def backward(name: str, loss: Tensor) -> None:
        loss.backward()

    return lambda: algorithm.update(sample(), backward)


def networks(algorithms: dict[str, Algorithm]) -> dict[str, int]:
    lapo = algorithms["LAPO"]
    heads = {
        "Q": lapo.critic.q.q1,
        "V": lapo.critic.v,
        "latent policy": lapo.actor,
        "VAE encoder": lapo.actor_vae.encoder,
        "VAE decoder": lapo.actor_vae.decoder,
        "IQL policy": algorithms["IQL"].actor,
        "TD3+BC policy": algorithms["TD3+BC"].actor,
    }
    return {name: num_parameters(lapo.obs_encoder, head) for name, head in heads.items()}


if __name__ == "__main__":
    main(prepare)
