"""Tables, conclusions and figures of a suite of recipes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, bar_conclusions
from drivelab_shared.stats import Interval, group_draws, interquartile_mean
from lapo_mm.config import AblateSettings
from lapo_mm.scores import Comparison, Scores, q_error
from lapo_mm.tables import LAST, last_metric, row, scores_metric, value_rows
from lapo_mm.trained import AGENT

TITLES = {
    "wirings": "Wirings and baselines after 2,000 steps",
    "best": "Wirings and baselines with the tuned recipe, 4,000 steps",
    "retune": "What to retune after the fix",
    "parts": "The best recipe with one part changed",
    "carracing": "The second dataset: a racing car",
}
FIRST = {"retune": "old values", "parts": "best"}
"""What the other recipes of a suite are compared with; elsewhere, the critic wiring."""
BARS = {"wirings": (60, 0.6), "best": (85, 0.4)}
"""Score that the critic wiring must reach, and share of the vae wiring's nMSE that it may have."""
CLONING = ("BC", "25 % BC")

Suite = Mapping[str, Sequence[Scores]]


def suite_tables(settings: AblateSettings, scores: Suite) -> list[Table]:
    """The suite's bars or differences first, then all figures."""
    compared = {name: Comparison.of(seeds, AGENT, settings.num_bootstrap) for name, seeds in scores.items()}
    labels = {name: name for name in compared}
    first = FIRST.get(settings.suite, "critic")
    command = f"lapo-mm ablate --suite {settings.suite}" + (f" --steps {settings.steps}" if settings.steps else "")
    command += f" --seeds {' '.join(map(str, settings.seeds))}"

    def create(name: str, title: str, rows: Sequence[Row], conclusions: Sequence[str] = ()) -> Table:
        return Table.create(name, title, rows, settings.seeds, conclusions, command=command, threads=settings.threads)

    suite, title = settings.suite, TITLES[settings.suite]
    bars = list(_bars(suite, compared))
    tables = [create(f"{suite}-bars", f"{title}: what it must reach", bars, bar_conclusions(bars))] if bars else []
    differences = list(_differences(compared, first))
    tables.append(create(suite, title, [*_score_rows(scores, compared), *differences], _verdicts(differences, first)))
    if any(one.has_values() for one in compared.values()):
        tables.append(create(f"{suite}-values", f"{title}: Q values", list(value_rows(compared, labels))))
    if suite in BARS:
        claims = list(_claims(scores, compared))
        tables.append(create(f"{suite}-claims", f"{title}: the request's expectations", claims, _claimed(claims)))
    return tables


def _score_rows(scores: Suite, compared: Mapping[str, Comparison]) -> Iterator[Row]:
    for name, comparison in compared.items():
        one = comparison.seeds[0]
        yield row(name, scores_metric(one), comparison.score())
        yield row(name, last_metric(one), _last(scores[name]))
        yield Row(name, f"spread of the last {LAST} evaluations [std]", float(np.mean(_wander(scores[name]))))


def _last(seeds: Sequence[Scores]) -> Interval:
    """Mean of the last evaluations of every run, never the best: the interval is over seeds alone."""
    values = np.array([one.score(one.policies[AGENT].curve[-LAST:].mean()) for one in seeds])
    draws = group_draws(1, len(values))
    drawn = [interquartile_mean(np.repeat(values, times)) for times in draws.seeds]
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(values) > 1 else (np.nan, np.nan)
    return Interval(float(interquartile_mean(values)), float(low), float(high), len(values))


def _wander(seeds: Sequence[Scores]) -> np.ndarray:
    """How much the score moves between the last evaluations of a run."""
    return np.array([one.score(one.policies[AGENT].curve[-LAST:]).std() for one in seeds])


def _differences(compared: Mapping[str, Comparison], first: str) -> Iterator[Row]:
    for name, comparison in compared.items():
        if name != first:
            gap = comparison.score_difference(compared[first])
            yield row(name, f"against {first} (paired) [points]", gap)


def _verdicts(rows: Sequence[Row], first: str) -> list[str]:
    found = []
    for one in rows:
        shown = f"{one.value:+.1f} [{one.low:.1f}, {one.high:.1f}] points"
        if one.low <= 0 <= one.high:
            found.append(f"{one.row}: not told apart from {first}: {shown}.")
        else:
            found.append(f"**{one.row}** is {'better' if one.value > 0 else 'worse'} than {first}: {shown}.")
    return found


def _bars(suite: str, compared: Mapping[str, Comparison]) -> Iterator[Row]:
    """The project's bars; the bar itself is part of the row's name."""
    critic = compared.get("critic")
    if suite == "carracing":
        for name in CLONING:
            yield row(
                f"critic wiring, better than {name} (bar: > 0)", "points", critic.score_difference(compared[name])
            )
    if suite not in BARS:
        return
    score, share = BARS[suite]
    vae = compared["vae"]
    yield row(f"score of the critic wiring (bar: >= {score})", "points", critic.score())
    if suite == "best":
        for name in (one for one in compared if one != "critic"):
            yield row(f"better than {name} (bar: > 0)", "points", critic.score_difference(compared[name]))
        yield row("score / BC's score (bar: >= 2)", "quotient", critic.score_quotient(compared["BC"]))
    yield row(f"nMSE of Q / the vae wiring's (bar: <= {share})", "quotient", critic.nmse_quotient(vae))
    gap = critic.correlation_difference(vae)
    yield row("correlation of Q - the vae wiring's (bar: > 0)", "difference", gap)


