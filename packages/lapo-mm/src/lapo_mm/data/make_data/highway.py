"""Who drives in HighwayRacetrack: one who keeps to the lane and its distance, and two who do not."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from lapo_mm.data.make_data.behaviour import Behaviour
from lapo_mm.envs.angles import wrap
from lapo_mm.envs.highway import HighwayRacetrack

_LOOK_AHEAD_S = 0.4
_FULL_STEERING, _FULL_ACCELERATION = math.pi / 4, 5.0
_FREE_M, _STOP_M = 20.0, 8.0
_NOISE = np.array([0.2, 0.05])


class Style(NamedTuple):
    """How somebody drives."""

    speed_mps: float
    keeps_distance: bool
    offset_m: float = 0.0
    """Right of the middle of the lane."""


_STYLES = {
    "expert": Style(speed_mps=9.0, keeps_distance=True),
    "slow": Style(speed_mps=3.0, keeps_distance=True),
    "careless": Style(speed_mps=13.0, keeps_distance=False, offset_m=2.0),
}


class HighwayBehaviour(Behaviour):
    """Steers towards the middle of the lane it is in."""

    MODES: ClassVar = {"expert": 0.4, "slow": 0.3, "careless": 0.3}
    SWITCH: ClassVar = 0.05

    def __init__(self, env: HighwayRacetrack, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self._env = env

    def controls(self, mode: str) -> Float[np.ndarray, " 2"]:
        """Acceleration and steering of a style."""
        style, car = _STYLES[mode], self._env.simulator.vehicle
        speed = max(car.speed, 1.0)
        along, right = car.lane.local_coordinates(car.position)
        heading = car.lane.heading_at(along + _LOOK_AHEAD_S * speed)
        wanted = heading + math.atan((style.offset_m - right) / speed)
        steering = math.atan(wrap(wanted - car.heading) * car.LENGTH / (_LOOK_AHEAD_S * speed))
        limit = min(style.speed_mps, self._safe_speed_mps()) if style.keeps_distance else style.speed_mps
        acceleration = (limit - car.speed) / 0.6
        return np.clip([acceleration / _FULL_ACCELERATION, steering / _FULL_STEERING], -1.0, 1.0)

    def noise(self, mode: str) -> Float[np.ndarray, " 2"]:
        """White noise."""
        return self._rng.normal(0.0, _NOISE)

    def _safe_speed_mps(self) -> float:
        """That of the nearest car ahead in the same lane, and slower where it is close."""
        car = self._env.simulator.vehicle
        ahead, _ = self._env.simulator.road.neighbour_vehicles(car, car.lane_index)
        if ahead is None:
            return math.inf
        distance_m = float(np.linalg.norm(ahead.position - car.position))
        if distance_m > _FREE_M:
            return math.inf
        return ahead.speed * min(1.0, max(0.0, (distance_m - _STOP_M) / (_FREE_M - _STOP_M) + 0.5))
