"""The race track with a lidar: three modalities, and a reward that standing still does not earn."""

import builtins

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from drivelab_shared.errors import UserError
from lapo_mm import envs
from lapo_mm.envs.highway import HighwayRacetrack

pytest.importorskip("highway_env")

KEEP = np.zeros(2)


@pytest.fixture(scope="module")
def env() -> HighwayRacetrack:
    return HighwayRacetrack(max_steps=5)


def test_there_are_three_modalities_inside_the_space(env: HighwayRacetrack) -> None:
    observation, _ = env.reset(seed=0)
    assert {key: (array.dtype.name, array.shape) for key, array in observation.items()} == {
        "image": ("uint8", (2, 48, 48)),
        "state": ("float32", (4,)),
        "lidar": ("float32", (16, 2)),
    }
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(env.step(KEEP)[0])


@pytest.mark.parametrize("driver", [None, "dummy"])
def test_the_picture_is_not_black_without_a_screen(driver: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if driver:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    env = HighwayRacetrack()
    env.reset(seed=0)
    observation, *_ = env.step(KEEP)
    assert (observation["image"].std(axis=(1, 2)) > 10).all()
    assert (observation["image"][0] != observation["image"][1]).any()


def test_the_state_is_the_cars_own_motion(env: HighwayRacetrack) -> None:
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.5, 0.1]))
    car = env.simulator.vehicle
    expected = [*car.velocity / 10, np.cos(car.heading), np.sin(car.heading)]
    np.testing.assert_allclose(observation["state"], expected, rtol=1e-5)


def test_the_lidar_sees_the_nearest_car(env: HighwayRacetrack) -> None:
    observation, _ = env.reset(seed=0)
    car, *others = env.simulator.road.vehicles
    nearest_m = min(np.linalg.norm(other.position - car.position) for other in others)
    assert 40 * observation["lidar"][:, 0].min() == pytest.approx(min(nearest_m, 40.0), abs=3.0)


def test_standing_still_earns_nothing(env: HighwayRacetrack) -> None:
    env.reset(seed=0)
    env.simulator.vehicle.speed = 0.0
    assert env.step(KEEP)[1] == 0.0
    env.reset(seed=0)
    env.simulator.vehicle.speed = 8.0
    assert env.step(KEEP)[1] > 0.1


def test_a_crash_terminates_and_the_limit_truncates(env: HighwayRacetrack) -> None:
    env.reset(seed=0)
    assert [env.step(KEEP)[2:4] for _ in range(5)][-1] == (False, True)
    env.reset(seed=0)
    env.simulator.vehicle.crashed = True
    assert env.step(KEEP)[2:4] == (True, False)


def test_the_same_seed_gives_the_same_episode(env: HighwayRacetrack) -> None:
    def episode() -> list[dict[str, np.ndarray]]:
        return [env.reset(seed=7)[0], *(env.step(np.array([0.3, 0.05]))[0] for _ in range(4))]

    for one, other in zip(episode(), episode(), strict=True):
        for key, array in one.items():
            np.testing.assert_array_equal(array, other[key])


def test_the_spec_alone_makes_the_environment(env: HighwayRacetrack) -> None:
    found = gymnasium.make(EnvSpec.from_json(gymnasium.spec(envs.HIGHWAY).to_json()))
    assert found.unwrapped.max_steps == 100
    np.testing.assert_array_equal(found.reset(seed=4)[0]["image"], env.reset(seed=4)[0]["image"])


def test_without_highway_env_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name.startswith("highway_env"):
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"HighwayRacetrack: expected .*lapo-mm\[highway\]"):
        HighwayRacetrack()
