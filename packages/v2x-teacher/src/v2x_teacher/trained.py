"""A trained run opened again: its networks and the data to try them on."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from drivelab_shared.modules import freeze
from drivelab_shared.settings import load
from v2x_teacher.config import RunReader, TrainSettings
from v2x_teacher.inputs import Inputs, open_inputs
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.storage import load_teacher

TEACHER, EGO_MLP, ONE_CAMERA = "teacher", "ego_mlp", "no_infrastructure"
"""What a run trains: the model, and the two rows without which its figures mean nothing."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Networks in eval mode on `device`, with what each reads; absent ones are None."""

    folder: Path
    settings: TrainSettings
    inputs: Inputs
    teacher: Teacher
    ego_mlp: Teacher | None
    one_camera: Teacher | None
    """Trained without the infrastructure's picture."""
    one_camera_inputs: Inputs | None
    device: torch.device

    def rows(self, split: str) -> np.ndarray:
        """Indices of the samples of a split.

        Raises:
            UserError: it has none.
        """
        return self.inputs.rows(split)


def open_trained(run: Path, device: torch.device, reader: RunReader) -> TrainedRun:
    """The networks of a run and its data, or the data that the reader's settings name.

    Raises:
        UserError: something is missing or does not fit.
    """
    settings = read_settings(run, reader)
    inputs = open_inputs(settings, device)
    alone = inputs.with_cameras("vehicle", device) if (run / "models" / ONE_CAMERA).is_dir() else None
    return TrainedRun(
        folder=run,
        settings=settings,
        inputs=inputs,
        teacher=open_network(run, TEACHER, inputs, device),
        ego_mlp=open_network(run, EGO_MLP, inputs.without_pictures(), device),
        one_camera=None if alone is None else open_network(run, ONE_CAMERA, alone, device),
        one_camera_inputs=alone,
        device=device,
    )


def read_settings(run: Path, reader: RunReader) -> TrainSettings:
    """Of the run, with the data that the reader names instead of its own.

    Raises:
        UserError: the file is missing or damaged.
    """
    settings = load(TrainSettings, run / "settings.yaml")
    changes = {"skip_invalid": settings.skip_invalid or reader.skip_invalid}
    if reader.data_dir is not None:
        changes |= {"data_dir": reader.data_dir, "layout": reader.layout, "split_file": reader.split_file}
    return dataclasses.replace(settings, **changes)


def open_network(run: Path, name: str, inputs: Inputs, device: torch.device) -> Teacher | None:
    """One network of a run, frozen; None where it was not trained.

    Raises:
        UserError: there is no teacher, or the network reads something else.
    """
    folder = run / "models" / name
    if name != TEACHER and not folder.is_dir():
        return None
    return freeze(load_teacher(folder, inputs.trainable_backbone).module.to(device))
