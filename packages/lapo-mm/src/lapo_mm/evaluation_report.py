"""report.html of one run: what to conclude, learning curves, Q values, moving pictures, tables."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import numpy as np

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Table
from drivelab_shared.seeding import keyed_rng
from lapo_mm.diagnose import check
from lapo_mm.diagnose.contract import contract_of
from lapo_mm.diagnose.drawing import gradient_matrix
from lapo_mm.diagnose.steps import watched
from lapo_mm.drawing import film, side_by_side
from lapo_mm.rollouts import Trace
from lapo_mm.scores import Scores
from lapo_mm.tables import label
from lapo_mm.trained import AGENT, TrainedRun

FPS = 12.0
WATCHED_STEPS, WATCHED_BATCH = 3, 64


def write_report(
    path: Path, tables: Sequence[Table], scores: Scores, trained: TrainedRun, traces: Sequence[Trace]
) -> None:
    """One page for a person."""
    settings = trained.settings
    report = Report(
        f"{trained.store.info.dataset_id}: {label(AGENT, settings)}",
        f"{trained.folder.name}, {settings.steps} steps, seed {settings.seed}; "
        f"sees {' + '.join(trained.agent.shapes.modalities)}",
    )
    for table in tables:
        report.conclude(*table.conclusions)
    if any(len(policy.curve) for policy in scores.policies.values()):
        report.heading("Learning curves")
        caption = f"Mean {scores.unit} of {settings.eval_episodes} episodes after so many gradient steps"
        report.figure(curves_figure(scores, trained), caption, "Score over gradient steps, one line per policy")
    if traces:
        report.heading("What the policy does")
        films = side_by_side([film(trace, 4) for trace in traces])
        caption = "Episodes side by side: what the policy sees, and its actions as bars to the left (-) and right (+)"
        report.animation(films, FPS, caption)
    agent = scores.policies[AGENT]
    if len(agent.q):
        report.heading("What the critic promises, and what comes")
        caption = "Each dot is a held-out action in a held-out state; on the line, the Q value keeps its promise"
        report.figure(values_figure(scores, trained), caption, "Q values against discounted returns")
    _show_gradient_flow(report, trained)
    for table in tables:
        report.results(table)
    report.write(path)


def _show_gradient_flow(report: Report, trained: TrainedRun) -> None:
    """Who trains what, watched in a few more training steps of a copy of the agent."""
    agent = copy.deepcopy(trained.agent)
    agent.settings = replace(agent.settings, compile=False)
    agent.start_training()
    batches, steps = trained.batches(agent), trained.store.steps_of("train")
    chosen = [keyed_rng(0, number).choice(steps, WATCHED_BATCH) for number in range(WATCHED_STEPS)]
    record = watched(agent, [batches.fetch(rows) for rows in chosen], seed=0)
    contract = contract_of(agent.settings)
    broken = check(record, contract)
    report.heading("Who trains what")
    report.text("\n".join(f"- {line}" for line in [*map(str, broken), *contract.warnings]))
    caption = (
        "Norm of the gradient that each loss puts on each module; a green frame is declared. "
        + ("**The contract is broken.**" if broken else "The contract holds.")
        + " `lapo-mm diagnose` checks more."
    )
    report.figure(gradient_matrix(record, contract), caption, "Modules by losses, with the norm of the gradient")


def curves_figure(scores: Scores, trained: TrainedRun) -> matplotlib.figure.Figure:
    """Score by gradient steps, beside the two ends of the scale."""
    lines = [
        Line(label(name, trained.settings), policy.curve_steps.tolist(), scores.score(policy.curve).tolist())
        for name, policy in scores.policies.items()
        if len(policy.curve)
    ]
    if scores.unit == "score":
        ends = (min(line.x[0] for line in lines), max(line.x[-1] for line in lines))
        lines += [
            Line(name, ends, [value, value], is_baseline=True)
            for name, value in (("random policy", 0.0), ("expert", 100.0))
        ]
    return line_plot(lines, "gradient steps", scores.unit)


def values_figure(scores: Scores, trained: TrainedRun) -> matplotlib.figure.Figure:
    """Promised against true, a panel per policy."""
    shown = {name: policy for name, policy in scores.policies.items() if len(policy.q)}
    figure = matplotlib.figure.Figure(figsize=(3.2 * len(shown) + 0.4, 3.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(shown), sharex=True, sharey=True))
    edges = np.concatenate([part for one in shown.values() for part in (one.q, one.truth)])
    low, high = float(edges.min()), float(edges.max())
    for axes, (name, policy) in zip(panels, shown.items(), strict=True):
        axes.plot([low, high], [low, high], color="#777777", linewidth=1)
        axes.scatter(policy.truth, policy.q, s=8, color="#0072B2", alpha=0.6, linewidths=0)
        axes.set(xlabel="discounted return [reward]", box_aspect=1)
        axes.set_title(label(name, trained.settings), fontsize=9.5)
    panels[0].set_ylabel("Q [reward]")
    return figure
