"""A trained run opened again: its policies, the data it learned from, and the task behind them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from drivelab_shared.errors import UserError
from drivelab_shared.settings import load
from lapo_mm.algorithms import Algorithm
from lapo_mm.config import RunReader, TrainSettings
from lapo_mm.data.batches import Batches
from lapo_mm.data.store import Store, open_store
from lapo_mm.storage import load_algorithm
from lapo_mm.tasks import Task

AGENT = "agent"
"""The policy that the settings of a run describe; the others are its baselines."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Policies in eval mode on `device`, and the data; `task` is None where nobody knows the environment."""

    folder: Path
    settings: TrainSettings
    store: Store
    policies: dict[str, Algorithm]
    task: Task | None
    device: torch.device

    @property
    def agent(self) -> Algorithm:
        """The policy that the run is about."""
        return self.policies[AGENT]

    def batches(self, algorithm: Algorithm) -> Batches:
        """The data as this policy sees them."""
        return Batches(self.store, self.device, algorithm.shapes.modalities)


def open_trained(run: Path, device: torch.device, reader: RunReader) -> TrainedRun:
    """The policies of a run and its data, or the data that the reader's settings name.

    Raises:
        UserError: something is missing or does not fit.
    """
    settings = load(TrainSettings, run / "settings.yaml")
    settings = dataclasses.replace(
        settings,
        data_dir=reader.data_dir or settings.data_dir,
        skip_invalid=settings.skip_invalid or reader.skip_invalid,
    )
    store = open_data(settings)
    names = [AGENT, *(name for name in settings.baselines if (run / "models" / name).is_dir())]
    policies = {name: load_algorithm(run / "models" / name)[0].to(device) for name in names}
    for name, policy in policies.items():
        expected, found = policy.shapes, store.shapes(policy.shapes.modalities)
        if expected != found:
            raise UserError(f"{store.data_dir}: expected the shapes that {run / 'models' / name} has seen, got {found}")
    return TrainedRun(run, settings, store, policies, Task.of(store.info, store.roles), device)


def open_data(settings: TrainSettings) -> Store:
    """The dataset of a training.

    Raises:
        UserError: something is wrong with it.
    """
    return open_store(
        settings.data_dir,
        settings.cache_dir,
        modalities=settings.modalities,
        val_share=settings.val_share,
        skip_invalid=settings.skip_invalid,
    )
