"""Tables, bars and page of an ablation. Differences are paired by scenario and seed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, bar_conclusions
from drivelab_shared.stats import Interval, bootstrap, group_draws, ratio
from opv2v_stage2.ablate import CONSISTENT, DISTILLED, HEIGHT, LITERAL, MASK, UPSTREAM, ZERO
from opv2v_stage2.config import AblateSettings
from opv2v_stage2.evaluate import POSES
from opv2v_stage2.evaluate.tables import CROSS, DENSE, MAIN, TITLES, geometric, sums_by_scenario
from opv2v_stage2.metrics.columns import Value, read_rows

TEACHER = "stage 1 (teacher)"
GPS = "GPS"
Rows = Sequence[Mapping[str, Value]]


@dataclass(frozen=True)
class Finished:
    """The runs of a suite."""

    runs: dict[str, list[Path]]
    """By row, one for each seed."""

    @property
    def names(self) -> list[str]:
        """Rows of the tables: the teacher, then the recipes."""
        return [TEACHER, *self.runs]

    def rows(self, name: str, mode: str) -> list[Rows]:
        """What was measured of a row in a mode, for each seed."""
        stage = "stage1" if name == TEACHER else "stage2"
        return [read_rows(run / stage / f"{mode}_metrics.csv") for run in self._of(name)]

    @cached_property
    def _poses(self) -> dict[Path, list[dict[str, Value]]]:
        return {run: json.loads((run / POSES).read_text()) for runs in self.runs.values() for run in runs}

    def poses(self, name: str, metres: float) -> list[Rows]:
        """Errors between vehicles at a noise of GPS, for each seed; `GPS` is one, too."""
        method = GPS if name == GPS else "stage2"
        return [
            [row for row in self._poses[run] if row["method"] == method and row["gps_noise_m"] == metres]
            for run in self._of(name)
        ]

    @property
    def noises(self) -> list[float]:
        """At which poses were measured."""
        rows = next(iter(self._poses.values()))
        return sorted({float(row["gps_noise_m"]) for row in rows})

    def _of(self, name: str) -> list[Path]:
        return self.runs.get(name) or next(iter(self.runs.values()))


def suite_tables(settings: AblateSettings, finished: Finished) -> list[Table]:
    """What it must reach, then everything that was measured."""
    tables = []
    if settings.suite == "losses":
        bars = _bars(settings, finished)
        tables.append(_table("bars", "What it must reach", bars, settings, bar_conclusions(bars)))
    for mode, title in TITLES.items():
        rows = [
            _row(name, metric, interval)
            for name in finished.names
            for metric, (column, statistic) in (MAIN | DENSE).items()
            if (interval := _measured(settings, finished.rows(name, mode), column, statistic)) is not None
        ]
        tables.append(_table(mode, title, rows, settings))
    noise, distance = _noise(settings, finished), _distance(settings, finished)
    tables.append(_table("noise", "Poses between vehicles over the noise of GPS", noise, settings))
    tables.append(_table("distance", "Poses between vehicles over their distance", distance, settings))
    return tables


def write_report(path: Path, settings: AblateSettings, finished: Finished, tables: Sequence[Table]) -> None:
    """One page for a person."""
    steps = f"{settings.budget} recipe, {len(settings.seeds)} seeds"
    report = Report(f"Stage 2, {settings.suite}", steps)
    for table in tables:
        report.conclude(*table.conclusions)
    report.heading("Where the other vehicle is, over the noise of GPS")
    (noise,) = [table for table in tables if table.table == "noise"]
    caption = "Mean error between front cameras, 95 % interval over scenarios and seeds"
    report.figure(noise_figure(noise), caption, "Error between vehicles over the noise of GPS")
    for table in tables:
        report.results(table)
    report.write(path)


def noise_figure(table: Table) -> object:
    """Metres of error over the noise of GPS, one line per row; GPS itself is dashed."""
    rows = [row for row in table.rows if row.metric.endswith("[m]")]
    lines = []
    for name in dict.fromkeys(row.row for row in rows):
        own = [row for row in rows if row.row == name]
        lines.append(Line.of(name, [float(str(row.at).split()[0]) for row in own], own, is_baseline=name == GPS))
    return line_plot(lines, "standard deviation of GPS [m and degrees]", "error between vehicles [m]")


def _bars(settings: AblateSettings, finished: Finished) -> list[Row]:
    """The rows that a bar was set for; single-vehicle figures unless the row says otherwise."""

    def compared(name: str, column: str, ours: str, theirs: str, statistic: Callable, mode: str = "single") -> Row:
        pair = finished.rows(ours, mode), finished.rows(theirs, mode)
        return _row(name, "", _paired(settings, *pair, column, statistic))

    scale = "scale_eff_log_err"
    rows = [
        compared("floaters, by upstream's mask rule (bar: <= 0.6)", "floaters_pct", HEIGHT, UPSTREAM, _quotient),
        compared("floaters of two vehicles (bar: <= 0.6)", "floaters_pct", HEIGHT, UPSTREAM, _quotient, "coop"),
        compared("complete above 4 m, more points (bar: >= -5)", "completeness_high_pct", HEIGHT, UPSTREAM, _less),
        compared("depth MAE, by zeros in the loss (bar: <= 0.5)", "depth_mae", MASK, ZERO, _quotient),
        compared("scale error, more than without distillation (bar: < 0)", scale, DISTILLED, HEIGHT, _less_factor),
        compared("scale error, more than the teacher's (bar: <= 0)", scale, DISTILLED, TEACHER, _less_factor),
        compared("false ceiling of the literal height term, by ours", "ceiling_pct", LITERAL, HEIGHT, _quotient),
    ]
    for metres in finished.noises:
        pair = finished.poses(CONSISTENT, metres), finished.poses(GPS, metres)
        interval = _paired(settings, *pair, CROSS["error between vehicles [m]"], _quotient)
        rows.append(_row(f"between vehicles, by GPS alone at {metres:g} m (bar: <= 1.1)", "", interval))
    named = [row for row in rows if "(bar:" in row.row]
    return [Row(row.row, "value", row.value, None, row.low, row.high, row.n) for row in named]


def _noise(settings: AblateSettings, finished: Finished) -> list[Row]:
    return [
        _row(name, metric, interval, f"{metres:g} m")
        for name in [GPS, *finished.runs]
        for metric, column in CROSS.items()
        for metres in finished.noises
        if (interval := _measured(settings, finished.poses(name, metres), column, ratio)) is not None
    ]


def _distance(settings: AblateSettings, finished: Finished) -> list[Row]:
    """At the largest noise, by the fine buckets of the frame list."""
    metres = finished.noises[-1]
    buckets = sorted(
        {str(row["baseline_bucket"]) for rows in finished.poses(GPS, metres) for row in rows},
        key=lambda bucket: float(bucket[1:].partition(",")[0]),
    )
    rows = []
    for name in [GPS, *finished.runs]:
        for bucket in buckets:
            near = [[row for row in rows if row["baseline_bucket"] == bucket] for rows in finished.poses(name, metres)]
            column = CROSS["error between vehicles [m]"]
            interval = _measured(settings, near, column, ratio)
            if interval is not None:
                rows.append(_row(name, f"error between vehicles at {metres:g} m of noise [m]", interval, f"{bucket} m"))
    return rows


def _quotient(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., :2]) / ratio(sums[..., 2:])


def _less(sums: np.ndarray) -> np.ndarray:
    return ratio(sums[..., :2]) - ratio(sums[..., 2:])


def _less_factor(sums: np.ndarray) -> np.ndarray:
    return geometric(sums[..., :2]) - geometric(sums[..., 2:])


def _paired(
    settings: AblateSettings, ours: Sequence[Rows], theirs: Sequence[Rows], column: str, statistic: Callable
) -> Interval:
    """A statistic of two measures of the same scenarios and seeds."""
    sums = [sums_by_scenario(runs, column) for runs in (ours, theirs)]
    if any(one is None for one in sums):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    both = np.concatenate(sums, axis=-1)
    return bootstrap(both, statistic, group_draws(both.shape[1], both.shape[0], settings.num_bootstrap))


def _measured(settings: AblateSettings, runs: Sequence[Rows], column: str, statistic: Callable) -> Interval | None:
    sums = sums_by_scenario(runs, column)
    if sums is None:
        return None
    return bootstrap(sums, statistic, group_draws(sums.shape[1], sums.shape[0], settings.num_bootstrap))


def _row(name: str, metric: str, interval: Interval, at: str | None = None) -> Row:
    return Row(name, metric, interval.value, at, interval.low, interval.high, interval.n)


def _table(
    name: str, title: str, rows: Sequence[Row], settings: AblateSettings, conclusions: Sequence[str] = ()
) -> Table:
    return Table.create(name, title, rows, settings.seeds, conclusions, threads=settings.threads)
