"""The arm, its picture, and the promise that a step depends on the state alone."""

import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from lapo_mm import envs
from lapo_mm.envs import raster
from lapo_mm.envs.arm import LOWER_M, UPPER_M, fingertip, way_to
from lapo_mm.envs.reacher import MODEL, ReacherDistractor

SIM = np.array([0.4, -1.2, 0.3, -0.2, 0.1, 0.05, -0.12, 0.03])


def random_poses(num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(-3, 3, (num, 2)), rng.uniform(-0.25, 0.25, (num, 2)), rng.uniform(-0.25, 0.25, (num, 2))


def distance_to_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    length = np.linalg.norm(end - start)
    along = 0.0 if length == 0 else np.clip((point - start) @ (end - start) / length**2, 0, 1)
    return float(np.linalg.norm(point - start - along * (end - start)))


def slow_picture(q: np.ndarray, target: np.ndarray, distractor: np.ndarray) -> np.ndarray:
    """One pixel and one shape at a time, as the definition says."""
    shoulder, elbow = np.zeros(2), UPPER_M * np.array([np.cos(q[0]), np.sin(q[0])])
    tip = elbow + LOWER_M * np.array([np.cos(q.sum()), np.sin(q.sum())])
    channels = [
        [(target, target, 0.014)],
        [(shoulder, elbow, 0.008), (elbow, tip, 0.008)],
        [(distractor, distractor, 0.014)],
    ]
    picture, pixel = np.zeros((3, 32, 32)), 0.54 / 32
    for channel, shapes in enumerate(channels):
        for row, column in np.ndindex(32, 32):
            middle = np.array([(column + 0.5) * pixel - 0.27, 0.27 - (row + 0.5) * pixel])
            for start, end, radius in shapes:
                covered = np.clip(1 - (distance_to_segment(middle, start, end) - radius) / pixel, 0, 1)
                picture[channel, row, column] = max(picture[channel, row, column], 255 * covered)
    return picture


def test_the_picture_is_that_of_the_definition() -> None:
    q, target, distractor = random_poses(4)
    found = raster.draw(q, target, distractor)
    assert (found.dtype, found.shape) == (np.uint8, (4, 3, 32, 32))
    for index in range(4):
        expected = slow_picture(q[index], target[index], distractor[index])
        assert np.abs(found[index] - expected).max() < 0.51


def test_many_pictures_at_once_are_those_drawn_one_by_one() -> None:
    poses = random_poses(50)
    expected = np.stack([raster.draw(*(part[index] for part in poses)) for index in range(50)])
    np.testing.assert_array_equal(raster.draw(*poses), expected)


def test_every_channel_shows_one_thing() -> None:
    q, disc, other = np.array([0.3, 0.9]), np.array([0.1, 0.12]), np.array([-0.1, -0.05])
    before = raster.draw(q, disc, disc)
    moved = [raster.draw(q, other, disc), raster.draw(-q, disc, disc), raster.draw(q, disc, other)]
    changed = [(picture != before).any(axis=(1, 2)).tolist() for picture in moved]
    assert changed == [[True, False, False], [False, True, False], [False, False, True]]


def test_target_and_distractor_look_the_same() -> None:
    picture = raster.draw(np.zeros(2), np.array([0.06, 0.17]), np.array([0.06, 0.17]))
    np.testing.assert_array_equal(picture[0], picture[2])
    assert picture[0].max() == 255
    row, column = np.unravel_index(picture[0].argmax(), (32, 32))
    assert row < 16 < column  # up and to the right


def test_the_fingertip_is_where_mujoco_has_it() -> None:
    model = mujoco.MjModel.from_xml_path(str(MODEL))
    data = mujoco.MjData(model)
    for q in random_poses(5)[0]:
        data.qpos[:2] = q
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(fingertip(q), data.body("fingertip").xpos[:2], atol=1e-12)


def test_the_way_to_a_point_ends_there_and_is_the_shorter_one() -> None:
    q, points, _ = random_poses(50)
    for start, point in zip(q, points, strict=True):
        point = point * 0.2 / max(0.2, np.linalg.norm(point) + 1e-9)
        way = np.array(way_to(point, start))
        np.testing.assert_allclose(fingertip(start + way), point, atol=1e-6)
        assert np.linalg.norm(way) < 2 * np.pi
    assert np.abs(way_to(np.array(fingertip(q[0])), q[0])).max() < 1e-6


def test_the_elbow_never_turns_through_its_end_stop() -> None:
    bent = np.array([0.0, 2.8])
    mirrored = np.array(fingertip(np.array([1.0, -2.8])))
    _, elbow = way_to(mirrored, bent)
    assert abs(bent[1] + elbow) < 3.0


@pytest.fixture(scope="module")
def env() -> ReacherDistractor:
    return ReacherDistractor()


# Velocities have no bounds; the checker would like some.
@pytest.mark.filterwarnings("ignore:.*Box observation space (minimum|maximum) value is:UserWarning")
def test_gymnasium_finds_nothing_wrong_with_it(env: ReacherDistractor) -> None:
    check_env(env, skip_render_check=True)


def test_an_episode_is_truncated_after_its_last_step_and_never_terminated(env: ReacherDistractor) -> None:
    env.reset(seed=1)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(50)]
    assert ends == [(False, False)] * 49 + [(False, True)]


