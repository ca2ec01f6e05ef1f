"""What is allowed in a dataset but rarely meant: each is a warning, because only a person can tell."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np

from lapo_mm.data.check_data.glances import Extremes, Glance
from lapo_mm.data.minari_files import MAIN_FILE
from lapo_mm.data.problems import Problem
from lapo_mm.data.survey import Survey

_FEW_VALIDATION_EPISODES = 5


def suspicions(found: Survey, glances: Sequence[Glance]) -> Iterator[Problem]:
    """Warnings about the usable episodes taken together, and about single ones that differ from them."""
    overall = joined(glances)
    source = str(found.folder / MAIN_FILE)
    texts = [*_constant_modalities(overall), *_constant_rewards(glances), *_constant_actions(glances), *_few(glances)]
    yield from (Problem(source, text, "warning") for text in texts)
    for glance in glances:
        for name, extremes in glance.extremes.items():
            if extremes.is_constant and not overall[name].is_constant and glance.facts.length > 1:
                text = f"{name}: expected it to change, got the same throughout the episode"
                yield Problem(source, text, "warning", glance.facts.index)


def joined(glances: Sequence[Glance]) -> Mapping[str, Extremes]:
    """Over all episodes, by modality."""
    return {
        name: reduce(Extremes.joined, (glance.extremes[name] for glance in glances)) for name in glances[0].extremes
    }


def _constant_modalities(overall: Mapping[str, Extremes]) -> Iterator[str]:
    for name, extremes in overall.items():
        still = extremes.low == extremes.high
        if still.all():
            yield f"{name}: expected it to change, got the same in every episode: it tells nothing"
        elif name != "image" and still.any():
            yield f"{name}: expected all numbers to change, got {int(still.sum())} of {still.size} that never do"


def _constant_rewards(glances: Sequence[Glance]) -> Iterator[str]:
    rewards = np.concatenate([glance.rewards for glance in glances])
    if rewards.min() == rewards.max():
        yield f"rewards: expected them to vary, got {rewards[0]:g} throughout: there is nothing to prefer"


def _constant_actions(glances: Sequence[Glance]) -> Iterator[str]:
    actions = np.concatenate([glance.actions for glance in glances])
    for column in np.flatnonzero(actions.min(axis=0) == actions.max(axis=0)):
        yield f"actions: expected number {column} to vary, got {actions[0, column]:g} throughout"


def _few(glances: Sequence[Glance]) -> Iterator[str]:
    held_out = sum(glance.facts.split == "val" for glance in glances)
    if held_out < _FEW_VALIDATION_EPISODES:
        yield f"expected at least {_FEW_VALIDATION_EPISODES} validation episodes, for intervals, got {held_out}"
