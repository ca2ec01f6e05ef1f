"""What our environments share: actions kept in the box, episodes of limited length, steps that nobody looks at."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

Observation = dict[str, np.ndarray]


class BaseEnv(gymnasium.Env[Observation, np.ndarray], ABC):
    """An environment with one continuous action box, whose observations can be left out.

    Args:
        max_steps: length at which an episode is truncated. Where the task is over by then, it is terminated instead.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium reads it from the class
    action_space: gymnasium.spaces.Box

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self._num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. What `options` can say stands with each environment."""
        super().reset(seed=seed)
        self._num_steps = 0
        self._begin(options or {})
        return self._observe(), self._facts()

    def step(self, action: Float[np.ndarray, " actions"]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step. The action is clipped to the box.

        Raises:
            ValueError: it has another size, or is not finite.
        """
        reward, terminated, truncated = self.advance(action)
        return self._observe(), reward, terminated, truncated, self._facts()

    def advance(self, action: Float[np.ndarray, " actions"]) -> tuple[float, bool, bool]:
        """A step without an observation, which is most of its cost: reward, terminated, truncated.

        Raises:
            ValueError: as `step`.
        """
        action = np.asarray(action, np.float64)
        if action.shape != self.action_space.shape or not np.isfinite(action).all():
            raise ValueError(f"action: expected {self.action_space.shape[0]} finite numbers, got {action}")
        reward, terminated = self._move(action.clip(self.action_space.low, self.action_space.high))
        self._num_steps += 1
        return reward, terminated, not terminated and self._num_steps >= self.max_steps

    @abstractmethod
    def _begin(self, options: Mapping[str, Any]) -> None:
        """Put everything in its place, by `self.np_random`."""

    @abstractmethod
    def _move(self, action: Float[np.ndarray, " actions"]) -> tuple[float, bool]:
        """Do it; reward, and whether the task is over."""

    @abstractmethod
    def _observe(self) -> Observation:
        """The observation now, in arrays of its own."""

    def _facts(self) -> dict[str, Any]:
        """The info dict now."""
        return {}