def test_reward_is_distance_and_clipped_torque(env: ReacherDistractor) -> None:
    env.reset(options={"sim": SIM})
    _, reward, _, _, facts = env.step(np.array([3.0, -0.5]))
    q, target = facts["sim"][:2], SIM[4:6]
    assert reward == pytest.approx(-np.linalg.norm(np.array(fingertip(q)) - target) - 0.1 * (1.0**2 + 0.5**2))
    np.testing.assert_array_equal(facts["sim"][4:], SIM[4:])


def test_the_distractor_plays_no_part_in_the_reward(env: ReacherDistractor) -> None:
    rewards = []
    for distractor in ([-0.12, 0.03], [0.0, -0.15]):
        env.reset(options={"sim": np.concatenate([SIM[:6], distractor])})
        rewards.append(env.step(np.array([0.2, 0.1]))[1])
    assert rewards[0] == rewards[1]


def test_the_state_knows_neither_disc(env: ReacherDistractor) -> None:
    states = [env.reset(options={"sim": np.concatenate([SIM[:4], discs])})[0]["state"] for discs in np.eye(4) * 0.1]
    assert all((state == states[0]).all() for state in states)
    np.testing.assert_allclose(states[0], [np.cos(0.4), np.cos(1.2), np.sin(0.4), -np.sin(1.2), 0.03, -0.02], rtol=1e-6)


def test_a_start_keeps_the_rules(env: ReacherDistractor) -> None:
    sims = np.stack([env.reset(seed=seed)[1]["sim"] for seed in range(200)])
    q, qdot, target, distractor = np.split(sims, 4, axis=1)
    assert (np.abs(q) <= np.pi * np.array([1, 0.9])).all()
    assert (np.abs(q).max(axis=0) > np.pi * np.array([1, 0.9]) * 0.95).all()
    assert (np.abs(qdot) <= 0.005).all()
    for disc in (target, distractor):
        assert (np.linalg.norm(disc, axis=1) > 0.05).all()
        assert (np.linalg.norm(disc, axis=1) < 0.2).all()
    assert (np.linalg.norm(target - distractor, axis=1) > 0.1).all()


def test_the_same_seed_gives_the_same_episode_whatever_came_before(env: ReacherDistractor) -> None:
    def episode() -> list[np.ndarray]:
        observation, _ = env.reset(seed=5)
        return [observation["image"], *(env.step(np.array([1.0, 0.5]))[0]["state"] for _ in range(30))]

    first = episode()
    env.reset(seed=6)
    env.step(np.ones(2))
    for one, other in zip(first, episode(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_going_back_to_a_state_repeats_what_followed_exactly() -> None:
    env, again = ReacherDistractor(), ReacherDistractor(max_steps=80)
    rng = np.random.default_rng(0)
    _, facts = env.reset(seed=2)
    for step in range(50):
        # Towards the end stop of the elbow, where a warm start would show.
        action = np.array([rng.uniform(-1, 1), 1.0 if step % 20 < 15 else -1.0])
        again.reset(options={"sim": facts["sim"]})
        observation, reward, _, _, facts = env.step(action)
        other_observation, other_reward, _, _, other_facts = again.step(action)
        assert reward == other_reward
        np.testing.assert_array_equal(facts["sim"], other_facts["sim"])
        for key in ("image", "state"):
            np.testing.assert_array_equal(observation[key], other_observation[key])
    again.reset(options={"sim": facts["sim"]})
    assert [again.step(np.zeros(2))[3] for _ in range(80)] == [False] * 79 + [True]


@pytest.mark.parametrize("sim", [np.zeros(7), np.full(8, np.nan)])
def test_a_state_that_is_none_is_refused(env: ReacherDistractor, sim: np.ndarray) -> None:
    with pytest.raises(ValueError, match="sim: expected 8 finite numbers"):
        env.reset(options={"sim": sim})


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0.0, np.nan])])
def test_an_action_that_is_none_is_refused(env: ReacherDistractor, action: np.ndarray) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action: expected 2 finite numbers"):
        env.step(action)


def test_advancing_without_looking_leads_to_the_same_place(env: ReacherDistractor) -> None:
    env.reset(seed=3)
    stepped = env.step(np.array([0.4, -0.3]))
    env.reset(seed=3)
    assert env.advance(np.array([0.4, -0.3])) == stepped[1:4]
    np.testing.assert_array_equal(env.step(np.zeros(2))[4]["sim"][4:], stepped[4]["sim"][4:])


def test_the_length_of_an_episode_is_part_of_the_spec() -> None:
    env = gymnasium.make(envs.REACHER, max_steps=3)
    env.reset(seed=0)
    assert [env.step(np.zeros(2))[3] for _ in range(3)] == [False, False, True]
    assert EnvSpec.from_json(env.spec.to_json()).kwargs == {"max_steps": 3}


RECOVER = """
import sys
import gymnasium
from gymnasium.envs.registration import EnvSpec
observation, _ = gymnasium.make(EnvSpec.from_json(sys.argv[1])).reset(seed=4)
assert "lapo_mm.envs" in sys.modules  # by the entry point alone
print(observation["image"].sum())
"""


def test_the_spec_alone_makes_the_environment_in_another_process(env: ReacherDistractor) -> None:
    spec = gymnasium.spec(envs.REACHER).to_json()
    process = subprocess.run([sys.executable, "-c", RECOVER, spec], capture_output=True, text=True, check=True)
    assert int(process.stdout) == env.reset(seed=4)[0]["image"].sum()
