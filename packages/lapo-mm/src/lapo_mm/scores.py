"""What came of every policy, episode by episode: the raw material of every figure, kept for later comparisons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from drivelab_shared.arrays import read_archive
from drivelab_shared.stats import Draws, Interval, bootstrap, group_draws, interquartile_mean, ratio

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, eq=False)
class Policy:
    """One row of the tables: a trained policy. What was not measured is empty."""

    returns: Float[np.ndarray, " episodes"]
    """Undiscounted, of the episodes that all policies share."""
    q: Float[np.ndarray, " pairs"] = field(default_factory=lambda: np.zeros(0))
    """Values of held-out pairs of state and action, in the rewards of the environment."""
    truth: Float[np.ndarray, " pairs"] = field(default_factory=lambda: np.zeros(0))
    """What really came of them: the action is played, then the policy, rewards are discounted."""
    fqe: Float[np.ndarray, " starts"] = field(default_factory=lambda: np.zeros(0))
    """Values of held-out first observations by fitted-Q evaluation."""
    curve_steps: Float[np.ndarray, " points"] = field(default_factory=lambda: np.zeros(0))
    """Gradient steps of the evaluations during training."""
    curve: Float[np.ndarray, " points"] = field(default_factory=lambda: np.zeros(0))
    """Mean returns of them."""
    encoder_grad_norm: Float[np.ndarray, " lines"] = field(default_factory=lambda: np.zeros(0))
    """Of the logged steps."""


@dataclass(frozen=True, eq=False)
class Scores:
    """All policies of a run on the same episodes."""

    policies: dict[str, Policy]
    random: float = float("nan")
    """Mean return that is 0 of the score; NaN where the dataset has no references."""
    expert: float = float("nan")
    """Mean return that is 100."""

    def score(self, returns: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Normalised where there are references, else the returns."""
        if np.isnan(self.random):
            return returns
        return 100.0 * (returns - self.random) / (self.expert - self.random)

    @property
    def unit(self) -> str:
        """What `score` is measured in."""
        return "return" if np.isnan(self.random) else "score"

    def save(self, path: Path) -> None:
        """As an npz without pickles."""
        arrays = {f"{name}/{part}": value for name, one in self.policies.items() for part, value in vars(one).items()}
        np.savez_compressed(path, references=np.array([self.random, self.expert]), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            UserError: it is another file.
        """
        return read_archive(path, "the scores of an evaluation", cls._from_arrays)

    @classmethod
    def _from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Scores":
        random, expert = (float(value) for value in arrays.pop("references"))
        parts: dict[str, dict[str, np.ndarray]] = {}
        for key, value in arrays.items():
            name, _, part = key.rpartition("/")
            parts.setdefault(name, {})[part] = value
        return cls({name: Policy(**fields) for name, fields in parts.items()}, random, expert)


def q_error(q: Float[np.ndarray, "*seeds pairs"], truth: Float[np.ndarray, "*seeds pairs"]) -> dict[str, np.ndarray]:
    """How far values are from what came of them.

    `MSE` and `bias` (positive: too high) are in the units of the rewards. `nMSE` is the MSE over the variance of the
    truth, so 1 is what the best constant scores. `correlation` is Pearson's.
    """
    errors = q - truth
    mse = np.square(errors).mean(-1)
    centred_q, centred_truth = q - q.mean(-1, keepdims=True), truth - truth.mean(-1, keepdims=True)
    spread = np.sqrt(np.square(centred_q).sum(-1) * np.square(centred_truth).sum(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "nMSE": mse / truth.var(-1),
            "correlation": (centred_q * centred_truth).sum(-1) / spread,
            "bias": errors.mean(-1),
            "MSE": mse,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Figures of one policy with 95 % intervals, over seeds that were evaluated on the same episodes."""

    seeds: Sequence[Scores]
    name: str
    draws: Draws

    @classmethod
    def of(cls, seeds: Sequence[Scores], name: str, num_draws: int = 1000, seed: int = 0) -> "Comparison":
        """Of the policy `name` in every one of `seeds`."""
        num_episodes = len(seeds[0].policies[name].returns)
        return cls(seeds, name, group_draws(num_episodes, len(seeds), num_draws, seed))

    def scores(self) -> Float[np.ndarray, "seeds episodes"]:
        """Of every episode."""
        return np.stack([one.score(one.policies[self.name].returns) for one in self.seeds])

    def score(self) -> Interval:
        """Interquartile mean over seeds of the mean over episodes (with fewer than 4 seeds that is the mean)."""
        return iqm_interval(self.scores(), self.draws)

    def score_difference(self, other: "Comparison") -> Interval:
        """This policy's score minus the other's, on the same episodes and seeds."""
        return iqm_interval(self.scores() - other.scores(), self.draws)

    def score_quotient(self, other: "Comparison") -> Interval:
        """This policy's score over the other's, on the same episodes and seeds."""
        return bootstrap(np.stack([self.scores(), other.scores()], axis=-1), ratio, self.draws)

    def q_figure(self, name: str) -> Interval:
        """See `q_error`; pairs of state and action are what is drawn anew."""
        return pairs_interval(lambda q, truth: q_error(q, truth)[name], self.pairs(), self.pair_draws())

    def nmse_quotient(self, other: "Comparison") -> Interval:
        """This policy's nMSE over the other's, on the same pairs and seeds."""

        def quotient(*arrays: np.ndarray) -> np.ndarray:
            return q_error(*arrays[:2])["nMSE"] / q_error(*arrays[2:])["nMSE"]

        return pairs_interval(quotient, [*self.pairs(), *other.pairs()], self.pair_draws())

    def correlation_difference(self, other: "Comparison") -> Interval:
        """This policy's correlation minus the other's, on the same pairs and seeds."""

        def gap(*arrays: np.ndarray) -> np.ndarray:
            return q_error(*arrays[:2])["correlation"] - q_error(*arrays[2:])["correlation"]

        return pairs_interval(gap, [*self.pairs(), *other.pairs()], self.pair_draws())

    def pairs(self) -> tuple[Float[np.ndarray, "seeds pairs"], Float[np.ndarray, "seeds pairs"]]:
        """Values and truth."""
        policies = [one.policies[self.name] for one in self.seeds]
        return np.stack([one.q for one in policies]), np.stack([one.truth for one in policies])

    def has_values(self) -> bool:
        """Whether there is a Q error to speak of."""
        return all(len(one.policies[self.name].q) for one in self.seeds)

    def pair_draws(self) -> Draws:
        """Pairs instead of episodes, the same seeds."""
        num_pairs = len(self.seeds[0].policies[self.name].q)
        return group_draws(num_pairs, len(self.seeds), len(self.draws.groups), seed=1)


def iqm_interval(scores: Float[np.ndarray, "seeds episodes"], draws: Draws) -> Interval:
    """Interquartile mean over seeds of the mean over episodes, and its percentile interval over both."""
    means = draws.groups @ scores.T / scores.shape[1]  # [draws, seeds]
    drawn = [interquartile_mean(np.repeat(row, times)) for row, times in zip(means, draws.seeds, strict=True)]
    value = float(interquartile_mean(scores.mean(axis=1)))
    return _interval(value, np.array(drawn), scores.shape[1])


def pairs_interval(
    figure: Callable[..., np.ndarray], arrays: Sequence[Float[np.ndarray, "seeds pairs"]], draws: Draws
) -> Interval:
    """Mean over seeds of `figure(*arrays)`, with its percentile interval over pairs and seeds."""
    drawn = []
    for pairs, seeds in zip(draws.groups, draws.seeds, strict=True):
        chosen = np.repeat(np.arange(len(pairs)), pairs)
        values = figure(*(array[:, chosen] for array in arrays))
        drawn.append(np.average(values, weights=seeds))
    return _interval(float(figure(*arrays).mean()), np.array(drawn), arrays[0].shape[1])


def _interval(value: float, drawn: np.ndarray, n: int) -> Interval:
    low, high = np.percentile(drawn, PERCENTILES) if n > 1 else (np.nan, np.nan)
    return Interval(value, float(low), float(high), n)
