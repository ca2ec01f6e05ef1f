"""Who acts: modes that change within episodes, at the quality that the datasets are meant to have."""

import gymnasium
import numpy as np
import pytest

from lapo_mm import envs
from lapo_mm.data.episodes import Episode, References
from lapo_mm.data.make_data.behaviour import Behaviour
from lapo_mm.data.make_data.car_racing import CarRacingBehaviour
from lapo_mm.data.make_data.highway import HighwayBehaviour
from lapo_mm.data.make_data.reacher import ReacherBehaviour
from lapo_mm.data.make_data.recipes import RECIPES
from lapo_mm.data.make_data.recording import record, reference_returns
from lapo_mm.envs.reacher import ReacherDistractor

REFERENCES = References(random=-12.55, expert=-1.93, source="measured once over 1,000 episodes")


@pytest.fixture(scope="module")
def reacher() -> gymnasium.Env:
    return gymnasium.make(envs.REACHER)


@pytest.fixture(scope="module")
def episodes(reacher: gymnasium.Env) -> list[Episode]:
    return [record(reacher, ReacherBehaviour, 0, index) for index in range(150)]


def test_modes_have_their_shares_and_last_ten_steps(episodes: list[Episode]) -> None:
    modes = np.stack([episode.infos["mode"][:-1] for episode in episodes])
    np.testing.assert_allclose(np.bincount(modes.ravel()) / modes.size, [0.25, 0.5, 0.25], atol=0.05)
    # A new draw in a tenth of the steps, which gives another mode in 1 - (1/16 + 1/4 + 1/16) of the cases.
    assert (np.diff(modes) != 0).mean() == pytest.approx(0.1 * 0.625, abs=0.01)
    assert (np.array([len(set(row)) for row in modes]) > 1).mean() > 0.85


def test_actions_and_rewards_are_distributed_as_they_should_be(episodes: list[Episode]) -> None:
    actions = np.concatenate([episode.actions for episode in episodes])
    rewards = np.concatenate([episode.rewards for episode in episodes])
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(actions.std(axis=0), [0.49, 0.43], atol=0.04)
    assert (np.abs(actions) == 1).mean() == pytest.approx(0.05, abs=0.015)
    assert rewards.min() > -0.7
    assert rewards.max() < 0


