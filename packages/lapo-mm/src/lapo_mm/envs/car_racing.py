"""gymnasium's CarRacing-v3 with a small picture of the road, proprioception, and two controls instead of three."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box, Dict
from jaxtyping import Float, Float64

from drivelab_shared.errors import UserError
from lapo_mm.envs import car_view
from lapo_mm.envs.base import BaseEnv, Observation

FRAME_SKIP = 4
"""Physics steps of 1/50 s per step."""

_UNITS = np.array([0.02, 0.25, 2.5, 0.01, 0.01, 0.01, 0.01])


class CarRacingState(BaseEnv):
    """Drive on, along a track that depends on the seed only. A step is 0.08 s.

    Action: steer in [-1, 1], positive to the right; pedal in [-1, 1], positive is gas, negative is brake. `image`: see
    `car_view`. `state`: speed / 50, yaw rate / 4, steering angle / 0.4, and the four wheel speeds / 100 (units of the
    simulator). Reward: the simulator's, 1000 / N for each of the N tiles of the track when it is first reached, and
    -0.1 for each physics step. Terminated after a lap, and where the car leaves the field (reward -100).

    Raises:
        UserError: Box2D or pygame is not installed.
    """

    observation_space = Dict(
        image=Box(0, 255, (3, car_view.SIZE, car_view.SIZE), np.uint8), state=Box(-np.inf, np.inf, (7,), np.float32)
    )
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, max_steps: int = 300) -> None:
        super().__init__(max_steps)
        self._simulator = _simulator()

    @property
    def track(self) -> Float64[np.ndarray, "tiles 3"]:
        """A closed ring: heading (radians, counter-clockwise, 0 drives towards +y) and middle of the road, x and y."""
        return self._track

    @property
    def position(self) -> Float64[np.ndarray, " 2"]:
        """Of the car, in world coordinates."""
        return np.array(self._simulator.car.hull.position)

    @property
    def heading(self) -> float:
        """Of the car, in radians, as the tiles have it."""
        return self._simulator.car.hull.angle

    @property
    def velocity(self) -> Float64[np.ndarray, " 2"]:
        """Of the car, in world coordinates, in units per second."""
        return np.array(self._simulator.car.hull.linearVelocity)

    def _begin(self, options: Mapping[str, Any]) -> None:
        self._simulator._destroy()  # or the memory of its world is never freed
        # A new one: Box2D's results depend on what its world has held before.
        self._simulator = _simulator()
        self._simulator.reset(seed=int(self.np_random.integers(2**31)))
        self._track = np.array(self._simulator.track)[:, 1:]
        corners, colors = zip(*self._simulator.road_poly, strict=True)
        self._scene = car_view.make_scene(np.array(corners), np.array(colors).astype(np.uint8))
        self._body = _Body(self._simulator.car)

    def _move(self, action: Float[np.ndarray, " 2"]) -> tuple[float, bool]:
        steer, pedal = action
        controls = np.array([steer, max(pedal, 0.0), max(-pedal, 0.0)])
        total = 0.0
        for _ in range(FRAME_SKIP):
            _, reward, terminated, _, _ = self._simulator.step(controls)
            total += reward
            if terminated:
                break
        return float(total), terminated

    def _observe(self) -> Observation:
        car = self._simulator.car
        speed = np.linalg.norm(self.velocity)
        wheels = [wheel.omega for wheel in car.wheels]
        state = np.array([speed, car.hull.angularVelocity, car.wheels[0].joint.angle, *wheels]) * _UNITS
        image = car_view.draw(self._scene, self.position, self.heading, self._body.corners(), self._body.colors)
        return {"image": image, "state": state.astype(np.float32)}


class _Body:
    """The polygons of hull and wheels, filled up to the same number of corners by repeating the last."""

    def __init__(self, car: Any) -> None:
        bodies = [*car.wheels, car.hull]
        parts = [(body, fixture.shape.vertices) for body in bodies for fixture in body.fixtures]
        most = max(len(vertices) for _, vertices in parts)
        self._bodies = bodies
        self._body_of_part = [bodies.index(body) for body, _ in parts]
        self._vertices = np.array([[*vertices, *[vertices[-1]] * (most - len(vertices))] for _, vertices in parts])
        self.colors = (255 * np.array([body.color for body, _ in parts])).astype(np.uint8)

    def corners(self) -> Float64[np.ndarray, "parts corners 2"]:
        """In world coordinates."""
        angles = np.array([body.angle for body in self._bodies])[self._body_of_part, None]
        positions = np.array([tuple(body.position) for body in self._bodies])[self._body_of_part, None]
        cos, sin = np.cos(angles), np.sin(angles)
        x, y = self._vertices[..., 0], self._vertices[..., 1]
        return positions + np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def _simulator() -> Any:
    """CarRacing that draws nothing: its own picture of 1000 x 800 pixels takes 99 % of a step."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        with warnings.catch_warnings():
            # pygame may ask for pkg_resources. Box2D's SWIG classes have no __module__, a crash where these are errors.
            warnings.simplefilter("ignore")
            from gymnasium.envs.box2d.car_racing import CarRacing
    except (ImportError, DependencyNotInstalled):
        expected = "Box2D and pygame, which the extra installs: pip install 'lapo-mm[carracing]'"
        raise UserError(f"CarRacingState: expected {expected}, got neither or only one") from None
    simulator = CarRacing()
    simulator._render = lambda mode: None
    return simulator
