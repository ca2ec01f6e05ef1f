"""Units of actions, rewards and values, as buffers: they travel with the weights, so a policy acts without the data."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Units(nn.Module):
    """Between the units of the environment and those that networks see; both are the same until they are set."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.register_buffer("action_mean", torch.zeros(actions))
        self.register_buffer("action_std", torch.ones(actions))
        self.register_buffer("action_low", torch.full((actions,), -torch.inf))
        self.register_buffer("action_high", torch.full((actions,), torch.inf))
        self.register_buffer("reward_unit", torch.ones(()))
        self.register_buffer("value_low", torch.full((), -torch.inf))
        self.register_buffer("value_high", torch.full((), torch.inf))

    def fit_actions(self, mean: Tensor, std: Tensor, low: Tensor, high: Tensor) -> None:
        """Mean and std of the training data, and the action box."""
        self.action_mean.copy_(mean)
        self.action_std.copy_(torch.where(std > 1e-6, std, 1.0))
        self.action_low.copy_(low)
        self.action_high.copy_(high)

    def fit_rewards(self, low: float, high: float, scale: str, gamma: float, *, has_terminals: bool) -> None:
        """Unit of rewards from the smallest and largest one, and the values that rewards of this size can add up to.

        The unit never shifts or flips rewards: `rewards / rewards.max()`, as in the released code, turns a task around
        where all rewards are negative.
        """
        unit = {"range": high - low, "max_abs": max(abs(low), abs(high)), "none": 1.0}[scale]
        self.reward_unit.fill_(unit if unit > 0 else 1.0)
        low, high = low / float(self.reward_unit), high / float(self.reward_unit)
        # Where the task can end, few rewards may be all that follows.
        sums = (1.0 / (1.0 - gamma), *((1.0,) if has_terminals else ()))
        self.value_low.fill_(min(low * one for one in sums))
        self.value_high.fill_(max(high * one for one in sums))

    @property
    def has_box(self) -> bool:
        """Whether every action is limited on both sides."""
        return bool(torch.isfinite(self.action_low).all() and torch.isfinite(self.action_high).all())

    def standardise(self, actions: Float[Tensor, "batch actions"]) -> Float[Tensor, "batch actions"]:
        """From the environment's units to those of the networks."""
        return (actions - self.action_mean) / self.action_std

    def raw(self, actions: Float[Tensor, "batch actions"]) -> Float[Tensor, "batch actions"]:
        """The inverse, and into the box: what may be sent to the environment."""
        return (actions * self.action_std + self.action_mean).clamp(self.action_low, self.action_high)
