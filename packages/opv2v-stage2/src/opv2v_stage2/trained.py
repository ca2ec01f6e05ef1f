"""A trained run opened again: its models, and the data it learned from."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from drivelab_shared.errors import UserError
from drivelab_shared.settings import load
from opv2v_stage2.config import RunReader, Split, TrainSettings
from opv2v_stage2.data.store import Store, open_store
from opv2v_stage2.data.tree import Tree, open_tree
from opv2v_stage2.storage import load_model

STAGES = ("stage1", "stage2")


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Models in eval mode on `device`, and the data."""

    folder: Path
    settings: TrainSettings
    tree: Tree
    device: torch.device

    @property
    def stages(self) -> tuple[str, ...]:
        """The models that the run has."""
        return tuple(stage for stage in STAGES if (self.folder / "models" / stage).is_dir())

    @cached_property
    def _models(self) -> dict[str, nn.Module]:
        return {}

    def model(self, stage: str) -> nn.Module:
        """The model of a stage, loaded once.

        Raises:
            UserError: the run has none.
        """
        if stage not in self._models:
            self._models[stage] = load_model(self.folder / "models" / stage)[0].to(self.device)
        return self._models[stage]

    def store(self, split: Split, *, coverage: float = 1.0, depth_root: Path | None = None) -> Store:
        """The rows of a split at the size that the models see, with all labels: evaluation does not thin them."""
        labels = dataclasses.replace(self.settings.labels, coverage=coverage)
        size = (self.settings.model.width, self.settings.model.height)
        return open_store(self.tree, split, size, labels, self.settings.cache_dir, depth_root)


def open_trained(run: Path, device: torch.device, reader: RunReader) -> TrainedRun:
    """The models of a run and its data, or the data that the reader's settings name.

    Raises:
        UserError: something is missing or does not fit.
    """
    settings = load(TrainSettings, run / "settings.yaml")
    settings = dataclasses.replace(
        settings,
        data_dir=reader.data_dir or settings.data_dir,
        skip_invalid=settings.skip_invalid or reader.skip_invalid,
    )
    trained = TrainedRun(run, settings, open_tree(settings.data_dir, skip_invalid=settings.skip_invalid), device)
    if not trained.stages:
        raise UserError(f"{run}: expected a model in models/stage1 or models/stage2, got none")
    return trained
