"""Figures with 95 % intervals: sequences are drawn anew, and methods are compared on the same draws.

A figure is a function of sums over samples. They are added up once per sequence, so a thousand draws cost little:

    comparison = Comparison([Scores.load(path) for path in paths])    # one per training seed
    every = figures((2.5, 3.5, 4.5))
    comparison.interval(every["ade_m"], "teacher")     # Interval(value=1.68, low=1.41, high=1.97, n=21)
    comparison.skill("teacher", "ctrv")                # 1 - ADE / ADE of CTRV
    comparison.on(strata(truth)["left"]).difference(every["fde_m"], "teacher", "ego MLP")
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from drivelab_shared import stats
from drivelab_shared.stats import Draws, Interval, Statistic, group_draws, ratio
from v2x_teacher.comfort import violations
from v2x_teacher.data.labels import NUM_STEPS
from v2x_teacher.metrics import (
    at_horizon,
    missed,
    mode_errors,
    spread_of,
    spread_terms,
    step_at,
    up_to_horizon,
)
from v2x_teacher.scores import Scores

PERCENT = 100.0


Values = Float[np.ndarray, "samples *some"]
Terms = Float64[np.ndarray, "samples *terms"]


@dataclass(frozen=True, eq=False)
class Figure:
    """How a number in a table comes about."""

    terms: Callable[[Scores, str], Terms]
    """(scores, method) -> what is summed over samples."""
    statistic: Statistic = ratio
    """From sums to the figure; NaN, a dash in a table, where there is nothing to divide by."""


def mean_of(values: Callable[[Scores, str], Values], unit: float = 1.0) -> Figure:
    """The mean over all values, of samples and steps alike; NaN is a missing one."""

    def terms(scores: Scores, method: str) -> Float64[np.ndarray, "samples 2"]:
        found = values(scores, method).reshape(len(scores), -1)
        known = ~np.isnan(found)
        return np.stack([unit * np.where(known, found, 0.0).sum(axis=1), known.sum(axis=1)], axis=-1)

    return Figure(terms)


def mean_over(figures: Sequence[Figure]) -> Figure:
    """The mean of figures of the same kind, such as one over three horizons."""

    def terms(scores: Scores, method: str) -> Float64[np.ndarray, "samples figures *terms"]:
        return np.stack([figure.terms(scores, method) for figure in figures], axis=1)

    return Figure(terms, lambda sums: ratio(sums).mean(axis=-1))


ADE = mean_of(lambda scores, method: scores.errors(method).l2)
"""Mean displacement over all steps of all samples, metres."""


def figures(horizons_s: Sequence[float], num_steps: int = NUM_STEPS) -> dict[str, Figure]:
    """Every figure by name.

    `l2_2.5s_m` is the *point* L2 at a horizon, `l2_to_2.5s_m` the mean until then; `avg` is the mean over the horizons.
    `collision_2.5s_percent` is the share of evaluated samples that overlap somebody at that moment, `collision_to_..`
    at any step until then. Of several modes the one with the smallest final error is scored.

    Raises:
        ValueError: a horizon is not one of the steps.
    """
    for horizon in horizons_s:
        step_at(horizon, num_steps)
    return {
        "ade_m": ADE,
        "fde_m": mean_of(lambda scores, method: scores.errors(method).l2[:, -1]),
        "miss_percent": mean_of(lambda scores, method: missed(scores.errors(method).l2[:, -1]), PERCENT),
        **_by_horizon("l2", "_m", horizons_s, lambda h: mean_of(lambda s, m: at_horizon(s.errors(m).l2, h))),
        **_by_horizon("l2_to", "_m", horizons_s, lambda h: mean_of(lambda s, m: up_to_horizon(s.errors(m).l2, h))),
        **_by_horizon("collision", "_percent", horizons_s, lambda h: mean_of(_hits_at(h), PERCENT)),
        **_by_horizon("collision_to", "_percent", horizons_s, lambda h: mean_of(_hits_until(h), PERCENT)),
        "longitudinal_m": mean_of(lambda scores, method: np.abs(scores.errors(method).longitudinal)),
        "lateral_m": mean_of(lambda scores, method: np.abs(scores.errors(method).lateral)),
        "heading_deg": mean_of(lambda scores, method: np.rad2deg(scores.errors(method).heading)),
        "spread_x": _spread(0),
        "spread_y": _spread(1),
        "uncomfortable_percent": mean_of(_uncomfortable, PERCENT),
        "min_ade_m": mean_of(lambda scores, method: _of_modes(scores, method, "ade")),
        "min_fde_m": mean_of(lambda scores, method: _of_modes(scores, method, "fde")),
        "min_miss_percent": mean_of(lambda scores, method: _of_modes(scores, method, "missed"), PERCENT),
    }


def _by_horizon(
    name: str, unit: str, horizons_s: Sequence[float], figure_at: Callable[[float], Figure]
) -> dict[str, Figure]:
    at = {horizon: figure_at(horizon) for horizon in horizons_s}
    named = {f"{name}_{horizon:g}s{unit}": figure for horizon, figure in at.items()}
    return named | {f"{name}_avg{unit}": mean_over(list(at.values()))}


def _hits(scores: Scores, method: str) -> Float64[np.ndarray, "samples steps"]:
    """1 where a collision was found, 0 where none was, NaN where none was looked for."""
    collides = scores.methods[method].collides
    if collides is None or scores.evaluated is None:
        return np.full(scores.truth.shape[:2], np.nan)
    return np.where(scores.evaluated, collides.astype(float), np.nan)


def _hits_at(horizon_s: float) -> Callable[[Scores, str], np.ndarray]:
    return lambda scores, method: at_horizon(_hits(scores, method), horizon_s)


def _hits_until(horizon_s: float) -> Callable[[Scores, str], np.ndarray]:
    # fmax is NaN only where nothing was looked for at all
    return lambda scores, method: np.fmax.reduce(up_to_horizon(_hits(scores, method), horizon_s), axis=1)


def _spread(axis: int) -> Figure:
    def terms(scores: Scores, method: str) -> Float64[np.ndarray, "samples steps 5"]:
        return spread_terms(scores.methods[method].trajectories[..., axis], scores.truth[..., axis])

    return Figure(terms, spread_of)


def _uncomfortable(scores: Scores, method: str) -> Float64[np.ndarray, " samples"]:
    """1 where any bound is exceeded."""
    return np.max(list(violations(scores.methods[method].trajectories).values()), axis=0)


def _of_modes(scores: Scores, method: str, value: str) -> Float64[np.ndarray, " samples"]:
    modes = scores.methods[method].modes
    if modes is None:
        return np.full(len(scores), np.nan)
    return getattr(mode_errors(modes, scores.truth), value)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods that were evaluated on the same samples, by one or several training seeds."""

    seeds: Sequence[Scores]
    num_draws: int = 1000
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        for other in self.seeds[1:]:
            _require_same_samples(self.seeds[0], other)

    @cached_property
    def draws(self) -> Draws:
        """Of sequences and training seeds: the same for every figure, so that all of them are paired."""
        return group_draws(len(self.sequences[0]), len(self.seeds), self.num_draws, self.seed)

    @cached_property
    def sequences(self) -> tuple[Sequence[str], Int[np.ndarray, " samples"]]:
        """Names, and the index of each sample's."""
        names, index = np.unique(self.seeds[0].sequences, return_inverse=True)
        return names.tolist(), index

    def on(self, chosen: Bool[np.ndarray, " samples"]) -> "Comparison":
        """On some of the samples; only sequences that have such samples count."""
        return replace(self, seeds=[scores.take(chosen) for scores in self.seeds])

    def interval(self, figure: Figure, method: str) -> Interval:
        """Mean over training seeds, and where it may lie."""
        return stats.bootstrap(self._sums(figure, method), figure.statistic, self.draws)

    def difference(self, figure: Figure, ours: str, theirs: str, other: "Comparison | None" = None) -> Interval:
        """`ours` minus `theirs` (of `other`, such as another recipe on the same samples, if given)."""
        return stats.difference(*self._both(figure, ours, theirs, other), figure.statistic, self.draws)

    def quotient(self, figure: Figure, ours: str, theirs: str, other: "Comparison | None" = None) -> Interval:
        """`ours` over `theirs` (of `other`, if given)."""
        return self._relation(figure, ours, theirs, other, lambda a, b: a / b)

    def skill(self, ours: str, baseline: str, other: "Comparison | None" = None, figure: Figure = ADE) -> Interval:
        """1 - error / error of the baseline: 0 is as good as it, 1 is perfect."""
        return self._relation(figure, ours, baseline, other, lambda a, b: 1 - a / b)

    def _relation(
        self,
        figure: Figure,
        ours: str,
        theirs: str,
        other: "Comparison | None",
        relate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> Interval:
        both = np.stack(np.broadcast_arrays(*self._both(figure, ours, theirs, other)), axis=2)
        pair = 2 - both.ndim  # counted from the end: draws come in front

        def statistic(sums: np.ndarray) -> np.ndarray:
            return relate(*(figure.statistic(np.take(sums, index, axis=pair)) for index in range(2)))

        return stats.bootstrap(both, statistic, self.draws)

    def _both(
        self, figure: Figure, ours: str, theirs: str, other: "Comparison | None"
    ) -> tuple[np.ndarray, np.ndarray]:
        if other is not None:
            _require_same_samples(self.seeds[0], other.seeds[0])
        return self._sums(figure, ours), (other or self)._sums(figure, theirs)

    def _sums(self, figure: Figure, method: str) -> Float64[np.ndarray, "seeds sequences *terms"]:
        names, index = self.sequences
        order = np.argsort(index, kind="stable")
        starts = np.searchsorted(index[order], np.arange(len(names)))
        terms = (figure.terms(scores, method) for scores in self.seeds)
        return np.stack([np.add.reduceat(values[order], starts, axis=0) for values in terms])


def _require_same_samples(ours: Scores, theirs: Scores) -> None:
    if ours.ids != theirs.ids or not np.array_equal(ours.truth, theirs.truth, equal_nan=True):
        raise ValueError("scores: expected the same samples with the same truth everywhere, got others")
