"""Tables of an evaluation: returns beside their references, paired differences, Q values against the truth."""

from collections.abc import Iterator, Sequence

import numpy as np

from drivelab_shared.results import Row, Table
from drivelab_shared.stats import Interval, bootstrap, group_draws, ratio
from lapo_mm.config import EvaluateSettings, TrainSettings
from lapo_mm.scores import Comparison, Scores
from lapo_mm.trained import AGENT, TrainedRun

METHODS = {"lapo": "LAPO", "bc": "BC", "td3bc": "TD3+BC", "iql": "IQL"}
BASELINE_LABELS = {
    "blind": "LAPO, state alone (blind)",
    "vae": "LAPO, vae wiring",
    "bc": "BC",
    "bc25": "25 % BC",
    "td3bc": "TD3+BC",
    "iql": "IQL",
}
RECORDED, BEST_RECORDED = "recorded episodes", "best quarter of the recorded episodes"
LAST = 3
"""Evaluations during training whose mean is printed: the last ones, never the best."""


def label(name: str, settings: TrainSettings) -> str:
    """What a policy of a run is called in tables."""
    if name != AGENT:
        return BASELINE_LABELS[name]
    method = METHODS[settings.algorithm]
    if settings.top_share < 1:
        method = f"{settings.top_share:.0%} {method}"
    if settings.modalities:
        method += f", {' + '.join(settings.modalities)}"
    return f"{method}, {settings.wiring} wiring" if settings.algorithm == "lapo" else method


def evaluation_tables(scores: Scores, trained: TrainedRun, settings: EvaluateSettings) -> list[Table]:
    """All that one run measured."""
    seeds = [trained.settings.seed]
    labels = {name: label(name, trained.settings) for name in scores.policies}
    rolled = scores.policies if trained.task is not None else {}
    compared = {name: Comparison.of([scores], name, settings.num_bootstrap) for name in rolled}

    def create(name: str, title: str, rows: Iterator[Row], conclusions: Sequence[str] = ()) -> Table:
        return Table.create(name, title, list(rows), seeds, conclusions, threads=settings.threads)

    tables = []
    if compared:
        rows = [*_score_rows(scores, compared, labels), *_recorded_rows(scores, trained, settings.num_bootstrap)]
        tables.append(
            create(
                "scores", f"Returns of {settings.num_episodes} episodes", rows, _conclusions(scores, compared, labels)
            )
        )
    if any(comparison.has_values() for comparison in compared.values()):
        tables.append(create("values", "Q values against what came of them", value_rows(compared, labels)))
    if any(len(policy.fqe) for policy in scores.policies.values()):
        tables.append(
            create("fqe", "Value of the first observations by the data alone", _fqe_rows(scores, labels, settings))
        )
    return tables


def row(name: str, metric: str, interval: Interval, at: str | float | None = None) -> Row:
    """A figure with its interval."""
    return Row(name, metric, interval.value, at, interval.low, interval.high, interval.n)


def _score_rows(scores: Scores, compared: dict[str, Comparison], labels: dict[str, str]) -> Iterator[Row]:
    for name, comparison in compared.items():
        yield row(labels[name], scores_metric(scores), comparison.score())
        returns = scores.policies[name].returns[None, :, None]
        yield row(labels[name], "return", _mean(returns, comparison))
        curve = scores.policies[name].curve
        if len(curve):
            yield Row(labels[name], last_metric(scores), float(scores.score(curve[-LAST:].mean())))
        if name != AGENT and AGENT in compared:
            gain = compared[AGENT].score_difference(comparison)
            yield row(labels[name], "the first row is better by (paired)", gain)


def _recorded_rows(scores: Scores, trained: TrainedRun, num_draws: int) -> Iterator[Row]:
    """What the data's own behaviour got, and the two ends of the score."""
    returns = np.sort([span.return_ for span in trained.store.episodes])
    for name, chosen in ((RECORDED, returns), (BEST_RECORDED, returns[-max(1, len(returns) // 4) :])):
        draws = group_draws(len(chosen), 1, num_draws)
        for metric, values in ((scores_metric(scores), scores.score(chosen)), ("return", chosen)):
            sums = np.stack([values, np.ones_like(values)], axis=-1)[None]
            yield row(name, metric, bootstrap(sums, ratio, draws))
    if not np.isnan(scores.random):
        yield from (Row(f"{name} policy", "return", getattr(scores, name)) for name in ("random", "expert"))


def scores_metric(scores: Scores) -> str:
    """Name of the score, with its ends."""
    return "score [0 random, 100 expert]" if scores.unit == "score" else "mean return"


def last_metric(scores: Scores) -> str:
    """Name of the mean of the last evaluations during training."""
    return f"{scores.unit}, last {LAST} evaluations in training"


def _mean(returns: np.ndarray, comparison: Comparison) -> Interval:
    return bootstrap(np.concatenate([returns, np.ones_like(returns)], axis=-1), ratio, comparison.draws)


def value_rows(compared: dict[str, Comparison], labels: dict[str, str]) -> Iterator[Row]:
    """Q errors of the policies that have values."""
    for name, comparison in compared.items():
        if comparison.has_values():
            for metric in ("nMSE", "correlation", "bias", "MSE"):
                shown = {"nMSE": "nMSE [of the truth's variance]", "bias": "bias [reward]", "MSE": "MSE [reward²]"}
                yield row(labels[name], shown.get(metric, metric), comparison.q_figure(metric))


def _fqe_rows(scores: Scores, labels: dict[str, str], settings: EvaluateSettings) -> Iterator[Row]:
    for name, policy in scores.policies.items():
        if len(policy.fqe):
            draws = group_draws(len(policy.fqe), 1, settings.num_bootstrap)
            sums = np.stack([policy.fqe, np.ones_like(policy.fqe)], axis=-1)[None]
            yield row(labels[name], "discounted return by fitted-Q evaluation", bootstrap(sums, ratio, draws))


def _conclusions(scores: Scores, compared: dict[str, Comparison], labels: dict[str, str]) -> list[str]:
    agent = compared[AGENT].score()
    found = [f"{labels[AGENT]}: {scores.unit} **{agent.shown()}**."]
    for name, comparison in compared.items():
        if name != AGENT:
            gain = compared[AGENT].score_difference(comparison)
            verdict = "better than" if gain.low > 0 else "worse than" if gain.high < 0 else "not told apart from"
            found.append(f"It is {verdict} {labels[name]}: {gain.shown('points')} between them.")
    return found
