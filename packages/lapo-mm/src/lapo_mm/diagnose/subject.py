"""What is diagnosed: the networks of a run, or fresh ones, and the batches they are trained on for a moment."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from drivelab_shared import runs
from drivelab_shared.errors import UserError
from drivelab_shared.seeding import keyed_rng, seed_step
from lapo_mm.algorithms import Algorithm, build
from lapo_mm.config import DiagnoseSettings, TrainSettings
from lapo_mm.data.batches import Batch, Batches
from lapo_mm.data.store import Store, open_store
from lapo_mm.diagnose.steps import random_batch
from lapo_mm.models.shapes import Shapes
from lapo_mm.storage import load_algorithm
from lapo_mm.train import AGENT, INITIALISE, PACKAGE, fresh

SHAPES = Shapes(image=(3, 32, 32), state=6, action=2)
"""Of the default data, for networks that are made without any."""


@dataclass(frozen=True)
class Subject:
    """An algorithm before its training step, as often as it is needed."""

    name: str
    settings: TrainSettings
    make: Callable[[], Algorithm]
    """A new one every time, always the same; with its optimizers."""
    batches: Sequence[Batch]
    source: str
    """Where the batches come from, in words."""
    output: Path
    """Where the results go, unless the settings say otherwise."""


def subject_of(settings: DiagnoseSettings, device: torch.device) -> Subject:
    """The networks of the run, or fresh ones of a wiring.

    Raises:
        UserError: there is no such run, or its networks or data cannot be read.
    """
    run = _run(settings)
    if run is None:
        planned = TrainSettings(wiring=settings.wiring or "critic", seed=settings.seed)
        name, output = f"fresh networks, {kind_of(planned)}", runs.RUNS / PACKAGE / "diagnose"
    else:
        planned = load_algorithm(run / "models" / AGENT)[0].settings
        name, output = f"{run.name}, {kind_of(planned)}", run / "diagnose"
    store = _store(settings, planned)

    def make() -> Algorithm:
        algorithm = _fresh(planned, store) if run is None else load_algorithm(run / "models" / AGENT)[0]
        algorithm.settings = dataclasses.replace(planned, compile=False)  # nothing to gain in three steps
        algorithm.to(device).start_training()
        return algorithm

    return Subject(name, planned, make, *_batches(settings, store, planned, make()), output)


def kind_of(settings: TrainSettings) -> str:
    """What is trained, in words."""
    return f"wiring {settings.wiring}" if settings.algorithm == "lapo" else settings.algorithm


def _run(settings: DiagnoseSettings) -> Path | None:
    if settings.wiring is not None:
        return None
    try:
        return runs.find(PACKAGE, settings.run_dir)
    except UserError:
        if settings.run_dir is not None:
            raise
        return None


def _store(settings: DiagnoseSettings, planned: TrainSettings) -> Store | None:
    """The data that are asked for, or the usual ones if they are there."""
    if settings.data_dir is None and not planned.data_dir.exists():
        return None
    return open_store(
        settings.data_dir or planned.data_dir,
        planned.cache_dir,
        modalities=planned.modalities,
        val_share=planned.val_share,
        skip_invalid=settings.skip_invalid or planned.skip_invalid,
    )


def _fresh(planned: TrainSettings, store: Store | None) -> Algorithm:
    if store is not None:
        return fresh(planned, store)
    seed_step(planned.seed, INITIALISE)
    return build(SHAPES, planned)


def _batches(
    settings: DiagnoseSettings, store: Store | None, planned: TrainSettings, algorithm: Algorithm
) -> tuple[list[Batch], str]:
    """One batch per step, and where they come from."""
    numbers, size, shapes = range(settings.num_steps), settings.batch_size, algorithm.shapes
    if store is None:
        noise = [random_batch(algorithm, size, settings.seed, number) for number in numbers]
        return noise, f"noise, because {planned.data_dir} is not there"
    if (found := store.shapes(planned.modalities)) != shapes:
        raise UserError(f"{store.data_dir}: observations and actions: expected {shapes}, got {found}")
    batches = Batches(store, algorithm.units.reward_unit.device, shapes.modalities)
    rows = store.steps_of("train")
    draws = [keyed_rng(settings.seed, number).choice(rows, size, replace=len(rows) < size) for number in numbers]
    return [batches.fetch(draw) for draw in draws], f"{store.data_dir}, training split"
