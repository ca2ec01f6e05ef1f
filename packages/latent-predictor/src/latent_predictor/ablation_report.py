"""Tables, conclusions and figure of a suite of recipes."""

from collections.abc import Callable, Iterator
from pathlib import Path

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, bar_conclusions
from drivelab_shared.stats import Interval
from latent_predictor.ablate import LAMBDAS, compare
from latent_predictor.config import AblateSettings
from latent_predictor.scores import Comparison, Scores, balanced_accuracy, recall
from latent_predictor.tables import GAMING_POINTS, row

HORIZONS = (1, 5, 10, 20)
REFERENCES = ("real", "reconstruction", "copy last", "majority class", "state oracle")
MSE_ONLY = "original, MSE only"
TITLES = {
    "recipes": "The best recipe, the request's recipe and the baselines",
    "lambda": "The weight of the classification loss",
    "parts": "The best recipe without one part each",
}


def suite_tables(settings: AblateSettings, scores: dict[str, list[Scores]]) -> list[Table]:
    """The suite's figures, and its paired differences."""
    comparisons = compare(settings, scores)
    rows = [*_recipe_rows(comparisons), *_reference_rows(next(iter(comparisons.values())))]
    command = f"latent-predictor ablate --suite {settings.suite} --budget {settings.budget}"
    command += f" --epochs {settings.epochs}" if settings.epochs else ""
    command += f" --seeds {' '.join(map(str, settings.seeds))}"
    create = lambda name, title, rows, conclusions=(): Table.create(  # noqa: E731
        name, title, rows, settings.seeds, conclusions, command=command, threads=settings.threads
    )
    tables = [create(settings.suite, TITLES[settings.suite], rows)]
    if settings.suite == "recipes":
        bars = list(_bars(comparisons))
        tables.insert(0, create("bars", "What it must reach", bars, bar_conclusions(bars)))
    if settings.suite == "parts":
        differences = list(_differences(comparisons, "best"))
        conclusions = _part_conclusions(differences)
        tables.insert(0, create("parts-differences", "What each part is worth", differences, conclusions))
    return tables


def _recipe_rows(comparisons: dict[str, Comparison]) -> Iterator[Row]:
    measures: list[tuple[str, Callable[[Comparison, int], Interval]]] = [
        ("accuracy on pictures (c) [%]", lambda c, h: c.classes("predictor", "c", h)),
        ("balanced accuracy on pictures (c) [%]", lambda c, h: c.classes("predictor", "c", h, balanced_accuracy)),
        ("recall of left on pictures (c) [%]", lambda c, h: c.classes("predictor", "c", h, recall(0))),
        ("accuracy of the loss's classifier (a) [%]", lambda c, h: c.classes("predictor", "a", h)),
        ("accuracy of an independent classifier (b) [%]", lambda c, h: c.classes("predictor", "b", h)),
        ("gaming gap [points]", lambda c, h: c.gaming("predictor", h)),
        ("MSE / constant mean", lambda c, h: c.relative_error("predictor", "constant mean", h)),
    ]
    for metric, measure in measures:
        for name, comparison in comparisons.items():
            for h in HORIZONS:
                yield row(name, metric, h, measure(comparison, h))
    for name, comparison in comparisons.items():
        if "swapped actions" in comparison.seeds[0].methods:
            for h in HORIZONS:
                drop = comparison.classes_difference("predictor", "swapped actions", "b", h)
                yield row(name, "accuracy (b) lost with swapped actions [points]", h, drop)


def _reference_rows(comparison: Comparison) -> Iterator[Row]:
    for metric, judge, statistic in (
        ("accuracy on pictures (c) [%]", "c", {}),
        ("balanced accuracy on pictures (c) [%]", "c", {"statistic": balanced_accuracy}),
        ("accuracy of the loss's classifier (a) [%]", "a", {}),
        ("accuracy of an independent classifier (b) [%]", "b", {}),
    ):
        for name in REFERENCES:
            if name in comparison.seeds[0].methods:
                for h in HORIZONS:
                    yield row(name, metric, h, comparison.classes(name, judge, h, **statistic))


