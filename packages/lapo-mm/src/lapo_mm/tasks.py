"""The environment behind a dataset, and what its returns are worth."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium
import numpy as np
from jaxtyping import Float

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import DatasetInfo, References
from lapo_mm.data.recover import recover_environment
from lapo_mm.data.roles import Roles, to_modalities


@dataclass(frozen=True)
class Task:
    """How to make the environment, how to read it, and the two ends of its score."""

    info: DatasetInfo
    roles: Roles
    references: References | None

    @classmethod
    def of(cls, info: DatasetInfo, roles: Roles) -> "Task | None":
        """The task of a dataset; None where nobody knows its environment, or it cannot be made here, which is said."""
        if info.env_spec is None:
            return None
        task = cls(info, roles, info.references)
        try:
            task.make_env().close()
        except UserError as problem:
            print(f"warning: {problem}; policies are judged by the data alone", file=sys.stderr)
            return None
        return task

    def make_env(self, **changes: object) -> gymnasium.Env:
        """A fresh environment. `changes` go to its constructor.

        Raises:
            UserError: it cannot be made here.
        """
        return recover_environment(self.info, **changes)

    def read(self, observation: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """An observation of the environment as the dataset's are read."""
        return to_modalities(observation, self.roles)

    @property
    def unit(self) -> str:
        """What `score` is measured in."""
        return "return" if self.references is None else "score"

    def score(self, returns: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Normalised: 0 is random, 100 the expert. Plain returns where the dataset has no references."""
        return returns if self.references is None else self.references.score(returns)
