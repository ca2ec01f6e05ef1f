"""Tables, conclusions and figures of a suite of recipes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, bar_conclusions
from drivelab_shared.stats import Interval
from v2x_teacher.ablate import ALONE, LABELS, ORIGINAL, ORIGINAL_FIXED, ROBUST, ROBUST_TINY
from v2x_teacher.config import AblateSettings
from v2x_teacher.figures import ADE, Comparison, figures
from v2x_teacher.scores import Scores
from v2x_teacher.situations import HIDDEN
from v2x_teacher.tables import COLLAPSED, percent, score_tables

HORIZONS_S = (2.5, 3.5)
TITLES = {
    "bars": "The robust recipe and everything beside it",
    "fixes": "Which labels and which fixes mattered",
    "recipes": "The robust recipe without one part each",
    "backbones": "Backbones and poolings",
}
NEGLIGIBLE = 0.01
NOTHING = 0.98
"""Share of the train mean's error from which on a recipe has learned nothing but the mean."""


def suite_tables(
    settings: AblateSettings,
    scores: dict[str, list[Scores]],
    situations: Mapping[str, np.ndarray],
    folders: dict[str, list[Path]],
) -> list[Table]:
    """The suite's figures, and its paired differences."""
    comparisons = {name: Comparison(seeds, settings.num_bootstrap) for name, seeds in scores.items()}
    command = f"v2x-teacher ablate --suite {settings.suite}"
    command += f" --epochs {settings.epochs}" if settings.epochs else ""
    command += f" --seeds {' '.join(map(str, settings.seeds))}"

    def create(name: str, title: str, rows: Iterator[Row], conclude=lambda rows: ()) -> Table:
        found = list(rows)
        return Table.create(
            name, title, found, settings.seeds, conclude(found), command=command, threads=settings.threads
        )

    if settings.suite == "bars":
        robust = comparisons[ROBUST]
        bars = create("bars", "What it must reach", _bars(robust, situations), bar_conclusions)
        return [bars, *score_tables(robust, situations, (*HORIZONS_S, 4.5), create)]
    if settings.suite == "fixes":
        rows = list(_fix_rows(comparisons))
        errors = [row for row in rows if row.metric == "ADE [m]"]
        others = [row for row in rows if row.metric != "ADE [m]"]
        return [
            create("fixes", TITLES["fixes"], iter(errors), lambda _: list(_fix_conclusions(comparisons))),
            create("fixes-details", "The same runs: spread and paired differences", iter(others)),
        ]
    if settings.suite == "backbones":
        return [create("backbones", TITLES["backbones"], _backbone_rows(comparisons, folders))]
    rows = list(_recipe_rows(comparisons))
    return [create("recipes", TITLES["recipes"], iter(rows), _recipe_conclusions)]


# --- the robust recipe's bars -----------------------------------------------------------------------------------------


