"""Scripted drivers in CarRacing: drive N is a pure function of (seed, N), whoever computes it.

The driver wanders over the road and changes its speed at moments that no picture announces. Only the actions tell, so
a model that ignores them is found out.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from latent_predictor.data import camera, labels
from latent_predictor.data.camera import HALF_WIDTH
from latent_predictor.data.car_racing import STEPS_PER_SECOND, TILE_LENGTH, Simulator, Track, Vehicle
from latent_predictor.data.trajectory import NUM_TILES_AHEAD, Trajectory

VERSION = 1
"""Raised when the same (seed, N) no longer gives the same drive."""
FRAME_SKIP = 4
DT_S = FRAME_SKIP / STEPS_PER_SECOND
LOST_OFFSET = 2.5
"""A car this many half widths from the middle has left the road: the drive is drawn again."""

_WARM_UP_FRAMES = 15
_AIM_TILES = 4
_SLOWEST, _FASTEST = 7.0, 37.0
# Accelerations that the driver allows itself, far below what the tyres hold.
_SIDEWAYS, _BRAKING = 40.0, 15.0


class _LeftTheRoadError(Exception):
    pass


@dataclass(frozen=True)
class Situation:
    """The car relative to the track."""

    tile: int
    offset: float
    """Half widths right of the middle."""
    heading_error: float
    """Radians, counter-clockwise, in [-pi, pi)."""


def wrap(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def locate(track: Track, vehicle: Vehicle, last_tile: int) -> Situation:
    """The situation on the tile nearest to the car, searched near the last one: tracks pass close to themselves."""
    candidates = np.arange(last_tile - 3, last_tile + 10) % len(track.heading)
    distance = np.array([vehicle.x, vehicle.y]) - track.center[candidates]
    nearest = int(np.argmin((distance**2).sum(axis=1)))
    tile = int(candidates[nearest])
    dx, dy = distance[nearest]
    heading = float(track.heading[tile])
    offset = (dx * math.cos(heading) + dy * math.sin(heading)) / HALF_WIDTH
    return Situation(tile, float(offset), wrap(vehicle.heading - heading))


def heading_ahead(track: Track, tile: int) -> Float32[np.ndarray, " tiles"]:
    """Heading of the next tiles relative to this one, in radians, not wrapped: a hairpin adds up to pi and more."""
    indices = np.arange(tile, tile + NUM_TILES_AHEAD + 1) % len(track.heading)
    turns = np.diff(track.heading[indices])
    return np.cumsum((turns + math.pi) % (2 * math.pi) - math.pi).astype(np.float32)


class Driver:
    """Aims at a point ahead, shifted sideways, at a speed; both wander.

    The numbers below are set so that the three lanes are about equally frequent, both pedals are used, and under 1 % of
    the frames are off the road.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._cruise = rng.uniform(14, 32)
        self._speed_target = self._cruise
        self._frames_to_new_speed = 0
        self._offset_target = self._new_offset()
        self._frames_to_new_offset = 0
        self.offset = self._offset_target
        """Half widths right of the middle: where the driver wants to be now, on the way to the target."""

    def act(self, track: Track, vehicle: Vehicle, situation: Situation) -> Float32[np.ndarray, " 3"]:
        """Steer, gas and brake until the next frame."""
        self._wander(vehicle.speed)
        steer = self._steer(track, vehicle, situation)
        gas, brake = self._pedals(track, vehicle, situation)
        return np.array([steer, gas, brake], np.float32)

    def _wander(self, speed: float) -> None:
        if self._frames_to_new_offset == 0:
            self._frames_to_new_offset = int(self._rng.integers(10, 36))
            self._offset_target = self._new_offset()
        if self._frames_to_new_speed == 0:
            self._frames_to_new_speed = int(self._rng.integers(6, 24))
            self._speed_target = float(np.clip(self._cruise * self._rng.uniform(0.5, 1.5), _SLOWEST, _FASTEST))
        self._frames_to_new_offset -= 1
        self._frames_to_new_speed -= 1
        self.offset += min(0.25, 0.012 * speed) * (self._offset_target - self.offset)

    def _new_offset(self) -> float:
        # The outer lanes more often than the middle one, which is also crossed on the way.
        lane = self._rng.choice([-1, 0, 1], p=[0.38, 0.24, 0.38])
        return float(0.63 * lane + self._rng.uniform(-0.28, 0.28))

    def _steer(self, track: Track, vehicle: Vehicle, situation: Situation) -> float:
        aim = (situation.tile + _AIM_TILES) % len(track.heading)
        heading = track.heading[aim]
        shift = (self.offset + 0.4 * (self.offset - situation.offset)) * HALF_WIDTH
        dx = track.center[aim, 0] + shift * math.cos(heading) - vehicle.x
        dy = track.center[aim, 1] + shift * math.sin(heading) - vehicle.y
        bearing_error = wrap(math.atan2(-dx, dy) - vehicle.heading)
        return float(np.clip(-1.2 * bearing_error + self._rng.normal(0, 0.08), -1, 1))

    def _pedals(self, track: Track, vehicle: Vehicle, situation: Situation) -> tuple[float, float]:
        target = min(self._speed_target, self._safe_speed(track, situation))
        excess = vehicle.speed - target
        gas = np.clip(-0.08 * excess + self._rng.normal(0, 0.03), 0, 0.8)
        brake = np.clip(0.06 * (excess - 1) + self._rng.normal(0, 0.02), 0, 0.8)
        return float(gas), float(brake)

    def _safe_speed(self, track: Track, situation: Situation) -> float:
        """Slow enough for every bend ahead, counting on braking before it."""
        turns = np.abs(np.diff(heading_ahead(track, situation.tile), prepend=0))
        curvature = np.maximum(np.convolve(turns, np.ones(3) / 3, mode="same") / TILE_LENGTH, 1e-3)
        distance = np.arange(len(turns)) * TILE_LENGTH
        return float(np.sqrt(_SIDEWAYS / curvature + 2 * _BRAKING * distance).min())


