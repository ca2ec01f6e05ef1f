"""What is measured on held-out episodes while training goes on, for every algorithm the same."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int

from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batches

MAX_TRANSITIONS = 1024
"""Evenly spaced over the held-out episodes; they are looked at in one pass."""


def validation_errors(
    batches: Batches, indices: Int[np.ndarray, " transitions"]
) -> Callable[[Algorithm], Mapping[str, float]]:
    """A function that measures an algorithm on these transitions, always the same ones.

    `action_error` is the squared distance of the policy's action from the recorded one, in standard deviations of the
    data; it falls with cloning and need not fall with a policy that does better. `td_error` is the squared difference
    between Q and reward + gamma * Q of the policy's next action, in scaled rewards; a Q of 0 everywhere has one too.
    """
    chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), MAX_TRANSITIONS)).astype(np.int64)]

    @torch.no_grad()
    def measure(algorithm: Algorithm) -> Mapping[str, float]:
        was_training = algorithm.training
        algorithm.eval()
        batch = batches.fetch(chosen)
        actions = algorithm.units.standardise(batch.actions)
        error = (algorithm.policy(batch.observation) - actions).square().sum(dim=1).mean()
        figures = {"action_error": float(error)}
        twins = algorithm.twin_values(batch.observation, actions)
        if twins is not None:
            next_actions = algorithm.policy(batch.next_observation)
            next_q = torch.minimum(*algorithm.twin_values(batch.next_observation, next_actions))
            goes_on = algorithm.settings.gamma * (1.0 - batch.terminals)
            target = batch.rewards / algorithm.units.reward_unit + goes_on * next_q
            figures["td_error"] = float((torch.minimum(*twins) - target).square().mean())
        algorithm.train(was_training)
        return figures

    return measure
