"""From scores to tables: the same rows for one run and for several seeds, with conclusions computed from them."""

import math
from collections.abc import Iterator, Sequence

from drivelab_shared.results import Row, Table
from drivelab_shared.stats import Interval
from latent_predictor.models import CLASSES
from latent_predictor.scores import Comparison, Scores, balanced_accuracy, recall

JUDGE_NAMES = {
    "a": "judge a (classifier of the loss)",
    "b": "judge b (independent, latents)",
    "c": "judge c (decoded pictures)",
}
MODELS = ("predictor", "no-action twin", "swapped actions", "copy last", "constant mean")
LOW_SPREAD, HIGH_SPREAD = 0.5, 1.3
GAMING_POINTS = 5.0
"""More than this is called gaming: the bar of the project, and about the width of an interval."""


def evaluation_tables(
    seeds: Sequence[Scores], seed_numbers: Sequence[int], dt: float, num_draws: int, seed: int
) -> list[Table]:
    """What `evaluate` measures: the horizon table first, then recalls, pictures and errors, and paired comparisons."""
    comparison = Comparison.of(seeds, num_draws, seed)
    horizons = ", ".join(f"{h} = {h * dt:.2f} s" for h in seeds[0].horizons)
    has_labels = bool((seeds[0].labels >= 0).any())
    tables = []
    if has_labels:
        tables.append(Table.create(
            "horizons", f"Lane accuracy by horizon (frames ahead: {horizons})",
            list(accuracy_rows(comparison)), seed_numbers, conclusions(comparison, dt),
        ))  # fmt: skip
        tables.append(Table.create(
            "comparisons", "Paired comparisons: the same windows, trajectories drawn together",
            list(comparison_rows(comparison)), seed_numbers,
        ))  # fmt: skip
        tables.append(
            Table.create(
                "recall", "Recall per lane, read from decoded pictures", list(recall_rows(comparison)), seed_numbers
            )
        )
    tables.append(Table.create(
        "errors", "Latent error, spread and picture quality by horizon", list(error_rows(comparison)), seed_numbers,
    ))  # fmt: skip
    return tables


def headline_metrics(table: Table) -> list[str]:
    """The metrics of the first table that a terminal has room for: judges b and c, or whatever comes first."""
    metrics = list(dict.fromkeys(row.metric for row in table.rows))
    return [name for name in metrics if name.startswith("accuracy") and "judge a" not in name] or metrics[:1]


def row(name: str, metric: str, at: object, interval: Interval) -> Row:
    """A measured figure as a row of results.json."""
    return Row(name, metric, interval.value, at, interval.low, interval.high, interval.n)


def accuracy_rows(comparison: Comparison) -> Iterator[Row]:
    """Accuracy by each judge, and balanced accuracy on pictures."""
    scores = comparison.seeds[0]
    for judge in scores.judges:
        for method in scores.methods:
            if scores.has(method, judge):
                for h in scores.horizons:
                    metric = f"accuracy [%], {JUDGE_NAMES[judge]}"
                    yield row(method, metric, h, comparison.classes(method, judge, h))
    for method in scores.methods:
        for h in scores.horizons:
            interval = comparison.classes(method, "c", h, balanced_accuracy)
            yield row(method, "balanced accuracy [%], judge c", h, interval)


def recall_rows(comparison: Comparison) -> Iterator[Row]:
    """Recall of left, center and right by judge c."""
    scores = comparison.seeds[0]
    for lane, lane_name in enumerate(CLASSES):
        for method in scores.methods:
            for h in scores.horizons:
                yield row(method, f"recall of {lane_name} [%]", h, comparison.classes(method, "c", h, recall(lane)))


def error_rows(comparison: Comparison) -> Iterator[Row]:
    """Latent error against copying the last latent and against the constant mean, spread, PSNR."""
    scores = comparison.seeds[0]
    models = [name for name in MODELS if name in scores.methods]
    for method in models:
        for h in scores.horizons:
            yield row(method, "MSE / copy last", h, comparison.relative_error(method, "copy last", h))
    for method in models:
        for h in scores.horizons:
            yield row(method, "MSE / constant mean", h, comparison.relative_error(method, "constant mean", h))
    for method in [name for name in models if name != "constant mean"]:
        for h in scores.horizons:
            yield Row(method, "spread / real spread", comparison.std_ratio(method, h), at=h)
    for method in ("reconstruction", *models):
        for h in scores.horizons:
            yield row(method, "PSNR [dB]", h, comparison.mean(method, "psnr", h))


