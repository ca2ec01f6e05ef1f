"""Who acts in ReacherDistractor: towards the target, towards the other disc, or anywhere."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float

from lapo_mm.data.make_data.behaviour import Behaviour
from lapo_mm.envs.arm import way_to
from lapo_mm.envs.reacher import ReacherDistractor

_STIFFNESS, _DAMPING = 0.5, 0.05
_NOISE = 0.3


class ReacherBehaviour(Behaviour):
    """The picture alone tells the first two modes apart: what they do is the same, but for where the discs are."""

    MODES: ClassVar = {"target": 0.25, "distractor": 0.5, "noise": 0.25}
    SWITCH: ClassVar = 0.1

    def __init__(self, env: ReacherDistractor, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self._env = env
        self._drift = np.zeros(2)

    def controls(self, mode: str) -> Float[np.ndarray, " 2"]:
        """Torques of a spring and a damper towards a disc; none in the mode `noise`."""
        if mode == "noise":
            return np.zeros(2)
        disc = self._env.target if mode == "target" else self._env.distractor
        way = np.array(way_to(disc, self._env.q))
        return np.clip(_STIFFNESS * way - _DAMPING * self._env.qdot, -1.0, 1.0)

    def noise(self, mode: str) -> Float[np.ndarray, " 2"]:
        """White noise; coloured in the mode `noise`, which goes on drifting in the background."""
        self._drift = 0.9 * self._drift + 0.25 * self._rng.standard_normal(2)
        return self._drift if mode == "noise" else self._rng.normal(0.0, _NOISE, 2)
