"""A scripted behaviour that changes its mode at random moments of an episode.

With one mode per episode, the best episodes would be the expert's, and cloning them would be the answer. With good and
bad pieces in the same episode, only values tell them apart.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from lapo_mm.envs.base import BaseEnv


class Behaviour(ABC):
    """Acts in one episode, knowing the simulator's state. `act` is what is recorded, `controls` is one mode by itself.

    Args:
        env: has just been reset.
        rng: all that is random about it.
    """

    MODES: ClassVar[Mapping[str, float]]
    """How probable each mode is. The first is the expert."""
    SWITCH: ClassVar[float]
    """Probability, at every step, that the mode is drawn again."""

    def __init__(self, env: BaseEnv, rng: np.random.Generator) -> None:
        self._rng = rng
        self._modes, self._shares = list(self.MODES), list(self.MODES.values())
        self.mode = self._draw()
        """Index into MODES of what was done last."""

    def act(self) -> Float[np.ndarray, " actions"]:
        """The next action, inside the box; it may change the mode first."""
        if self._rng.random() < self.SWITCH:
            self.mode = self._draw()
        mode = self._modes[self.mode]
        return np.clip(self.controls(mode) + self.noise(mode), -1.0, 1.0).astype(np.float32)

    def expert(self) -> Float[np.ndarray, " actions"]:
        """The next action of the first mode, without noise."""
        return self.controls(self._modes[0])

    @abstractmethod
    def controls(self, mode: str) -> Float[np.ndarray, " actions"]:
        """What a mode does now."""

    @abstractmethod
    def noise(self, mode: str) -> Float[np.ndarray, " actions"]:
        """What is added when it is recorded."""

    def _draw(self) -> int:
        return int(self._rng.choice(len(self._modes), p=self._shares))
