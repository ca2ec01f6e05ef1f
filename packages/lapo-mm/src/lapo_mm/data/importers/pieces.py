"""From what other layouts have of an episode to an Episode, whose last observation they often lack."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from drivelab_shared.origin import counted
from lapo_mm.data.episodes import Episode


def is_lost(num_frames: int, steps: int, terminal: bool) -> bool:
    """Whether the last step cannot be kept: nobody knows what it led to, and its value is needed.

    With as many observations as steps, the one that the last step led to is missing. Where the task was over then,
    nothing of it is ever used. Where only the recording ended, the value of the next observation counts, and taking
    another one for it would teach a wrong value, so the episode is a step shorter.
    """
    return num_frames == steps and not terminal


def assembled(
    observations: Mapping[str, np.ndarray],
    actions: Float[np.ndarray, "steps actions"],
    rewards: Float[np.ndarray, " steps"],
    terminal: bool,
) -> Episode | None:
    """An episode of T or T + 1 observations and T steps; None if nothing is left of it.

    Args:
        observations: by key. Where there are T and the task was over, the last one is repeated to fill the gap.
        actions: in the units of the environment.
        rewards: of each step.
        terminal: the task was over with the last step; else the recording was cut.
    """
    steps, num_frames = len(actions), len(next(iter(observations.values())))
    if is_lost(num_frames, steps, terminal):
        actions, rewards, steps = actions[:-1], rewards[:-1], steps - 1
    elif num_frames == steps:
        observations = {key: np.concatenate([frames, frames[-1:]]) for key, frames in observations.items()}
    if steps == 0:
        return None
    ends = np.arange(steps) == steps - 1
    return Episode(
        observations=dict(observations),
        actions=actions,
        rewards=rewards,
        terminations=ends & terminal,
        truncations=ends & (not terminal),
    )


def loss_note(num_lost: int) -> str:
    """What to say where so many episodes are a step shorter than in the file."""
    if not num_lost:
        return ""
    return f"Nothing says what the last step of {counted(num_lost, 'episode')} led to, so it is left out."