def test_the_mean_episode_is_a_fifth_of_an_expert(episodes: list[Episode]) -> None:
    scores = REFERENCES.score(np.array([episode.rewards.sum() for episode in episodes]))
    assert scores.mean() == pytest.approx(22, abs=4)
    best = np.sort(scores)[-len(scores) // 4 :]
    # One mode per episode would put this at 86, and the best episodes would be the answer.
    assert best.mean() == pytest.approx(59, abs=5)


def test_the_references_of_reacher_are_those_measured_before(reacher: gymnasium.Env) -> None:
    returns = np.array([reference_returns(reacher.unwrapped, ReacherBehaviour, 0, index) for index in range(100)])
    random, expert = returns.mean(axis=0)
    assert random == pytest.approx(-12.55, abs=0.6)
    assert expert == pytest.approx(-1.93, abs=0.25)


@pytest.mark.parametrize(("mode", "reached"), [("target", 4), ("distractor", 6)])
def test_a_mode_without_noise_ends_at_its_disc(reacher: gymnasium.Env, mode: str, reached: int) -> None:
    env: ReacherDistractor = reacher.unwrapped
    distances = []
    for seed in range(20):
        _, facts = env.reset(seed=seed)
        behaviour = ReacherBehaviour(env, np.random.default_rng(seed))
        for _ in range(50):
            _, _, _, _, facts = env.step(behaviour.controls(mode))
        q, disc = facts["sim"][:2], facts["sim"][reached : reached + 2]
        elbow = 0.1 * np.array([np.cos(q[0]), np.sin(q[0])])
        tip = elbow + 0.11 * np.array([np.cos(q.sum()), np.sin(q.sum())])
        distances.append(np.linalg.norm(tip - disc))
    assert max(distances) < 0.01


def test_coloured_noise_is_correlated_and_white_noise_is_not(reacher: gymnasium.Env) -> None:
    behaviour = ReacherBehaviour(reacher.unwrapped, np.random.default_rng(0))
    coloured = np.array([behaviour.noise("noise") for _ in range(20_000)])
    white = np.array([behaviour.noise("target") for _ in range(20_000)])
    assert np.corrcoef(coloured[1:, 0], coloured[:-1, 0])[0, 1] == pytest.approx(0.9, abs=0.02)
    assert coloured.std() == pytest.approx(0.25 / np.sqrt(1 - 0.81), rel=0.1)
    assert np.corrcoef(white[1:, 0], white[:-1, 0])[0, 1] == pytest.approx(0, abs=0.03)
    assert white.std() == pytest.approx(0.3, rel=0.02)


def test_an_episode_can_be_replayed_from_any_of_its_states(reacher: gymnasium.Env, episodes: list[Episode]) -> None:
    episode, env = episodes[7], reacher.unwrapped
    for step in (0, 20, 49):
        env.reset(options={"sim": episode.infos["sim"][step]})
        observation, reward, *_ = env.step(episode.actions[step])
        assert reward == episode.rewards[step]
        for key, array in episode.observations.items():
            np.testing.assert_array_equal(observation[key], array[step + 1])
    observation, _ = env.reset(seed=episode.seed)
    np.testing.assert_array_equal(observation["image"], episode.observations["image"][0])


def test_an_episode_has_one_more_observation_than_actions(episodes: list[Episode]) -> None:
    episode = episodes[0]
    assert len(episode) == 50
    shapes = {key: array.shape for key, array in {**episode.observations, **episode.infos}.items()}
    assert shapes == {"image": (51, 3, 32, 32), "state": (51, 6), "sim": (51, 8), "mode": (51,)}
    assert episode.truncations.tolist() == [False] * 49 + [True]
    assert not episode.terminations.any()


def contents(episode: Episode) -> list[np.ndarray]:
    arrays = [*episode.observations.values(), *episode.infos.values()]
    return [*arrays, episode.actions, episode.rewards, episode.terminations, episode.truncations]


@pytest.mark.parametrize("name", RECIPES)
def test_an_episode_depends_on_seed_and_index_only(name: str) -> None:
    pytest.importorskip({"carracing-mixed": "Box2D", "highway-racetrack": "highway_env"}.get(name, "mujoco"))
    recipe = RECIPES[name]
    env = gymnasium.make(recipe.env_id, max_steps=3)
    keys = ((0, 3), (0, 2), (1, 3), (0, 3))
    first, other_index, other_seed, again = (record(env, recipe.behaviour_class(), *key) for key in keys)
    for one, other in zip(contents(first), contents(again), strict=True):
        np.testing.assert_array_equal(one, other)
    for other in (other_index, other_seed):
        assert first.seed != other.seed
        assert (first.observations["image"] != other.observations["image"]).any()


@pytest.mark.parametrize("behaviour", [ReacherBehaviour, CarRacingBehaviour, HighwayBehaviour])
def test_modes_add_up_and_begin_with_the_expert(behaviour: type[Behaviour]) -> None:
    assert sum(behaviour.MODES.values()) == pytest.approx(1)
    assert 0 < behaviour.SWITCH < 0.2


def test_styles_of_driving_differ_in_what_they_earn() -> None:
    pytest.importorskip("Box2D")
    env = gymnasium.make(envs.CAR_RACING, max_steps=120).unwrapped
    returns = {}
    for mode in CarRacingBehaviour.MODES:
        env.reset(seed=1)
        behaviour = CarRacingBehaviour(env, np.random.default_rng(0))
        returns[mode] = sum(env.advance(behaviour.controls(mode))[0] for _ in range(120))
    assert returns["expert"] > 1.4 * returns["swerving"] > 1.4 * returns["slow"] > 0
    assert returns["reckless"] < 0.5 * returns["expert"]


def test_the_racing_expert_stays_on_the_road() -> None:
    pytest.importorskip("Box2D")
    env = gymnasium.make(envs.CAR_RACING).unwrapped
    env.reset(seed=2)
    behaviour = CarRacingBehaviour(env, np.random.default_rng(0))
    is_over, total = False, 0.0
    while not is_over:
        reward, terminated, truncated = env.advance(behaviour.expert())
        total += reward
        is_over = terminated or truncated
        nearest = np.linalg.norm(env.track[:, 1:] - env.position, axis=1).min()
        assert nearest < 40 / 6  # half the road's width
    assert terminated  # by finishing the lap
    assert total > 800


def test_the_highway_expert_outdoes_random_actions() -> None:
    pytest.importorskip("highway_env")
    env = gymnasium.make(envs.HIGHWAY, max_steps=30).unwrapped
    random, expert = reference_returns(env, HighwayBehaviour, 0, 0)
    assert expert > 10
    assert expert > 1.5 * random