def drive(seed: int, index: int, num_frames: int, view: Literal["road", "top"], name: str) -> Trajectory:
    """Drive number `index`, of full length: where the car leaves the road, another one is drawn."""
    attempt = 0
    while True:
        try:
            return _attempt(np.random.default_rng([seed, index, attempt]), num_frames, view, name)
        except _LeftTheRoadError:
            attempt += 1


def _attempt(rng: np.random.Generator, num_frames: int, view: Literal["road", "top"], name: str) -> Trajectory:
    # A simulator of its own: Box2D's results depend on what its world has held before.
    simulator = Simulator(seed=int(rng.integers(2**31)), clockwise=bool(rng.integers(2)))
    driver = Driver(rng)
    track = simulator.tiles
    tile = int(rng.integers(len(track.heading)))
    simulator.place(tile, driver.offset)
    frames, actions, states, ahead = [], [], [], []
    for t in range(-_WARM_UP_FRAMES, num_frames):
        vehicle = simulator.vehicle()
        situation = locate(track, vehicle, tile)
        tile = situation.tile
        if abs(situation.offset) > LOST_OFFSET:
            raise _LeftTheRoadError
        # The frame is recorded before its action is applied.
        action = driver.act(track, vehicle, situation)
        if t >= 0:
            frames.append(simulator.picture() if view == "top" else _road_view(track, vehicle, tile))
            actions.append(action)
            states.append([*vehicle[:3], situation.offset, situation.heading_error, vehicle.speed, tile])
            ahead.append(heading_ahead(track, tile))
        simulator.apply(action, FRAME_SKIP)
    frames, states = np.stack(frames), np.array(states, np.float32)
    return Trajectory(
        frames=frames,
        actions=np.stack(actions),
        labels=labels.labels_from_offset(states[:, 3]),
        visual_labels=labels.visual_labels(frames, view),
        state=states,
        track_ahead=np.stack(ahead),
        dt=DT_S,
        name=name,
    )


def _road_view(track: Track, vehicle: Vehicle, tile: int) -> np.ndarray:
    return camera.draw(track.center, track.heading, vehicle.x, vehicle.y, vehicle.heading, tile)