def comparison_rows(comparison: Comparison) -> Iterator[Row]:
    """Differences that are drawn in pairs, in points of accuracy, and the quotient to the oracle."""
    methods, judges = comparison.seeds[0].methods, comparison.seeds[0].judges
    for h in comparison.seeds[0].horizons:
        for other in ("copy last", "no-action twin", "swapped actions"):
            for judge in judges:
                if other in methods and judge != "a":
                    difference = comparison.classes_difference("predictor", other, judge, h)
                    yield row(f"predictor - {other}, judge {judge}", "difference [points]", h, difference)
        yield row("gaming gap", "difference [points]", h, comparison.gaming("predictor", h))
    if "state oracle" in methods and "b" in judges:
        for h in comparison.seeds[0].horizons:
            quotient = comparison.quotient("predictor", "state oracle", "b", h)
            yield row("predictor / state oracle, judge b", "quotient of accuracies", h, quotient)


def conclusions(comparison: Comparison, dt: float) -> list[str]:
    """What a reader should take from the figures, decided by them."""
    scores = comparison.seeds[0]
    middle = 10 if 10 in scores.horizons else scores.horizons[-1]
    seconds = f"{middle * dt:.1f} s ahead"
    ours, copied, ceiling = (
        comparison.classes(name, "c", middle) for name in ("predictor", "copy last", "reconstruction")
    )
    found = [
        f"**{seconds} the imagined pictures show the right lane in {ours.shown('%')} of windows**; repeating the last "
        f"frame gives {copied.shown('%')}, reconstructions of the real frames {ceiling.shown('%')}."
    ]
    if "state oracle" in scores.methods and "b" in scores.judges:
        quotient = comparison.quotient("predictor", "state oracle", "b", middle)
        if math.isfinite(quotient.value):  # not where the oracle is never right
            found.append(
                f"An independent classifier of the imagined latents is right {quotient.shown(decimals=2)} times as "
                "often as a model that is told the true state and the road ahead."
            )
    if "swapped actions" in scores.methods:
        judge = "b" if "b" in scores.judges else "c"
        drop = comparison.classes_difference("predictor", "swapped actions", judge, middle)
        verdict = "It uses its actions" if drop.low > 0 else "**It does not visibly use its actions**"
        found.append(f"{verdict}: with the actions of another drive it loses {drop.shown('points')} (judge {judge}).")
    found.append(_gaming_sentence(comparison.gaming("predictor", middle)))
    beaten = [h for h in scores.horizons if comparison.relative_error("predictor", "constant mean", h).high < 1]
    found.append(
        f"Its latent error is below that of a constant, the mean latent, at {_frames(beaten)}."
        if beaten
        else "Its latent error is at no horizon surely below that of a constant, the mean latent."
    )
    for h in scores.horizons:
        spread = comparison.std_ratio("predictor", h)
        if spread < LOW_SPREAD or spread > HIGH_SPREAD:
            meaning = "it predicts the mean of what could happen" if spread < 1 else "it drifts"
            found.append(f"At {h} frames the predictions spread {spread:.2f} times as far as real latents: {meaning}.")
            break
    if "b" not in scores.judges:
        found.append("There is no judge b: it reads the latents of the run's own VAE, and another one was given.")
    return found


def _gaming_sentence(gap: Interval) -> str:
    if gap.value <= GAMING_POINTS:
        limit = f"called gaming above {GAMING_POINTS:g}"
        return f"No gaming: between judge a and the pictures lie {gap.shown('points')} ({limit})."
    if gap.low > 0:
        return (
            f"**Gaming: the classifier of the loss reads {gap.shown('points')} more than the pictures show.** Its "
            "accuracy does not measure what the model knows."
        )
    return f"Perhaps gaming: between judge a and the pictures lie {gap.shown('points')}; too few drives to be sure."


def _frames(horizons: Sequence[int]) -> str:
    return ", ".join(map(str, horizons)) + (" frames ahead" if horizons != [1] else " frame ahead")
