"""Reach for a disc that only the picture shows, beside another disc that looks the same in another colour."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Dict
from jaxtyping import Float

from lapo_mm.envs import raster
from lapo_mm.envs.arm import fingertip
from lapo_mm.envs.base import BaseEnv, Observation

MODEL = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "reacher.xml"
FRAME_SKIP = 2
TORQUE_COST = 0.1
SQUARE_M, NEAREST_M, FARTHEST_M, APART_M = 0.2, 0.05, 0.2, 0.1
"""Discs lie in a square of this half-width, between these distances from the shoulder, and this far from each other."""
SIM_SIZE = 8


class ReacherDistractor(BaseEnv):
    """The arm of gymnasium's Reacher and two discs. Every episode lasts `max_steps` steps; nothing terminates it.

    Action: two torques in [-1, 1]. Reward: minus the distance of fingertip and target in metres, minus 0.1 times the
    sum of squared torques. `image`: see `raster`. `state`: cos q, sin q and 0.1 * qdot; it knows neither disc.

    `info["sim"]` [8] is all there is: q, qdot, target, distractor. `reset(options={"sim": ...})` goes back to it, and
    the same actions then lead to exactly the same observations.
    """

    observation_space = Dict(
        image=Box(0, 255, (3, raster.SIZE, raster.SIZE), np.uint8), state=Box(-np.inf, np.inf, (6,), np.float32)
    )
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, max_steps: int = 50) -> None:
        super().__init__(max_steps)
        self._model = mujoco.MjModel.from_xml_path(str(MODEL))
        # With a warm start, a step at the end stop of the elbow would depend on the one before, not on the state alone.
        # Contacts are only looked for: no two parts of the model can touch.
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART | mujoco.mjtDisableBit.mjDSBL_CONTACT
        self._data = mujoco.MjData(self._model)
        self.target = self.distractor = np.zeros(2)

    @property
    def q(self) -> Float[np.ndarray, " 2"]:
        """Angles of the joints."""
        return self._data.qpos[:2]

    @property
    def qdot(self) -> Float[np.ndarray, " 2"]:
        """Their velocities, in radians per second."""
        return self._data.qvel[:2]

    def _begin(self, options: Mapping[str, Any]) -> None:
        mujoco.mj_resetData(self._model, self._data)
        sim = self._random_sim() if options.get("sim") is None else np.asarray(options["sim"], np.float64)
        if sim.shape != (SIM_SIZE,) or not np.isfinite(sim).all():
            raise ValueError(f"sim: expected {SIM_SIZE} finite numbers, got {sim}")
        self._data.qpos[:2], self._data.qvel[:2] = sim[:2], sim[2:4]
        self.target, self.distractor = sim[4:6].copy(), sim[6:8].copy()

    def _random_sim(self) -> Float[np.ndarray, " 8"]:
        q = self.np_random.uniform(-np.pi, np.pi, 2) * (1.0, 0.9)
        qdot = self.np_random.uniform(-0.005, 0.005, 2)
        target = self._random_disc()
        distractor = self._random_disc()
        while np.linalg.norm(distractor - target) <= APART_M:
            distractor = self._random_disc()
        return np.concatenate([q, qdot, target, distractor])

    def _random_disc(self) -> Float[np.ndarray, " 2"]:
        while True:
            disc = self.np_random.uniform(-SQUARE_M, SQUARE_M, 2)
            if NEAREST_M < np.linalg.norm(disc) < FARTHEST_M:
                return disc

    def _move(self, action: Float[np.ndarray, " 2"]) -> tuple[float, bool]:
        self._data.ctrl[:] = action
        mujoco.mj_step(self._model, self._data, nstep=FRAME_SKIP)
        distance = math.dist(fingertip(self.q), self.target)
        return float(-distance - TORQUE_COST * np.square(action).sum()), False

    def _observe(self) -> Observation:
        state = np.concatenate([np.cos(self.q), np.sin(self.q), 0.1 * self.qdot]).astype(np.float32)
        return {"image": raster.draw(self.q, self.target, self.distractor), "state": state}

    def _facts(self) -> dict[str, Any]:
        return {"sim": np.concatenate([self.q, self.qdot, self.target, self.distractor])}