def _bars(robust: Comparison, situations: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """The project's bars; the bar itself is part of the row's name."""
    every = figures((*HORIZONS_S, 4.5))
    for name, limit in (("CTRV", 35), ("ego MLP", 10)):
        gain = robust.skill("teacher", name)
        yield Row(f"ADE, better than {name} (bar: >= {limit})", "%", **percent(gain))
    if HIDDEN in situations:
        gain = robust.on(situations[HIDDEN]).skill("teacher", "trained without infrastructure")
        yield Row(f"{HIDDEN}, better than trained without infrastructure (bar: > 0)", "%", **percent(gain))
    worse = robust.skill("shuffled pictures", "teacher")
    loss = Interval(-worse.value, -worse.high, -worse.low, worse.n)
    yield Row("ADE, worse with shuffled pictures (bar: > 0)", "%", **percent(loss))
    for axis in "xy":
        spread = robust.interval(every[f"spread_{axis}"], "teacher")
        yield Row(f"spread {axis} of the truth's (bar: >= 0.8)", "quotient", **vars(spread))


# --- which fixes mattered ---------------------------------------------------------------------------------------------


def _fix_rows(comparisons: dict[str, Comparison]) -> Iterator[Row]:
    every = figures(HORIZONS_S)
    references = ("ego MLP", "CTRV", "CV", "train mean", "stand still")
    for labels in LABELS:
        suffix = f", {labels}"
        own = {name.removesuffix(suffix): c for name, c in comparisons.items() if name.endswith(suffix)}
        measured = [(name, comparison, "teacher") for name, comparison in own.items()]
        measured += [(name, own[ROBUST], name) for name in references if name in own[ROBUST].seeds[0].methods]
        for name, comparison, method in measured:
            yield Row(name, "ADE [m]", at=f"{labels} labels", **vars(comparison.interval(ADE, method)))
        for name, comparison, method in measured:
            for axis in "xy":
                spread = comparison.interval(every[f"spread_{axis}"], method)
                yield Row(name, f"spread {axis} [of the truth's]", at=f"{labels} labels", **vars(spread))
        for name, comparison in own.items():
            gain = comparison.skill("teacher", "train mean")
            yield Row(name, "better than the train mean [%]", at=f"{labels} labels", **percent(gain))
        for name, comparison in own.items():
            if name != ORIGINAL:
                gain = comparison.skill("teacher", "teacher", other=own[ORIGINAL])
                yield Row(name, "better than original [%]", at=f"{labels} labels", **percent(gain))


def _fix_conclusions(comparisons: dict[str, Comparison]) -> Iterator[str]:
    by_labels = {labels: comparisons[f"{ORIGINAL}, {labels}"] for labels in LABELS}
    mean = {labels: c.interval(ADE, "train mean").value for labels, c in by_labels.items()}
    yield (
        f"labels: the train mean alone is off by {mean['rows']:.1f} m on row labels and by {mean['time']:.1f} m on "
        "labels by time, before anything is learned"
    )
    for name in (ORIGINAL, *ALONE, ORIGINAL_FIXED, ROBUST_TINY, ROBUST):
        yield _verdict(name, comparisons[f"{name}, time"], by_labels["time"])
    on_rows = {name: c for name, c in comparisons.items() if name.endswith(", rows")}
    shares = {name: c.quotient(ADE, "teacher", "train mean") for name, c in on_rows.items()}
    best = min(shares, key=lambda name: shares[name].value)
    share = shares[best]
    # With a single sequence there is no interval.
    interval = f" [{100 * (1 - share.high):.0f}, {100 * (1 - share.low):.0f}]" if np.isfinite(share.low) else ""
    yield (
        f"on row labels the best recipe ({best.removesuffix(', rows')}) is "
        f"{100 * (1 - share.value):.0f} %{interval} below the train mean"
    )


def _verdict(name: str, comparison: Comparison, original: Comparison) -> str:
    """What a recipe does on labels by time."""
    error = comparison.interval(ADE, "teacher").value
    share = comparison.quotient(ADE, "teacher", "train mean")
    is_mean = np.fmax(share.value, share.high) > NOTHING  # fmax: there may be no interval
    learned = "no better than the train mean" if is_mean else f"{100 * (1 - share.value):.0f} % below the mean"
    spread = [comparison.interval(figures(HORIZONS_S)[f"spread_{axis}"], "teacher").value for axis in "xy"]
    learned += "; collapsed to one trajectory" if max(spread) < COLLAPSED else ""
    if name == ORIGINAL:
        return f"on labels by time, original: {error:.2f} m, {learned}"
    gain = comparison.skill("teacher", "teacher", other=original)
    if abs(gain.value) < NEGLIGIBLE:
        verdict = "makes no difference (less than 1 %)"
    elif gain.low > 0:
        verdict = f"**helps** by {100 * gain.value:.0f} % [{100 * gain.low:.0f}, {100 * gain.high:.0f}]"
    elif gain.high < 0:
        verdict = f"**harms** by {-100 * gain.value:.0f} % [{-100 * gain.high:.0f}, {-100 * gain.low:.0f}]"
    else:
        verdict = "makes no difference that the intervals would show"
    return f"{name}: {error:.2f} m, {verdict}; {learned}"


# --- parts and backbones ----------------------------------------------------------------------------------------------


def _recipe_rows(comparisons: dict[str, Comparison]) -> Iterator[Row]:
    every = figures((*HORIZONS_S, 4.5))
    for name, comparison in comparisons.items():
        yield Row(name, "ADE [m]", **vars(comparison.interval(ADE, "teacher")))
        yield Row(name, "L2 at 4.5 s [m]", **vars(comparison.interval(every["l2_4.5s_m"], "teacher")))
        for axis in "xy":
            spread = comparison.interval(every[f"spread_{axis}"], "teacher")
            yield Row(name, f"spread {axis} [of the truth's]", **vars(spread))
        if name != ROBUST:
            gain = comparison.skill("teacher", "teacher", other=comparisons[ROBUST])
            yield Row(name, "better than robust [%]", **percent(gain))


def _recipe_conclusions(rows: list[Row]) -> list[str]:
    changes = [row for row in rows if row.metric == "better than robust [%]"]
    said = [
        f"**{row.row}** costs {-row.value:.0f} % [{-row.high:.0f}, {-row.low:.0f}]"
        for row in sorted(changes, key=lambda row: row.value)
        if row.high is not None and row.high < 0
    ]
    said += [f"**{row.row}** gains {row.value:.0f} %" for row in changes if row.low is not None and row.low > 0]
    unclear = [row.row for row in changes if row.low is None or row.low <= 0 <= row.high]
    return [*said, *([f"no difference that the intervals would show: {'; '.join(unclear)}"] if unclear else [])]


def _backbone_rows(comparisons: dict[str, Comparison], folders: dict[str, list[Path]]) -> Iterator[Row]:
    for name, comparison in comparisons.items():
        yield Row(name, "validation ADE [m]", float(np.mean([_validation_ade(folder) for folder in folders[name]])))
        yield Row(name, "test ADE [m]", **vars(comparison.interval(ADE, "teacher")))


def _validation_ade(run: Path) -> float:
    """Of the last epoch."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["ade_m"] for line in lines if line.get("stage") == "teacher" and line["split"] == "val"][-1]


def write_report(path: Path, settings: AblateSettings, tables: list[Table]) -> None:
    """report.html of a suite: what to conclude, one figure, then the tables."""
    report = Report(TITLES[settings.suite], f"v2x-teacher, suite `{settings.suite}`, {len(settings.seeds)} seeds")
    report.conclude(*tables[0].conclusions)
    if settings.suite == "bars":
        report.figure(_horizon_figure(tables[1]), "Point error by horizon; bands are 95 % intervals", TITLES["bars"])
    for table in tables:
        report.results(table)
    report.write(path)


def _horizon_figure(table: Table):
    metric = "L2 at that moment [m]"
    shown = ("teacher", "trained without infrastructure", "ego MLP", "shuffled pictures", "CTRV", "train mean")
    lines = []
    for name in shown:
        rows = [r for r in table.rows if (r.row, r.metric) == (name, metric) and r.at != "average"]
        if rows:
            x = [float(row.at.split()[0]) for row in rows]
            lines.append(Line.of(name, x, rows, is_baseline=name in ("CTRV", "train mean")))
    return line_plot(lines, "seconds ahead", "distance to the driven position [m]")
