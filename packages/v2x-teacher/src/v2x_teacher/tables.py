"""The tables of an evaluation, from scores of one or several training seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from drivelab_shared import results
from drivelab_shared.results import Row, Table
from drivelab_shared.stats import Interval
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.figures import ADE, Comparison, figures
from v2x_teacher.metrics import ranges
from v2x_teacher.scores import Scores
from v2x_teacher.situations import HIDDEN
from v2x_teacher.trained import TrainedRun
from v2x_teacher.transmission import file_bytes_per_s, raw_bytes_per_s

COLLAPSED = 0.05
"""Spread ratio below which a model says the same for every sample."""
SHARED_RATE_HZ = 10.0
PERCENT = 100.0


def evaluation_tables(
    seeds: Sequence[Scores],
    situations: Mapping[str, np.ndarray],
    training_seeds: Sequence[int],
    trained: TrainedRun,
    settings: EvaluateSettings,
) -> list[Table]:
    """Errors, differences to the baselines, situations, range and transmission cost."""
    comparison = Comparison(seeds, settings.num_bootstrap, settings.seed)

    def table(name: str, title: str, rows: Iterator[Row], conclude=lambda rows: ()) -> Table:
        found = list(rows)
        return Table.create(name, title, found, training_seeds, conclude(found), threads=settings.threads)

    return [
        *score_tables(comparison, situations, settings.horizons_s, table),
        table("range", "Range of all predicted positions, and what it hides", _range_rows(seeds[0])),
        table("transmission", "What the infrastructure would have to send", _transmission_rows(trained)),
    ]


def score_tables(
    comparison: Comparison,
    situations: Mapping[str, np.ndarray],
    horizons_s: Sequence[float],
    table: Callable[..., Table],
) -> list[Table]:
    """Errors, differences to the baselines, and errors by situation. `table` makes one of name, title and rows."""
    methods = list(comparison.seeds[0].methods)
    every = figures(horizons_s, comparison.seeds[0].truth.shape[1])
    return [
        table(
            "errors",
            "Distance between predicted and driven trajectory",
            _error_rows(comparison, every, methods, horizons_s),
            lambda _: conclusions(comparison, every, methods, situations),
        ),
        table("gain", "How much better the teacher is, on the same sequences", _gain_rows(comparison, methods)),
        table("situations", "Mean error (ADE) by situation", _situation_rows(comparison, methods, situations)),
    ]


def headline(tables: Sequence[Table]) -> str:
    """For the terminal: the conclusions, and the error of every method."""
    errors = tables[0]
    return results.plain(errors, *list(dict.fromkeys(row.metric for row in errors.rows))[:3])


def conclusions(
    comparison: Comparison, every: Mapping, methods: Sequence[str], situations: Mapping[str, np.ndarray]
) -> list[str]:
    """What a reader should take away, one sentence each."""
    spread = [comparison.interval(every[f"spread_{axis}"], "teacher").value for axis in "xy"]
    error = comparison.interval(ADE, "teacher").value
    said = [f"the teacher is off by {error:.2f} m on average (ADE over 4.5 s)"]
    for name in ("CTRV", "ego MLP", "trained without infrastructure", "shuffled pictures"):
        if name in methods:
            said.append(_compared(name, comparison.skill("teacher", name)))
    if HIDDEN in situations and "trained without infrastructure" in methods:
        gain = comparison.on(situations[HIDDEN]).skill("teacher", "trained without infrastructure")
        said.append(f"on {HIDDEN}: {_compared('trained without infrastructure', gain)}")
    if max(spread) < COLLAPSED:
        said.append("**it has collapsed**: every sample gets the same trajectory")
    else:
        said.append(f"predictions vary {spread[0]:.2f} (x) and {spread[1]:.2f} (y) times as much as the truth")
    if "train mean" in methods and comparison.quotient(ADE, "teacher", "train mean").value > 0.98:
        said.append("**it is no better than the mean trajectory of the training split**")
    return said


def _compared(name: str, gain: Interval) -> str:
    better = "better than" if gain.value >= 0 else "worse than"
    if not np.isfinite(gain.low):
        return f"{abs(PERCENT * gain.value):.0f} % {better} {name}, of which too few sequences can say no interval"
    clear = "" if gain.low > 0 or gain.high < 0 else ", which may be chance"
    interval = f"[{PERCENT * gain.low:.0f}, {PERCENT * gain.high:.0f}]"
    return f"{abs(PERCENT * gain.value):.0f} % {better} {name} {interval}{clear}"


def _error_rows(
    comparison: Comparison, every: Mapping, methods: Sequence[str], horizons: Sequence[float]
) -> Iterator[Row]:
    single = {
        "ADE [m]": "ade_m",
        "spread x [of the truth's]": "spread_x",
        "spread y [of the truth's]": "spread_y",
        "FDE [m]": "fde_m",
        "misses > 2 m [%]": "miss_percent",
        "lateral [m]": "lateral_m",
        "longitudinal [m]": "longitudinal_m",
        "uncomfortable [%]": "uncomfortable_percent",
    }
    at_horizons = {
        "L2 at that moment [m]": ("l2", "_m"),
        "L2, mean until then [m]": ("l2_to", "_m"),
        "collisions at that moment [%]": ("collision", "_percent"),
        "collisions until then [%]": ("collision_to", "_percent"),
    }
    for method in methods:
        for metric, name in single.items():
            yield Row(method, metric, **vars(comparison.interval(every[name], method)))
        for metric, (name, unit) in at_horizons.items():
            for place in (*(f"{h:g}s" for h in horizons), "avg"):
                at = place.replace("s", " s") if place != "avg" else "average"
                interval = comparison.interval(every[f"{name}_{place}{unit}"], method)
                yield Row(method, metric, at=at, **vars(interval))


def _gain_rows(comparison: Comparison, methods: Sequence[str]) -> Iterator[Row]:
    for method in methods:
        if method not in ("teacher", "driven"):
            gain = comparison.skill("teacher", method)
            yield Row(f"than {method}", "smaller ADE [%]", **percent(gain))
            yield Row(f"than {method}", "ADE difference [m]", **vars(comparison.difference(ADE, "teacher", method)))


def _situation_rows(
    comparison: Comparison, methods: Sequence[str], situations: Mapping[str, np.ndarray]
) -> Iterator[Row]:
    for situation, chosen in situations.items():
        part = comparison.on(chosen)
        for method in methods:
            yield Row(method, "ADE [m]", at=f"{situation} ({int(chosen.sum())})", **vars(part.interval(ADE, method)))
        if "trained without infrastructure" in methods:
            gain = part.skill("teacher", "trained without infrastructure")
            yield Row("teacher than without infrastructure", "smaller ADE [%]", at=situation, **percent(gain))


def _range_rows(scores: Scores) -> Iterator[Row]:
    everybody = {name: method.trajectories for name, method in scores.methods.items()}
    for name, trajectories in everybody.items():
        for axis, (low, high) in zip("xy", ranges(trajectories), strict=True):
            yield Row(name, "lowest [m]", float(low), at=axis)
            yield Row(name, "highest [m]", float(high), at=axis)


def _transmission_rows(trained: TrainedRun) -> Iterator[Row]:
    pictures = [pair.infrastructure_image for pair in trained.inputs.samples.pairs if pair.infrastructure_image]
    settings, features = trained.settings.backbone, trained.inputs.features
    height, width = settings.height, settings.width
    sent = {
        "raw pixels, 1920 x 1080": raw_bytes_per_s(1920, 1080, SHARED_RATE_HZ),
        f"raw pixels as the model reads them, {width} x {height}": raw_bytes_per_s(width, height, SHARED_RATE_HZ),
        "pictures as they are stored": file_bytes_per_s(pictures, SHARED_RATE_HZ),
    }
    if features is not None and trained.inputs.cameras == "both":
        sent["pooled features, 4 bytes each"] = features[0].size / 2 * 4 * SHARED_RATE_HZ
    for name, rate in sent.items():
        yield Row(name, "bytes per second at 10 Hz", round(rate) if np.isfinite(rate) else None)


def percent(interval: Interval) -> dict[str, float | int]:
    """An interval of shares as fields of a Row, in percent."""
    return {
        "value": PERCENT * interval.value,
        "low": PERCENT * interval.low,
        "high": PERCENT * interval.high,
        "n": interval.n,
    }
