"""gymnasium's CarRacing-v3 as a vehicle and a track: its physics, and its picture only when asked for one."""

import math
import os
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from latent_predictor.data.camera import HALF_WIDTH

# Read by SDL and pygame when they load: draw into memory on machines without a screen, and print no greeting.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
with warnings.catch_warnings():
    # pygame may ask for pkg_resources. Box2D's SWIG classes have no __module__, a crash where warnings are errors.
    warnings.filterwarnings("ignore", message=".*pkg_resources.*")
    warnings.filterwarnings("ignore", message=".*Swig.*has no __module__ attribute", category=DeprecationWarning)
    from gymnasium.envs.box2d.car_dynamics import Car
    from gymnasium.envs.box2d.car_racing import FPS, TRACK_DETAIL_STEP, CarRacing

STEPS_PER_SECOND = FPS
TILE_LENGTH = TRACK_DETAIL_STEP


class Track(NamedTuple):
    """The middle of the road as a closed chain of tiles."""

    center: Float64[np.ndarray, "tiles 2"]
    heading: Float64[np.ndarray, " tiles"]
    """Radians, counter-clockwise; 0 drives towards +y, so (cos, sin) of it points to the right."""


class Vehicle(NamedTuple):
    """Where the car is, in world coordinates. `heading` as in Track; `speed` along it, in units per second."""

    x: float
    y: float
    heading: float
    speed: float


class Simulator(CarRacing):
    """A car on a track that depends on the seed only. `clockwise` drives it the other way round."""

    def __init__(self, seed: int, clockwise: bool = False) -> None:
        super().__init__()
        self._drawing = False
        self.reset(seed=seed)
        track = np.array(self.track)
        center, heading = track[:, 2:4], track[:, 1]
        self.tiles = Track(center[::-1], heading[::-1] + math.pi) if clockwise else Track(center, heading)

    def _render(self, mode: str) -> np.ndarray | None:
        # step() draws a 1000x800 picture each time, which is 99 % of its cost.
        return super()._render(mode) if self._drawing else None

    def place(self, tile: int, offset: float) -> None:
        """Put a car at rest on this tile, `offset` half widths right of the middle, along the road."""
        heading = self.tiles.heading[tile]
        x, y = self.tiles.center[tile] + offset * HALF_WIDTH * np.array([math.cos(heading), math.sin(heading)])
        self.car.destroy()
        self.car = Car(self.world, float(heading), float(x), float(y))

    def apply(self, action: np.ndarray, steps: int) -> None:
        """Hold steer [-1, 1], gas [0, 1] and brake [0, 1] for this many steps of 1/50 s."""
        for _ in range(steps):
            self.step(action)

    def vehicle(self) -> Vehicle:
        """The car's state now."""
        hull = self.car.hull
        heading, (vx, vy) = hull.angle, hull.linearVelocity
        speed = -vx * math.sin(heading) + vy * math.cos(heading)
        return Vehicle(*hull.position, heading, speed)

    def picture(self) -> UInt8[np.ndarray, "64 64 3"]:
        """The simulator's own view from above, car at the bottom, driving up."""
        self._drawing = True
        try:
            picture = self._render("state_pixels")
        finally:
            self._drawing = False
        return cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
