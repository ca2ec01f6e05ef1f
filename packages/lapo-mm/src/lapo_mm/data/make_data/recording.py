"""Let somebody act in an environment: recorded step by step, or for the return alone."""

from collections.abc import Callable

import gymnasium
import numpy as np

from drivelab_shared.seeding import keyed_rng
from lapo_mm.data.episodes import Episode
from lapo_mm.data.make_data.behaviour import Behaviour
from lapo_mm.envs.base import BaseEnv

_REFERENCE = 1
"""Marks the random numbers of reference episodes, so that none of them is in the data."""


def record(env: gymnasium.Env, behaviour_class: type[Behaviour], seed: int, index: int) -> Episode:
    """Episode `index` of a dataset, a pure function of (seed, index). `infos` has `mode`, and `sim` where there is one.

    The last of T + 1 modes repeats the one before: nothing is done there any more.
    """
    rng = keyed_rng(seed, index)
    env_seed = int(rng.integers(2**31))
    observation, facts = env.reset(seed=env_seed)
    behaviour = behaviour_class(env.unwrapped, rng)
    observations, infos = [observation], [facts]
    actions, modes, rewards, ends = [], [], [], []
    while not ends or not any(ends[-1]):
        actions.append(behaviour.act())
        modes.append(behaviour.mode)
        observation, reward, terminated, truncated, facts = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        ends.append((terminated, truncated))
        infos.append(facts)
    return Episode(
        observations=_stacked(observations),
        actions=np.stack(actions),
        rewards=np.array(rewards, np.float64),
        terminations=np.array(ends)[:, 0],
        truncations=np.array(ends)[:, 1],
        infos={**_stacked(infos), "mode": np.array([*modes, modes[-1]], np.int64)},
        seed=env_seed,
    )


def _stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def reference_returns(env: BaseEnv, behaviour_class: type[Behaviour], seed: int, index: int) -> tuple[float, float]:
    """Returns of uniform random actions and of the expert, from the same start. Pictures are not drawn."""
    rng = keyed_rng(seed, index, _REFERENCE)
    env_seed = int(rng.integers(2**31))
    box = env.action_space
    env.reset(seed=env_seed)
    random = _return(env, lambda: rng.uniform(box.low, box.high))
    env.reset(seed=env_seed)
    return random, _return(env, behaviour_class(env, rng).expert)


def _return(env: BaseEnv, act: Callable[[], np.ndarray]) -> float:
    total, is_over = 0.0, False
    while not is_over:
        reward, terminated, truncated = env.advance(act())
        total += reward
        is_over = terminated or truncated
    return total
