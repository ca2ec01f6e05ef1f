"""Fitted-Q evaluation: what a policy is worth by the data alone, for users without an environment.

Source: Le, Voloshin and Yue, "Batch Policy Learning under Constraints", arXiv 1903.08738.
"""

import copy

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from drivelab_shared.modules import freeze
from drivelab_shared.seeding import StepSampler, seed_step
from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batches
from lapo_mm.losses import td_target, twin_loss
from lapo_mm.models.encoder import ObsEncoder, Observation
from lapo_mm.models.heads import TwinQ

LR, TAU = 5e-4, 0.01


class Estimator(nn.Module):
    """Twin Q on an encoder of its own, which sees observations in the units of the policy's."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        shapes, settings = algorithm.shapes, algorithm.settings
        self.encoder = ObsEncoder(shapes, settings.encoder)
        units = {name: value for name, value in algorithm.obs_encoder.named_buffers() if "standardise" in name}
        self.encoder.load_state_dict(units, strict=False)
        self.q = TwinQ(self.encoder.num_features, shapes.action, settings.hidden_sizes)

    def forward(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Both values of standardised actions, in scaled rewards."""
        return self.q(self.encoder(observation), actions)


def fitted_q(
    algorithm: Algorithm,
    batches: Batches,
    indices: Int[np.ndarray, " transitions"],
    starts: Int[np.ndarray, " starts"],
    *,
    steps: int,
    seed: int,
) -> Float[np.ndarray, " starts"]:
    """Values of the policy's first actions, in the rewards of the environment, by Q networks that only this fits.

    Nothing of the policy's own critic or encoder is used: their errors would confirm themselves.

    Args:
        algorithm: the policy, in eval mode.
        batches: the dataset.
        indices: transitions to fit on.
        starts: transitions whose observations are where episodes begin.
        steps: gradient steps.
        seed: of weights and batches.
    """
    settings, device = algorithm.settings, batches.device
    seed_step(seed, 0)
    fast = Estimator(algorithm).to(device)
    slow = freeze(copy.deepcopy(fast))
    average = get_ema_multi_avg_fn(decay=1.0 - TAU)
    optimizer = torch.optim.Adam(fast.parameters(), lr=LR, fused=True)
    sampler = StepSampler(len(indices), min(settings.batch_size, len(indices)), seed=seed)
    for step in range(steps):
        batch = batches.fetch(indices[sampler.batch(step)])
        with torch.no_grad():
            next_q = torch.minimum(*slow(batch.next_observation, algorithm.policy(batch.next_observation)))
            rewards = batch.rewards / algorithm.units.reward_unit
            target = td_target(rewards, batch.terminals, next_q, settings.gamma)
        loss = twin_loss(*fast(batch.observation, algorithm.units.standardise(batch.actions)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            average(list(slow.parameters()), list(fast.parameters()), 1)
    with torch.no_grad():
        first = batches.fetch(starts).observation
        q = torch.minimum(*fast(first, algorithm.policy(first)))
        return (q * algorithm.units.reward_unit).cpu().numpy()
