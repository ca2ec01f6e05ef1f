"""Let a policy act: several environments side by side, one forward pass for all of them per step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lapo_mm.algorithms import Algorithm
from lapo_mm.models.encoder import Observation

Read = Callable[[Mapping[str, np.ndarray] | np.ndarray], dict[str, np.ndarray]]
"""From an environment's observation to modalities, as the dataset was read."""

Act = Callable[[Observation], Float[Tensor, "batch actions"]]
"""Observations on the device -> actions for the environment."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """What came of some episodes."""

    returns: Float[np.ndarray, " episodes"]
    """Undiscounted sums of rewards."""
    discounted: Float[np.ndarray, " episodes"]
    """Sums of gamma^t * reward."""
    lengths: Int[np.ndarray, " episodes"]
    terminated: Bool[np.ndarray, " episodes"]
    traces: list["Trace"] = field(default_factory=list)
    """Of the first episodes, as many as were asked for."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode step by step: T + 1 observations, T actions and rewards."""

    observations: list[dict[str, np.ndarray]] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


def roll_out(
    act: Act,
    make_env: Callable[[], gymnasium.Env],
    read: Read,
    resets: Sequence[Mapping],
    device: torch.device,
    *,
    gamma: float = 1.0,
    first_actions: Float[np.ndarray, "episodes actions"] | None = None,
    num_traces: int = 0,
    num_parallel: int = 50,
) -> Rollouts:
    """One episode per entry of `resets`, until it ends.

    Args:
        act: the policy.
        make_env: makes an environment; as many live at a time as act side by side.
        read: see Read.
        resets: keyword arguments of `env.reset`, such as `{"seed": 7}`: the same list means the same episodes.
        device: of the policy.
        gamma: discount of `discounted`.
        first_actions: played in the first step instead of the policy's, one per episode.
        num_traces: how many episodes are kept step by step.
        num_parallel: environments side by side.
    """
    parts = []
    envs = [make_env() for _ in range(min(num_parallel, len(resets)))]
    try:
        for start in range(0, len(resets), num_parallel):
            chosen = slice(start, start + num_parallel)
            first = None if first_actions is None else first_actions[chosen]
            parts.append(_together(act, envs, read, resets[chosen], device, gamma, first, num_traces - start))
    finally:
        for env in envs:
            env.close()
    merged = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("returns", "discounted", "lengths", "terminated")
    }
    return Rollouts(**merged, traces=[trace for part in parts for trace in part.traces])


def _together(
    act: Act,
    envs: Sequence[gymnasium.Env],
    read: Read,
    resets: Sequence[Mapping],
    device: torch.device,
    gamma: float,
    first_actions: np.ndarray | None,
    num_traces: int,
) -> Rollouts:
    num = len(resets)
    seen = [read(env.reset(**reset)[0]) for env, reset in zip(envs, resets, strict=False)]
    returns, discounted = np.zeros(num), np.zeros(num)
    lengths, terminated = np.zeros(num, dtype=np.int64), np.zeros(num, dtype=bool)
    traces = [Trace() for _ in range(min(num, max(0, num_traces)))]
    for trace, observation in zip(traces, seen, strict=False):
        trace.observations.append(observation)
    running = list(range(num))
    while running:
        if first_actions is not None and not lengths.any():
            actions = first_actions
        else:
            actions = _actions(act, [seen[i] for i in running], device)
        still = []
        for action, i in zip(actions, running, strict=True):
            observation, reward, terminated[i], truncated, _ = envs[i].step(action)
            seen[i] = read(observation)
            returns[i] += reward
            discounted[i] += gamma ** lengths[i] * reward
            lengths[i] += 1
            if i < len(traces):
                traces[i].observations.append(seen[i])
                traces[i].actions.append(np.asarray(action))
                traces[i].rewards.append(float(reward))
            if not (terminated[i] or truncated):
                still.append(i)
        running = still
    return Rollouts(returns, discounted, lengths, terminated, traces)


@torch.no_grad()
def _actions(act: Act, observations: list[dict[str, np.ndarray]], device: torch.device) -> np.ndarray:
    batch = {
        name: torch.from_numpy(np.stack([one[name] for one in observations])).to(device) for name in observations[0]
    }
    return act(batch).float().cpu().numpy()


def seeds(first: int, num_episodes: int) -> list[dict[str, int]]:
    """Resets of so many episodes; the same numbers always mean the same episodes."""
    return [{"seed": first + episode} for episode in range(num_episodes)]


def acting(algorithm: Algorithm) -> Act:
    """The algorithm as a policy, in eval mode while it acts."""

    def act(observation: Observation) -> Tensor:
        was_training = algorithm.training
        algorithm.eval()
        actions = algorithm(observation)
        algorithm.train(was_training)
        return actions

    return act
