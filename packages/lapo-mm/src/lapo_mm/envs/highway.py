"""highway-env's race track with three modalities: a picture of the road, the car's own motion, and a lidar."""

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from jaxtyping import Float

from drivelab_shared.errors import UserError
from lapo_mm.envs.base import BaseEnv, Observation

SIZE, STACK, BEAMS = 48, 2, 16
SPEED_MPS = 10.0
"""The speed limit: who drives slower gets less."""

_CONFIG = {
    "observation": {
        "type": "TupleObservation",
        "observation_configs": [
            {
                "type": "GrayscaleObservation",
                "observation_shape": (SIZE, SIZE),
                "stack_size": STACK,
                "weights": [0.2989, 0.5870, 0.1140],
                "scaling": 1.2,
            },
            {
                "type": "Kinematics",
                "features": ["vx", "vy", "cos_h", "sin_h"],
                "features_range": {"vx": [-SPEED_MPS, SPEED_MPS], "vy": [-SPEED_MPS, SPEED_MPS]},
                "clip": False,
            },
            {"type": "LidarObservation", "cells": BEAMS, "maximum_range": 40.0},
        ],
    },
    "action": {"type": "ContinuousAction"},
    "other_vehicles": 3,
}


class HighwayRacetrack(BaseEnv):
    """Keep to the lanes of a race track among other cars. A step is 0.2 s.

    Action: acceleration in [-1, 1] (times 5 m/s2), steering in [-1, 1] (times 45 degrees, positive to the right).
    `image`: the last two pictures from above, grey, not turned with the car; black before the first one. `state`: own
    velocity / 10 m/s and cos, sin of the heading. `lidar` [16, 2]: distance / 40 m to the other cars by direction, and
    relative speed / 40 m/s. Reward: the simulator's, for the middle of the lane and against large actions, times speed
    / 10 m/s up to 1: without it, standing still would be best. Terminated by a crash, or off the road.

    Raises:
        UserError: highway-env is not installed.
    """

    observation_space = Dict(
        image=Box(0, 255, (STACK, SIZE, SIZE), np.uint8),
        state=Box(-np.inf, np.inf, (4,), np.float32),
        lidar=Box(-np.inf, np.inf, (BEAMS, 2), np.float32),
    )
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, max_steps: int = 100) -> None:
        super().__init__(max_steps)
        self.simulator = _simulator()
        """highway-env's own environment."""

    def _begin(self, options: Mapping[str, Any]) -> None:
        self._seen, _ = self.simulator.reset(seed=int(self.np_random.integers(2**31)))

    def _move(self, action: Float[np.ndarray, " 2"]) -> tuple[float, bool]:
        self._seen, reward, terminated, _, info = self.simulator.step(action)
        return float(reward) * min(1.0, max(0.0, info["speed"] / SPEED_MPS)), bool(terminated)

    def _observe(self) -> Observation:
        image, motion, lidar = self._seen
        # highway-env has columns before rows, and its own car in the first row.
        return {
            "image": np.ascontiguousarray(image.swapaxes(1, 2)),
            "state": motion[0].astype(np.float32),
            "lidar": lidar.astype(np.float32),
        }


def _simulator() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")  # where SDL ends up too, after complaints about the rest
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from highway_env.envs.racetrack_env import ConnectedLaneRacetrackEnv
    except ImportError:
        expected = "highway-env, which the extra installs: pip install 'lapo-mm[highway]'"
        raise UserError(f"HighwayRacetrack: expected {expected}, got none") from None

    class Simulator(ConnectedLaneRacetrackEnv):
        def define_spaces(self) -> None:
            super().define_spaces()
            # Without a screen (SDL_VIDEODRIVER=dummy) highway-env silently leaves its pictures black.
            self.observation_type.observation_types[0].viewer.enabled = True

    return Simulator(_CONFIG)
