"""Which episode is for training and which for validation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from drivelab_shared.seeding import keyed_rng

Split = Literal["train", "val"]
_KEY = 0x5EED


@dataclass(frozen=True)
class Span:
    """Where an episode is in the flat arrays of a store."""

    index: int
    """`episode_<index>` of the file."""
    split: Split
    first_step: int
    first_frame: int
    length: int
    """Steps; it has one frame more."""
    return_: float
    """Sum of the rewards."""


def splits(num_episodes: int, val_share: float) -> list[Split]:
    """The split of each of at least 2 episodes: drawn at random, but always the same for so many episodes.

    An episode that is left out later moves no other one to another split.
    """
    num_val = int(np.clip(round(num_episodes * val_share), 1, num_episodes - 1))
    held_out = set(keyed_rng(_KEY, num_episodes).permutation(num_episodes)[:num_val].tolist())
    return ["val" if index in held_out else "train" for index in range(num_episodes)]
