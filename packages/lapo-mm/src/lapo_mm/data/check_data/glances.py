"""What is kept of an episode once its arrays are gone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Real, UInt8

from lapo_mm.data.check_data.views import views
from lapo_mm.data.episodes import Episode
from lapo_mm.data.roles import Roles, to_modalities
from lapo_mm.data.survey import Facts

SHEET_COLUMNS = 6
SOON = 10
"""Steps whose rewards follow from where one is rather than from what is done later."""


@dataclass(frozen=True, eq=False)
class Extremes:
    """Smallest and largest value of every number of an array, over time."""

    low: Real[np.ndarray, "..."]
    high: Real[np.ndarray, "..."]

    @classmethod
    def of(cls, array: Real[np.ndarray, "rows ..."]) -> "Extremes":
        """Over the rows."""
        return cls(array.min(axis=0), array.max(axis=0))

    def joined(self, other: "Extremes") -> "Extremes":
        """Over both."""
        return Extremes(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    @property
    def is_constant(self) -> bool:
        """Whether nothing ever changed."""
        return bool((self.low == self.high).all())


@dataclass(frozen=True, eq=False)
class Samples:
    """Some steps of an episode: what was seen, and what could be predicted from it."""

    views: Mapping[str, list[Float32[np.ndarray, "samples _"]]]
    """By modality."""
    targets: Mapping[str, Float[np.ndarray, "samples _"]]


@dataclass(frozen=True, eq=False)
class Glance:
    """Of one episode."""

    facts: Facts
    rewards: Float[np.ndarray, " steps"]
    actions: Float[np.ndarray, "steps actions"]
    extremes: Mapping[str, Extremes]
    """By modality."""
    samples: Samples
    stills: UInt8[np.ndarray, "columns height width 3"] | None
    """At equal distances in time, for the contact sheet."""


def look(facts: Facts, episode: Episode, roles: Roles, num_samples: int, *, keep_stills: bool) -> Glance:
    """Everything that check-data wants to know of an episode."""
    observations = to_modalities(episode.observations, roles)
    stills = None
    if keep_stills and "image" in observations:
        moments = np.linspace(0, len(episode), SHEET_COLUMNS).astype(int)
        stills = as_rgb(observations["image"][moments])
    return Glance(
        facts=facts,
        rewards=episode.rewards,
        actions=episode.actions,
        extremes={name: Extremes.of(array) for name, array in observations.items()},
        samples=_samples(observations, episode, num_samples),
        stills=stills,
    )


def as_rgb(images: UInt8[np.ndarray, "frames channels height width"]) -> UInt8[np.ndarray, "frames height width 3"]:
    """Three channels as they are, anything else as the grey of its last channel: the newest frame of a stack."""
    chosen = images if images.shape[1] == 3 else np.repeat(images[:, -1:], 3, axis=1)
    return np.ascontiguousarray(chosen.transpose(0, 2, 3, 1))


def _samples(observations: Mapping[str, np.ndarray], episode: Episode, num_samples: int) -> Samples:
    steps = np.unique(np.linspace(0, len(episode) - 1, num_samples).astype(int))
    return Samples(
        views={name: views(name, array[steps]) for name, array in observations.items()},
        targets={
            "reward": episode.rewards[steps, None],
            f"next {SOON} rewards": _means(episode.rewards, SOON)[steps, None],
            "all rewards to come": _means(episode.rewards, len(episode))[steps, None],
            "action": episode.actions[steps],
        },
    )


def _means(rewards: Float[np.ndarray, " steps"], horizon: int) -> Float[np.ndarray, " steps"]:
    """Mean of the next rewards from each step on, of fewer where the episode ends."""
    sums = np.concatenate([[0.0], np.cumsum(rewards)])
    first = np.arange(len(rewards))
    end = np.minimum(first + horizon, len(rewards))
    return (sums[end] - sums[first]) / (end - first)
