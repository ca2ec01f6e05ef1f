"""Evaluate: the same episodes for every policy, and Q values against what really came of them."""

import json
from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, results, runs
from lapo_mm.algorithms import Algorithm
from lapo_mm.config import EvaluateSettings
from lapo_mm.fqe import fitted_q
from lapo_mm.q_truth import Pairs, first_pairs, held_out_pairs
from lapo_mm.rollouts import Rollouts, acting, roll_out, seeds
from lapo_mm.scores import Policy, Scores
from lapo_mm.tables import evaluation_tables
from lapo_mm.trained import AGENT, TrainedRun, open_trained

PACKAGE = "lapo-mm"
FIRST_EVAL_SEED = 1_000_000
"""Of the episodes that every policy is compared on; far from those of the data."""
FQE_STEPS = 2_000


def evaluate(settings: EvaluateSettings) -> None:
    """Write scores, results.json and report.html, and print the headline.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    evaluate_run(run, device, settings)


def evaluate_run(run: Path, device: torch.device, settings: EvaluateSettings | None = None) -> None:
    """`evaluate` for a run that may still be marked as running; its own settings say how many episodes."""
    from lapo_mm.evaluation_report import write_report  # here: it needs matplotlib

    trained = open_trained(run, device, settings or EvaluateSettings())
    settings = settings or EvaluateSettings(num_episodes=trained.settings.final_episodes)
    rolled = {name: _rolled(trained, policy, settings) for name, policy in trained.policies.items()}
    scores = _scores(trained, rolled, settings)
    output = settings.output_dir or (run if settings.run_dir is None else run / "evaluate")
    output.mkdir(parents=True, exist_ok=True)
    scores.save(output / "scores.npz")
    tables = evaluation_tables(scores, trained, settings)
    results.write(output / "results.json", tables)
    agent = rolled[AGENT]
    write_report(output / "report.html", tables, scores, trained, agent.traces[: settings.num_videos] if agent else [])
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n")
    print(f"report: {output / 'report.html'}")


def _rolled(trained: TrainedRun, policy: Algorithm, settings: EvaluateSettings) -> Rollouts | None:
    """The episodes of a policy; None where there is no environment."""
    if trained.task is None:
        return None
    return roll_out(
        acting(policy),
        trained.task.make_env,
        trained.task.read,
        seeds(FIRST_EVAL_SEED + settings.seed, settings.num_episodes),
        trained.device,
        gamma=policy.settings.gamma,
        num_traces=settings.num_episodes,
    )


def _scores(trained: TrainedRun, rolled: dict[str, Rollouts | None], settings: EvaluateSettings) -> Scores:
    policies = {}
    for name, policy in trained.policies.items():
        done = rolled[name]
        parts = {"returns": np.zeros(0) if done is None else done.returns}
        pairs = _pairs(trained, policy, done, settings)
        if pairs is not None:
            parts |= {"q": pairs[0], "truth": pairs[1]}
        if settings.fqe_steps or done is None:
            parts["fqe"] = _fitted(trained, policy, settings.fqe_steps or FQE_STEPS, settings.seed)
        policies[name] = Policy(**parts, **_curves(trained.folder / "metrics.jsonl", name))
    references = trained.store.info.references
    if references is None:
        return Scores(policies)
    return Scores(policies, references.random, references.expert)


def _pairs(trained: TrainedRun, policy: Algorithm, done: Rollouts | None, settings: EvaluateSettings) -> Pairs | None:
    if done is None or not settings.num_q_samples:
        return None
    pairs = held_out_pairs(
        policy,
        trained.batches(policy),
        trained.store,
        trained.task,
        num_pairs=settings.num_q_samples,
        horizon=settings.q_horizon,
        seed=settings.seed,
    )
    return pairs if pairs is not None else first_pairs(policy, done.traces, done.discounted, trained.device)


def _fitted(trained: TrainedRun, policy: Algorithm, steps: int, seed: int) -> np.ndarray:
    starts = np.array([span.first_step for span in trained.store.episodes if span.split == "val"])
    batches = trained.batches(policy)
    return fitted_q(policy, batches, trained.store.steps_of("train"), starts, steps=steps, seed=seed)


def _curves(metrics: Path, stage: str) -> dict[str, np.ndarray]:
    """What the training has logged: returns by step, and the size of the encoder's gradient."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    own = [line for line in lines if line.get("stage") == stage]
    evaluated = [line for line in own if line["split"] == "val" and line.get("return") is not None]
    norms = [line["encoder_grad_norm"] for line in own if line.get("encoder_grad_norm") is not None]
    return {
        "curve_steps": np.array([float(line["step"]) for line in evaluated]),
        "curve": np.array([line["return"] for line in evaluated]),
        "encoder_grad_norm": np.array(norms),
    }
