"""Train: a Minari dataset -> flat arrays -> LAPO (or a baseline) -> a run folder with a report."""

import dataclasses
import sys
from collections.abc import Mapping

from drivelab_shared.engine import StopSignal
from drivelab_shared.job import run_job
from drivelab_shared.modules import num_parameters
from drivelab_shared.runs import Run
from drivelab_shared.seeding import seed_step
from lapo_mm.algorithms import Algorithm, build
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batches
from lapo_mm.data.make_data import ensure_data
from lapo_mm.data.store import Store
from lapo_mm.fit import fit
from lapo_mm.rollouts import acting, roll_out, seeds
from lapo_mm.storage import save_algorithm
from lapo_mm.tasks import Task
from lapo_mm.trained import AGENT, open_data
from lapo_mm.validation import validation_errors

PACKAGE = "lapo-mm"
FIRST_EVAL_SEED = 2_000_000
"""Of the episodes that training looks at; not those of the evaluation at its end."""
INITIALISE = 1_000_000_000
"""Step whose random numbers the first weights come from."""

BASELINE_CHANGES: Mapping[str, Mapping[str, object]] = {
    "blind": {"modalities": ("state",)},
    "vae": {"wiring": "vae"},
    "bc": {"algorithm": "bc"},
    "bc25": {"algorithm": "bc", "top_share": 0.25},
    "td3bc": {"algorithm": "td3bc"},
    "iql": {"algorithm": "iql"},
}
"""What a baseline changes of the settings; all else, the budget included, is the same."""


def train(settings: TrainSettings) -> None:
    """Train as the settings say; the run folder holds everything that the other verbs need.

    Raises:
        UserError: the data or a setting is wrong.
    """
    run_job(
        PACKAGE,
        settings,
        settings.run_dir,
        prepare=lambda: ensure_data(settings.data_dir),
        stages=lambda run, stop: _train_stages(settings, run, stop),
    )


def _train_stages(settings: TrainSettings, run: Run, stop: StopSignal) -> None:
    with run.accelerator.main_process_first():
        store = open_data(settings)
    run.require("data", store.fingerprint, "the data have changed: start a new run")
    train_stage(AGENT, settings, store, run, stop)
    for name in settings.baselines:
        train_stage(name, dataclasses.replace(settings, **BASELINE_CHANGES[name]), store, run, stop)
    if run.accelerator.is_main_process and settings.evaluate:
        from lapo_mm.evaluate import evaluate_run  # here: reports need matplotlib

        evaluate_run(run.folder, run.accelerator.device)
    run.accelerator.wait_for_everyone()


def train_stage(stage: str, settings: TrainSettings, store: Store, run: Run, stop: StopSignal) -> None:
    """Train one algorithm and save it as models/<stage> of the run."""
    accelerator = run.accelerator
    algorithm = fresh(settings, store).to(accelerator.device)
    batches = Batches(store, accelerator.device, algorithm.shapes.modalities)
    indices = store.steps_of("train", settings.top_share)
    task = Task.of(store.info, store.roles)
    errors = validation_errors(batches, store.steps_of("val"))

    def validate(algorithm: Algorithm) -> Mapping[str, float]:
        figures = errors(algorithm)
        if task is None:
            return figures
        resets = seeds(FIRST_EVAL_SEED, settings.eval_episodes)
        done = roll_out(acting(algorithm), task.make_env, task.read, resets, accelerator.device)
        score = task.score(done.returns)
        print(f"{stage}: mean return {done.returns.mean():.2f}, score {score.mean():.1f}", file=sys.stderr)
        return figures | {"return": float(done.returns.mean()), "score": float(score.mean())}

    fit(run, stop, stage, algorithm, batches, indices, validate)
    if accelerator.is_main_process:
        facts = {
            "steps": settings.steps,
            "transitions": len(indices),
            "parameters": num_parameters(algorithm),
            "data": store.fingerprint,
            "dataset_id": store.info.dataset_id,
        }
        save_algorithm(run.folder / "models" / stage, algorithm, facts)


def fresh(settings: TrainSettings, store: Store) -> Algorithm:
    """An algorithm with random weights, which knows the units of the data."""
    seed_step(settings.seed, INITIALISE)
    algorithm = build(store.shapes(settings.modalities), settings)
    algorithm.fit_units(store.statistics, has_terminals=bool(store.terminals.any()))
    return algorithm
