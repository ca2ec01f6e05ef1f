"""The racing car: its picture against the simulator's own, its controls, and the ends of its episodes."""

import builtins

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from drivelab_shared.errors import UserError
from lapo_mm import envs
from lapo_mm.envs import car_view
from lapo_mm.envs.car_racing import FRAME_SKIP, CarRacingState

pytest.importorskip("Box2D")

AHEAD = np.array([0.0, 0.5])


@pytest.fixture(scope="module")
def env() -> CarRacingState:
    return CarRacingState(max_steps=30)


# Speeds have no bounds; the checker would like some.
@pytest.mark.filterwarnings("ignore:.*Box observation space (minimum|maximum) value is:UserWarning")
def test_gymnasium_finds_nothing_wrong_with_it(env: CarRacingState) -> None:
    check_env(env, skip_render_check=True)


def test_the_picture_is_the_one_that_the_simulator_draws(env: CarRacingState) -> None:
    env.reset(seed=3)
    for _ in range(15):  # past the first second, in which the simulator zooms
        observation, *_ = env.step(np.array([-0.1, 0.4]))
    picture = type(env._simulator)._render(env._simulator, "state_pixels")
    expected = cv2.resize(np.ascontiguousarray(picture[:84]), (48, 48), interpolation=cv2.INTER_AREA)
    difference = np.abs(observation["image"].transpose(1, 2, 0).astype(int) - expected)
    assert difference.mean() < 4
    assert (difference.max(axis=-1) < 30).mean() > 0.97


def test_beyond_the_field_there_is_nothing() -> None:
    scene = car_view.make_scene(np.zeros((0, 4, 2)), np.zeros((0, 3), np.uint8))
    picture = car_view.draw(scene, np.array([1000.0, 0.0]), 0.0, np.zeros((0, 4, 2)), scene.colors[:0])
    assert (picture == 0).all()


def test_the_car_is_red_and_drives_up_on_grey(env: CarRacingState) -> None:
    image = env.reset(seed=0)[0]["image"]
    red, green, _ = image[:, 41:44, 24].astype(int)
    assert (red - green > 40).any()
    assert np.ptp(image[:, 10:35, 24].astype(int), axis=0).max() < 5


def test_the_state_is_speed_yaw_rate_steering_and_wheels(env: CarRacingState) -> None:
    at_rest = env.reset(seed=0)[0]["state"]
    assert np.abs(at_rest).max() < 0.02
    for _ in range(8):
        observation, *_ = env.step(AHEAD)
    assert observation["state"][0] == pytest.approx(np.linalg.norm(env.velocity) / 50, rel=1e-5)
    assert (observation["state"][3:] > 0.1).all()
    heading = env.heading
    for _ in range(4):
        observation, *_ = env.step(np.array([1.0, 0.0]))
    assert env.heading < heading - 0.05  # to the right
    assert observation["state"][1] < -0.01
    assert abs(observation["state"][2]) == pytest.approx(1.0, abs=0.15)


def test_a_negative_pedal_brakes(env: CarRacingState) -> None:
    env.reset(seed=0)
    for _ in range(8):
        env.step(AHEAD)
    before = np.linalg.norm(env.velocity)
    for _ in range(4):
        env.step(np.array([0.0, -0.5]))
    assert np.linalg.norm(env.velocity) < 0.7 * before


def test_reward_counts_tiles_and_time(env: CarRacingState) -> None:
    env.reset(seed=0)
    rewards = np.array([env.step(AHEAD)[1] for _ in range(20)])
    per_tile = 1000 / len(env.track)
    tiles = (rewards + 0.1 * FRAME_SKIP) / per_tile
    np.testing.assert_allclose(tiles, np.rint(tiles), atol=1e-6)
    assert tiles.sum() >= 3


def test_a_step_is_four_of_the_simulator(env: CarRacingState) -> None:
    env.reset(seed=0)
    simulator = env._simulator
    start = simulator.t
    env.step(AHEAD)
    assert simulator.t - start == pytest.approx(4 / 50)


def test_leaving_the_field_terminates_and_the_limit_truncates(env: CarRacingState) -> None:
    env.reset(seed=0)
    ends = [env.step(AHEAD)[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]
    env.reset(seed=0)
    env._simulator.car.hull.position = (400.0, 0.0)
    _, reward, terminated, truncated, _ = env.step(AHEAD)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-100)


def test_the_same_seed_gives_the_same_episode_whatever_came_before(env: CarRacingState) -> None:
    def episode() -> list[np.ndarray]:
        observation, _ = env.reset(seed=5)
        return [observation["image"], *(env.step(np.array([0.2, 0.7]))[0]["state"] for _ in range(25))]

    first = episode()
    env.reset(seed=6)
    env.step(AHEAD)
    for one, other in zip(first, episode(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_spec_alone_makes_the_environment(env: CarRacingState) -> None:
    found = gymnasium.make(EnvSpec.from_json(gymnasium.spec(envs.CAR_RACING).to_json()))
    assert found.unwrapped.max_steps == 300
    np.testing.assert_array_equal(found.reset(seed=4)[0]["image"], env.reset(seed=4)[0]["image"])


def test_without_box2d_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name.startswith("gymnasium.envs.box2d"):
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"CarRacingState: expected .*lapo-mm\[carracing\]"):
        CarRacingState()
