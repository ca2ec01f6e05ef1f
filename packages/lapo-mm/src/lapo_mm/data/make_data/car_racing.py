"""Who drives in CarRacingState: an expert, and three ways to be worse at it."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from lapo_mm.data.make_data.behaviour import Behaviour
from lapo_mm.envs.angles import wrap
from lapo_mm.envs.car_racing import CarRacingState

_TILE = 3.5
"""Distance of two tiles, in the simulator's units."""
_TILES_AHEAD = 30


class Style(NamedTuple):
    """How somebody drives."""

    fastest: float
    """Speed on a straight, in units per second."""
    sideways: float
    """Acceleration that is taken for safe in a bend, in units per second squared."""
    swerve: float = 0.0
    """Amplitude of a slow swerving of the steering wheel."""
    gas_in_bends: bool = False
    """Does not hold the gas back while steering, which makes the rear wheels slide."""


_STYLES = {
    "expert": Style(fastest=60.0, sideways=60.0),
    "slow": Style(fastest=15.0, sideways=60.0),
    "swerving": Style(fastest=30.0, sideways=60.0, swerve=0.6),
    "reckless": Style(fastest=80.0, sideways=400.0, gas_in_bends=True),
}
_BRAKING = 30.0
_NOISE = np.array([0.1, 0.2])


class CarRacingBehaviour(Behaviour):
    """Pure pursuit of the middle of the road, also from beside it: coming back is shown, too."""

    MODES: ClassVar = {"expert": 0.3, "slow": 0.3, "swerving": 0.25, "reckless": 0.15}
    SWITCH: ClassVar = 0.04

    def __init__(self, env: CarRacingState, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self._env = env
        self._tile = 0
        self._phase = rng.uniform(0, 2 * math.pi)

    def controls(self, mode: str) -> Float[np.ndarray, " 2"]:
        """Steer and pedal of a style."""
        style = _STYLES[mode]
        position, speed = self._env.position, float(np.linalg.norm(self._env.velocity))
        self._tile = self._nearest(position)
        self._phase += 0.5
        steer = self._steer(position, speed) + style.swerve * math.sin(self._phase)
        pedal = 0.1 * (min(style.fastest, self._safe_speed(style.sideways)) - speed)
        most = 1.0 if style.gas_in_bends else 1.0 - min(1.0, abs(steer))
        return np.clip([steer, min(pedal, most)], -1.0, 1.0)

    def noise(self, mode: str) -> Float[np.ndarray, " 2"]:
        """White noise."""
        return self._rng.normal(0.0, _NOISE)

    def _nearest(self, position: Float[np.ndarray, " 2"]) -> int:
        # Near the last one: tracks pass close to themselves.
        candidates = (self._tile + np.arange(-5, 20)) % len(self._env.track)
        return int(candidates[np.square(self._env.track[candidates, 1:] - position).sum(axis=1).argmin()])

    def _steer(self, position: Float[np.ndarray, " 2"], speed: float) -> float:
        aim = self._env.track[(self._tile + 3 + round(speed / 15)) % len(self._env.track), 1:]
        dx, dy = aim - position
        return -1.5 * wrap(math.atan2(-dx, dy) - self._env.heading)

    def _safe_speed(self, sideways: float) -> float:
        """Slow enough for every bend ahead, counting on braking before it."""
        tiles = (self._tile + np.arange(_TILES_AHEAD + 1)) % len(self._env.track)
        turns = np.abs(wrap(np.diff(self._env.track[tiles, 0])))
        curvature = np.maximum(np.convolve(turns, np.ones(3) / 3, mode="same") / _TILE, 1e-3)
        return float(np.sqrt(sideways / curvature + 2 * _BRAKING * _TILE * np.arange(_TILES_AHEAD)).min())
