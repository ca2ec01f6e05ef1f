"""What a dataset is made of: episodes, and what is known about all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One episode of T steps. Step t leads from observation t to observation t + 1, so there are T + 1 of them."""

    observations: Mapping[str, np.ndarray]
    """[T + 1, ...] by key. Images are uint8 [T + 1, channels, height, width]."""
    actions: Float[np.ndarray, "steps actions"]
    rewards: Float[np.ndarray, " steps"]
    terminations: Bool[np.ndarray, " steps"]
    """The task is over: nothing follows, and the value of what would is 0."""
    truncations: Bool[np.ndarray, " steps"]
    """The recording ends, the task does not: the value of the last observation counts."""
    infos: Mapping[str, np.ndarray] = field(default_factory=dict)
    """[T + 1, ...] by key: what else is known, such as the simulator's state. Never an observation."""
    seed: int | None = None
    """What the environment was reset with."""

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, kw_only=True)
class References:
    """Mean returns that are 0 and 100 of the normalised score, and how they were measured."""

    random: float
    expert: float
    source: str
    """Such as `1000 episodes each, seed 0, uniform actions and the scripted expert`."""

    def score(self, returns: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """100 * (R - random) / (expert - random)."""
        return 100.0 * (returns - self.random) / (self.expert - self.random)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a whole dataset: metadata.json."""

    dataset_id: str
    """`[namespace/]name-v<number>`, which is also the end of its folder's path."""
    env_spec: str | None
    """Gymnasium's EnvSpec as JSON; None where nobody knows the environment."""
    observation_space: Any
    """gymnasium.Space: a Dict of Boxes, or a Box."""
    action_space: Any
    """gymnasium.Space: a Box."""
    references: References | None = None
    description: str = ""
    author: str = ""
    algorithm_name: str = ""
    """Who acted."""
