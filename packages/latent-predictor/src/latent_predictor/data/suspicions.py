"""What is allowed in a trajectory but rarely meant: each is a warning, because only a person can tell."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from latent_predictor.data.problems import Problem
from latent_predictor.data.timing import Surprises, steering_lag
from latent_predictor.data.trajectory import Frames, Trajectory

ACTION_NAMES = ("steer", "gas", "brake")
_RANGES = ((-1, 1), (0, 1), (0, 1))
_STILL_SHARE = 0.01
_REDDER = 40


def suspicions(path: Path, trajectory: Trajectory) -> list[Problem]:
    """Warnings about one trajectory."""
    texts = [*_still_frames(trajectory.frames), *_swapped_colors(trajectory.frames), *_action_ranges(trajectory)]
    return [Problem(path, text, "warning") for text in texts]


def _still_frames(frames: Frames) -> list[str]:
    num_still = sum(np.array_equal(before, after) for before, after in itertools.pairwise(frames))
    if num_still <= _STILL_SHARE * len(frames):
        return []
    return [f"frames: expected pictures that change, got {num_still} of {len(frames)} equal to the one before"]


def _swapped_colors(frames: Frames) -> list[str]:
    red, _, blue = frames[:, :8].reshape(-1, 3).mean(axis=0)
    if red - blue < _REDDER:
        return []
    return [f"frames: expected RGB, got a sky with more red ({red:.0f}) than blue ({blue:.0f}); is it BGR?"]


def _action_ranges(trajectory: Trajectory) -> list[str]:
    if trajectory.actions.shape[1] != len(ACTION_NAMES):
        return []
    ranges = zip(ACTION_NAMES, _RANGES, trajectory.actions.min(axis=0), trajectory.actions.max(axis=0), strict=True)
    return [
        f"actions: expected {name} in [{low}, {high}], got {found_low:.3g} to {found_high:.3g}"
        for name, (low, high), found_low, found_high in ranges
        if found_low < low or found_high > high
    ]


def constant_columns(folder: Path, actions: Float32[np.ndarray, "time actions"]) -> list[Problem]:
    """Warnings about numbers that are the same in all actions of the folder: nothing can be learnt from them."""
    return [
        Problem(folder, f"actions: expected column {column} to vary, got {values[0]:.3g} throughout", "warning")
        for column, values in enumerate(actions.T)
        if values.min() == values.max()
    ]


def misalignment(folder: Path, pieces: Sequence[Surprises]) -> list[Problem]:
    """A warning if steering shows in the pictures at another lag than the declared one."""
    lag = steering_lag(pieces)
    if not lag:
        return []
    text = f"actions: expected actions[t] to steer from frame t to t+1, got pictures that follow actions[t{lag:+d}]"
    return [Problem(folder, text, "warning")]
