"""95 % intervals by resampling whole groups: trajectories, sequences or scenes.

Windows of one trajectory are near-copies of each other, so the trajectory is what is drawn anew, not the window. A
measure is a function of sums over trajectories, and that keeps a thousand draws cheap: add up what the measure needs
once per trajectory, then every draw is a weighted sum.

    sums = np.stack([correct, count], axis=-1)               # [seeds, trajectories, 2]
    draws = group_draws(num_groups=14, num_seeds=3)
    accuracy = bootstrap(sums, ratio, draws)                 # Interval(value=0.761, low=0.714, high=0.802, n=14)
    Row("ours", "accuracy", at=10, **vars(accuracy))         # a row of results.json
    difference(sums, sums_of_the_baseline, ratio, draws)     # paired: the same trajectories in every draw

The last axes are free. With confusion matrices, [seeds, trajectories, classes, classes], balanced accuracy is

    def balanced_accuracy(sums):
        return np.mean(np.diagonal(sums, axis1=-2, axis2=-1) / sums.sum(-1), axis=-1)

Sources: percentile interval, Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; groups as the
unit, Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8; groups and seeds drawn
independently of each other, Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real

Statistic = Callable[[np.ndarray], np.ndarray]
"""Sums [..., *sums] -> measure [...]; NaN where it is not defined, such as 0 / 0 (numpy's warning is silenced)."""

MAX_UNDEFINED = 0.05
"""Share of draws that may have no defined measure (a rare class was not drawn); with more there is no interval."""


@dataclass(frozen=True)
class Interval:
    """A measure and its 95 % interval. `low` and `high` are NaN where the data cannot tell; `n` counts the groups."""

    value: float
    low: float
    high: float
    n: int

    def shown(self, unit: str = "", decimals: int = 1) -> str:
        """`25.1 dB [24.8, 25.4]`, for sentences; without brackets where there is no interval."""
        text = f"{self.value:.{decimals}f}{unit and ' ' + unit}"
        if not np.isfinite([self.low, self.high]).all():
            return text
        return f"{text} [{self.low:.{decimals}f}, {self.high:.{decimals}f}]"


@dataclass(frozen=True)
class Draws:
    """How often each group and each seed was drawn. Two measures share their draws to be comparable."""

    groups: Int[np.ndarray, "draws groups"]
    seeds: Int[np.ndarray, "draws seeds"]


def group_draws(num_groups: int, num_seeds: int = 1, num_draws: int = 1000, seed: int = 0) -> Draws:
    """Draw groups and training seeds with replacement, independently of each other.

    With few seeds the spread between them is understated (by a third of its variance with 3 seeds): that is the price
    of the bootstrap, and the reason why tables print how many seeds they rest on.

    Raises:
        ValueError: one of the numbers is below 1.
    """
    for name, number in {"num_groups": num_groups, "num_seeds": num_seeds, "num_draws": num_draws}.items():
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")
    rng = np.random.default_rng(seed)

    def times_drawn(count: int) -> Int[np.ndarray, "draws count"]:
        return rng.multinomial(count, np.full(count, 1 / count), size=num_draws)

    return Draws(groups=times_drawn(num_groups), seeds=times_drawn(num_seeds))


def bootstrap(sums: Real[np.ndarray, "seeds groups *sums"], statistic: Statistic, draws: Draws) -> Interval:
    """Mean over seeds of `statistic` of the sums over groups, with its percentile interval.

    A method without training randomness has one seed; it can share the draws of one that has several.

    Raises:
        ValueError: the groups or seeds are not those of `draws`.
    """
    return _interval(*_measure(sums, statistic, draws), draws)


def difference(
    ours: Real[np.ndarray, "seeds groups *sums"],
    theirs: Real[np.ndarray, "other_seeds groups *sums"],
    statistic: Statistic,
    draws: Draws,
) -> Interval:
    """`statistic` of `ours` minus that of `theirs`, both taken from the same groups and seeds in every draw.

    What makes a trajectory hard for both cancels, so the interval is narrower than the two intervals suggest.

    Raises:
        ValueError: the groups or seeds are not those of `draws`.
    """
    (our_value, our_drawn), (their_value, their_drawn) = (_measure(s, statistic, draws) for s in (ours, theirs))
    return _interval(our_value - their_value, our_drawn - their_drawn, draws)


def ratio(sums: Real[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"] | float:
    """First sum over second: accuracy from (correct, count), relative error from (error, baseline's error)."""
    return sums[..., 0] / sums[..., 1]


def interquartile_mean(values: Real[np.ndarray, "*shape"], axis: int = -1) -> Float[np.ndarray, "*rest"] | float:
    """Mean of what is left when the lowest and the highest quarter are cut off, each rounded down to whole values.

    Less shaken by one lucky run than the mean, less wasteful than the median.

    Source: Agarwal et al., Deep RL at the Edge of the Statistical Precipice, 2021;
    google-research/rliable:rliable/metrics.py.
    """
    values = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    count = values.shape[-1]
    return values[..., count // 4 : count - count // 4].mean(axis=-1)


def _measure(sums: np.ndarray, statistic: Statistic, draws: Draws) -> tuple[float, Float[np.ndarray, " draws"]]:
    """The measure itself and in every draw, each a mean over seeds."""
    (num_seeds, num_groups), expected = sums.shape[:2], (draws.seeds.shape[1], draws.groups.shape[1])
    if num_groups != expected[1] or num_seeds not in (1, expected[0]):
        raise ValueError(
            f"sums: expected {expected[0]} (or 1) seeds x {expected[1]} groups as in the draws, "
            f"got {num_seeds} x {num_groups}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        by_seed = statistic(sums.sum(axis=1))
        drawn = statistic(np.tensordot(draws.groups, sums, axes=(1, 1)))
    if by_seed.shape != (num_seeds,):
        raise ValueError(f"statistic: expected one number per seed, got shape {by_seed.shape} for {num_seeds} seeds")
    if num_seeds == 1:
        return float(by_seed[0]), drawn[:, 0]
    # 0 * NaN is NaN: a seed that was not drawn must not spoil the mean where its measure is undefined.
    contributions = np.where(draws.seeds > 0, draws.seeds * drawn, 0)
    return float(by_seed.mean()), contributions.sum(axis=1) / num_seeds


def _interval(value: float, drawn: Float[np.ndarray, " draws"], draws: Draws) -> Interval:
    defined = drawn[np.isfinite(drawn)]
    num_groups = draws.groups.shape[1]
    low = high = float("nan")
    if num_groups > 1 and len(defined) >= (1 - MAX_UNDEFINED) * len(drawn):
        low, high = (float(edge) for edge in np.percentile(defined, [2.5, 97.5]))
    return Interval(value, low, high, num_groups)
