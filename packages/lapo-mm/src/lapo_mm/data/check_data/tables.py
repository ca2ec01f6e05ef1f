"""What is in a dataset, as tables of text."""

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from drivelab_shared.stats import Interval
from lapo_mm.data.check_data.glances import Glance
from lapo_mm.data.check_data.suspicions import joined
from lapo_mm.data.check_data.usefulness import Usefulness
from lapo_mm.data.episodes import DatasetInfo, References
from lapo_mm.data.roles import Roles
from lapo_mm.data.statistics import RETURN_QUANTILES

Grid = tuple[list[str], list[list[str]]]
"""Header and body of a table."""

SPLITS = ("train", "val")
_ON_EDGE = 1e-3
"""Closer to an edge of the action box than this share of its width counts as on it."""


def episodes_table(glances: Sequence[Glance]) -> Grid:
    """How many episodes and steps, and how they end."""
    body = []
    for name in (*SPLITS, "all"):
        chosen = [glance.facts for glance in glances if name in (glance.facts.split, "all")]
        lengths = [facts.length for facts in chosen]
        counts = [
            sum(facts.terminated for facts in chosen),
            sum(facts.truncated and not facts.terminated for facts in chosen),
            sum(not facts.truncated and not facts.terminated for facts in chosen),
        ]
        body.append([name, str(len(chosen)), str(sum(lengths)), _spread(lengths), *map(str, counts)])
    return ["split", "episodes", "steps", "steps each", "terminated", "truncated", "neither"], body


def _spread(lengths: Sequence[int]) -> str:
    return f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)} to {max(lengths)}"


def returns_table(glances: Sequence[Glance], references: References | None) -> Grid:
    """Quantiles of the episodes' returns, and of their scores where there are references."""
    body = []
    for name in (*SPLITS, "all"):
        returns = np.array([g.facts.return_ for g in glances if name in (g.facts.split, "all")])
        body.append([f"return, {name}", *_figures(returns)])
        if references is not None:
            body.append([f"score, {name}", *_figures(references.score(returns))])
    return ["", "mean", "std", *(f"{quantile:.0%}" for quantile in RETURN_QUANTILES)], body


def _figures(values: np.ndarray) -> list[str]:
    return [f"{value:.2f}" for value in (values.mean(), values.std(), *np.quantile(values, RETURN_QUANTILES))]


def values_table(glances: Sequence[Glance], roles: Roles, info: DatasetInfo) -> Grid:
    """Shapes and ranges of everything that is learnt from."""
    actions = np.concatenate([glance.actions for glance in glances])
    rewards = np.concatenate([glance.rewards for glance in glances])
    body = []
    for name, extremes in joined(glances).items():
        form = f"{'uint8' if name == 'image' else 'float32'} {list(roles.shape(name))}"
        body.append([name, form, *_ends(extremes.low, extremes.high), ""])
    edge = f"{_on_edge(actions, info.action_space):.1%} on an edge of the box"
    body.append(["actions", f"float32 [{actions.shape[1]}]", *_ends(actions, actions), edge])
    body.append(["rewards", "float32", *_ends(rewards, rewards), f"{(rewards == 0).mean():.1%} are 0"])
    return ["", "form", "smallest", "largest", ""], body


def _ends(low: np.ndarray, high: np.ndarray) -> list[str]:
    return [f"{low.min():.3g}", f"{high.max():.3g}"]


def _on_edge(actions: np.ndarray, box: spaces.Box) -> float:
    """Share of the actions with a number on the edge of the box, where it has one."""
    width = box.high - box.low
    distance = np.minimum(actions - box.low, box.high - actions)[:, np.isfinite(width)]
    return float((distance <= _ON_EDGE * width[np.isfinite(width)]).any(axis=1).mean())


def usefulness_table(found: Usefulness) -> Grid:
    """Shares of the variance, in percent."""
    body = [[name, *map(_percent, shares.values())] for name, shares in found.items()]
    return ["", *next(iter(found.values()))], body


def _percent(share: Interval) -> str:
    value, low, high = (100 * figure for figure in (share.value, share.low, share.high))
    if not np.isfinite(value):
        return "–"
    return f"{value:z.0f} [{low:z.0f}, {high:z.0f}]" if np.isfinite([low, high]).all() else f"{value:z.0f}"