def _bars(comparisons: dict[str, Comparison]) -> Iterator[Row]:
    """The project's bars on the best recipe; the bar itself is part of the row's name."""
    best, plain, blind = (comparisons[name] for name in ("best", MSE_ONLY, "best without actions"))
    if "state oracle" in best.seeds[0].methods:
        quotient = best.quotient("predictor", "state oracle", "b", 10)
        yield row("accuracy (b) / state oracle, 10 frames (bar: >= 0.95)", "quotient", None, quotient)
    yield row(
        "accuracy (c) - request's MSE recipe, 10 frames (bar: >= 8)", "points", None,
        best.classes_difference("predictor", "predictor", "c", 10, other=plain),
    )  # fmt: skip
    yield row(
        "balanced accuracy (c) - request's MSE recipe, 20 frames (bar: >= 8)", "points", None,
        best.classes_difference("predictor", "predictor", "c", 20, balanced_accuracy, other=plain),
    )  # fmt: skip
    if "swapped actions" in best.seeds[0].methods:
        yield row(
            "accuracy (b) lost with swapped actions, 10 frames (bar: >= 15)", "points", None,
            best.classes_difference("predictor", "swapped actions", "b", 10),
        )  # fmt: skip
    for judge in "bc":
        yield row(
            f"accuracy ({judge}) - own no-action twin, 10 frames (bar: > 0)", "points", None,
            best.classes_difference("predictor", "predictor", judge, 10, other=blind),
        )  # fmt: skip
    gaming = best.gaming("predictor", 10)
    yield row(f"gaming gap, 10 frames (bar: <= {GAMING_POINTS:g})", "points", None, gaming)


def _differences(comparisons: dict[str, Comparison], base: str) -> Iterator[Row]:
    for judge in "cb":
        for name, comparison in comparisons.items():
            if name != base:
                for h in HORIZONS:
                    lost = comparison.classes_difference("predictor", "predictor", judge, h, other=comparisons[base])
                    yield row(name, f"accuracy ({judge}) against the whole recipe [points]", h, lost)


def _part_conclusions(rows: list[Row]) -> list[str]:
    found = []
    for name in dict.fromkeys(r.row for r in rows):
        own = [r for r in rows if r.row == name and "(c)" in r.metric and r.low is not None]
        harmful = [r for r in own if r.high < 0]
        helpful = [r for r in own if r.low > 0]
        if harmful:
            listed = ", ".join(f"{r.value:.1f} at {r.at}" for r in harmful)
            found.append(f"**{name}** costs accuracy on pictures: {listed} frames (points).")
        if helpful:
            listed = ", ".join(f"+{r.value:.1f} at {r.at}" for r in helpful)
            found.append(f"**{name}** gains accuracy on pictures: {listed} frames (points).")
        if not harmful and not helpful:
            found.append(f"{name}: no difference on pictures that the intervals would show.")
    return found


def write_report(path: Path, settings: AblateSettings, tables: list[Table]) -> None:
    """report.html of a suite: one figure, then the tables."""
    report = Report(TITLES[settings.suite], f"latent-predictor, suite `{settings.suite}`, {len(settings.seeds)} seeds")
    report.conclude(*tables[0].conclusions)
    figure = _lambda_figure(tables[-1]) if settings.suite == "lambda" else _horizon_figure(tables[-1])
    report.figure(figure, "Lane read from decoded pictures; bands are 95 % intervals", TITLES[settings.suite])
    for table in tables:
        report.results(table)
    report.write(path)


def _horizon_figure(table: Table):
    names = [name for name in dict.fromkeys(r.row for r in table.rows) if name != "real"]
    lines = []
    for name in names:
        rows = [r for r in table.rows if r.row == name and r.metric == "accuracy on pictures (c) [%]"]
        lines.append(Line.of(name, [r.at for r in rows], rows, is_baseline=name in REFERENCES))
    return line_plot(lines, "frames imagined", "right lane on decoded pictures [%]", y_range=(0, 100))


def _lambda_figure(table: Table):
    lines = []
    for recipe in ("original", "best"):
        for h in (10, 20):
            metric = "accuracy on pictures (c) [%]"
            found = {r.row: r for r in table.rows if (r.metric, r.at) == (metric, h)}
            rows = [found[f"{recipe}, lambda {x:g}"] for x in LAMBDAS]
            lines.append(Line.of(f"{recipe}, {h} frames", LAMBDAS, rows))
    return line_plot(lines, "lambda_cls", "right lane on decoded pictures [%]", x_ticks=LAMBDAS)
