"""An algorithm as the watch sees it: its parts, batches for it, and its real training steps."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from drivelab_shared.seeding import seed_step
from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batch
from lapo_mm.diagnose.watch import Record, Watch
from lapo_mm.models.encoder import ObsEncoder, Observation
from lapo_mm.models.heads import ActionVae, Critic

CONTAINERS = (ObsEncoder, Critic, ActionVae)
"""Looked at part by part: a modality can be blind while its neighbours see."""


def parts(algorithm: Algorithm) -> dict[str, nn.Module]:
    """Everything that has parameters, by its path in the algorithm."""
    found: dict[str, nn.Module] = {}
    for name, module in algorithm.named_children():
        if isinstance(module, CONTAINERS):
            found |= {f"{name}.{part}": one for part, one in module.named_children()}
        else:
            found[name] = module
    return {path: module for path, module in found.items() if any(True for _ in module.parameters())}


def watched(algorithm: Algorithm, batches: Iterable[Batch], seed: int) -> Record:
    """Notes of one training step per batch. The algorithm has its optimizers; it is trained.

    A step that ends in an error is the last one.
    """
    watch = Watch(parts(algorithm), algorithm.optimizers)
    algorithm.train()
    for number, batch in enumerate(batches):
        seed_step(seed, number)
        with watch.step() as backward:
            algorithm.update(batch, backward)
        if watch.record.steps[-1].failure:
            break
    return watch.record


def random_batch(algorithm: Algorithm, size: int, seed: int, number: int) -> Batch:
    """Noise in the units that the algorithm knows, a pure function of (seed, number)."""
    rng = torch.Generator().manual_seed(1_000_003 * seed + number)
    units = algorithm.units
    device = units.reward_unit.device
    return Batch(
        observation=_random_observation(algorithm, size, rng),
        next_observation=_random_observation(algorithm, size, rng),
        actions=units.raw(torch.randn(size, algorithm.shapes.action, generator=rng).to(device)),
        rewards=-units.reward_unit * torch.rand(size, generator=rng).to(device),
        terminals=(torch.rand(size, generator=rng) < 0.1).float().to(device),
    )


def _random_observation(algorithm: Algorithm, size: int, rng: torch.Generator) -> Observation:
    shapes, encoder = algorithm.shapes, algorithm.obs_encoder
    device = algorithm.units.reward_unit.device

    def like_training_data(standardise: nn.Module) -> Tensor:
        noise = torch.randn(size, *standardise.mean.shape, generator=rng).to(device)
        return standardise.mean + standardise.std * noise

    found = {}
    if shapes.image is not None:
        found["image"] = torch.randint(256, (size, *shapes.image), dtype=torch.uint8, generator=rng).to(device)
    if shapes.state is not None:
        found["state"] = like_training_data(encoder.state_encoder.standardise)
    if shapes.lidar is not None:
        found["lidar"] = like_training_data(encoder.lidar_encoder.standardise)
    return found
