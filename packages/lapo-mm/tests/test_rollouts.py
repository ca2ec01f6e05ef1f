"""Rollouts: the same episodes whatever acts beside them, and sums that can be added up by hand."""

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from lapo_mm.rollouts import roll_out, seeds

torch.set_num_threads(1)
CPU = torch.device("cpu")


class Counting(gymnasium.Env):
    """Lasts `seed % 3 + 1` steps; the reward is the action, the observation counts steps. Odd seeds terminate."""

    observation_space, action_space = Box(-9, 9, (1,), np.float32), Box(-9, 9, (1,), np.float32)
    closed = 0

    def reset(self, *, seed=None, options=None):
        self.seed, self.count = seed, (options or {}).get("start", 0)
        return self._seen(), {}

    def step(self, action):
        self.count += 1
        is_over = self.count >= self.seed % 3 + 1
        return self._seen(), float(action[0]), is_over and self.seed % 2 == 1, is_over and self.seed % 2 == 0, {}

    def close(self):
        type(self).closed += 1

    def _seen(self):
        return np.array([self.count], np.float32)


def read(observation):
    return {"state": observation}


def act(observation):
    return observation["state"] + 1.0  # 1, 2, 3 ...


def test_returns_lengths_and_endings_are_those_of_each_episode():
    done = roll_out(act, Counting, read, seeds(0, 4), CPU, gamma=0.5)
    assert done.lengths.tolist() == [1, 2, 3, 1]
    assert done.returns.tolist() == [1, 3, 6, 1]
    assert done.discounted.tolist() == [1, 1 + 0.5 * 2, 1 + 0.5 * 2 + 0.25 * 3, 1]
    assert done.terminated.tolist() == [False, True, False, True]


def test_how_many_act_side_by_side_changes_nothing():
    together, alone = (roll_out(act, Counting, read, seeds(5, 7), CPU, num_parallel=n) for n in (50, 1))
    for name in ("returns", "discounted", "lengths", "terminated"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


def test_first_actions_are_played_once_and_then_the_policy_acts():
    first = np.array([[10.0], [20.0], [30.0]], np.float32)
    done = roll_out(act, Counting, read, seeds(0, 3), CPU, first_actions=first, num_parallel=2)
    assert done.returns.tolist() == [10, 20 + 2, 30 + 2 + 3]


def test_options_of_a_reset_reach_the_environment():
    done = roll_out(act, Counting, read, [{"seed": 2, "options": {"start": 2}}], CPU)
    assert done.lengths.tolist() == [1]


def test_traces_are_those_of_the_first_episodes_and_have_one_observation_more_than_actions():
    done = roll_out(act, Counting, read, seeds(0, 3), CPU, num_traces=2, num_parallel=1)
    assert len(done.traces) == 2
    trace = done.traces[1]
    assert [float(one["state"][0]) for one in trace.observations] == [0, 1, 2]
    assert [float(action[0]) for action in trace.actions] == [1, 2]
    assert trace.rewards == [1, 2]


def test_environments_are_closed():
    Counting.closed = 0
    roll_out(act, Counting, read, seeds(0, 5), CPU, num_parallel=2)
    assert Counting.closed == 2