# --- what the request expected of its fix


def _claims(scores: Suite, compared: Mapping[str, Comparison]) -> Iterator[Row]:
    critic, vae, blind = compared["critic"], compared["vae"], compared["blind"]
    yield row("reward, critic / vae wiring (expected: 1.5 to 2)", "quotient", critic.score_quotient(vae))
    yield row("score above the blind ceiling, critic wiring", "points", critic.score_difference(blind))
    yield row("score above the blind ceiling, vae wiring", "points", vae.score_difference(blind))
    fall = [_mse(one, AGENT) for one in scores["critic"]], [_mse(one, AGENT) for one in scores["vae"]]
    change = 100 * (np.mean(fall[0]) / np.mean(fall[1]) - 1)
    yield Row("Q MSE, change from vae to critic wiring (expected: -60 to -75)", "%", float(change))
    reached, speed = _speed(scores["critic"], scores["vae"])
    yield Row("steps of the critic wiring to the best score that the vae wiring ever has", "steps", reached)
    yield Row("the vae wiring's steps to its best / that (expected: 3 to 5)", "quotient", speed)
    for name in ("critic", "vae"):
        yield Row(
            f"spread of the last {LAST} evaluations, {name} wiring (expected: smoother)",
            "points",
            float(np.mean(_wander(scores[name]))),
        )
        norms = [one.policies[AGENT].encoder_grad_norm for one in scores[name]]
        yield Row(
            f"gradient norm of the encoder at the end of a step, {name} wiring",
            "norm",
            float(np.median(np.concatenate(norms))),
        )


def _mse(scores: Scores, name: str) -> float:
    policy = scores.policies[name]
    return float(q_error(policy.q, policy.truth)["MSE"])


def _speed(critic: Sequence[Scores], vae: Sequence[Scores]) -> tuple[float, float]:
    """Steps at which the mean curve of the critic wiring passes the best of the vae wiring's, and how much sooner."""
    steps = critic[0].policies[AGENT].curve_steps
    ours, theirs = (np.mean([one.score(one.policies[AGENT].curve) for one in seeds], axis=0) for seeds in (critic, vae))
    passed = steps[ours >= theirs.max()]
    if not len(passed):
        return float("nan"), float("nan")
    return float(passed[0]), float(steps[theirs.argmax()] / passed[0])


def _claimed(rows: Sequence[Row]) -> list[str]:
    by_name = {one.row.partition(" (expected")[0]: one for one in rows}
    reward = by_name["reward, critic / vae wiring"]
    change = by_name["Q MSE, change from vae to critic wiring"]
    speed = by_name["the vae wiring's steps to its best / that"]
    return [
        f"The request expected 1.5 to 2 times the reward; the quotient of the scores is {reward.value:.2f} "
        f"[{reward.low:.2f}, {reward.high:.2f}].",
        f"It expected the Q error to fall by 60 to 75 %; it changes by {change.value:.0f} %.",
        "It expected convergence 3 to 5 times as fast; "
        + (
            f"the vae wiring's best score is passed {speed.value:.1f} times as early."
            if speed.value is not None
            else "the critic wiring does not pass the vae wiring's best score."
        ),
    ]


def write_report(path: Path, settings: AblateSettings, scores: Suite, tables: Sequence[Table]) -> None:
    """report.html of a suite: learning curves with bands, then the tables."""
    report = Report(TITLES[settings.suite], f"lapo-mm, suite `{settings.suite}`, {len(settings.seeds)} seeds")
    for table in tables:
        report.conclude(*(table.conclusions if table is tables[0] else ()))
    report.heading("Learning curves")
    caption = "Mean over seeds of the mean over episodes; the band goes from the lowest to the highest seed"
    report.figure(curves_figure(scores), caption, "Score over gradient steps, one line per recipe")
    for table in tables:
        report.results(table)
    report.write(path)


def curves_figure(scores: Suite) -> object:
    """Score by gradient steps."""
    lines = []
    for name, seeds in scores.items():
        steps = seeds[0].policies[AGENT].curve_steps
        curves = np.array([one.score(one.policies[AGENT].curve) for one in seeds])
        low, high = (curves.min(0), curves.max(0)) if len(seeds) > 1 else (None, None)
        is_baseline = not any(word in name for word in ("critic", "vae", "both", "separate"))
        lines.append(Line(name, steps.tolist(), curves.mean(0).tolist(), low, high, is_baseline=is_baseline))
    return line_plot(lines, "gradient steps", next(iter(scores.values()))[0].unit)
