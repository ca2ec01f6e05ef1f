"""What is predicted: the pairs of a data set, or one pair of pictures and the motion that goes with it."""

import dataclasses
import math
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from drivelab_shared.errors import UserError
from v2x_teacher.config import PredictSettings, TrainSettings
from v2x_teacher.data.kinematics import HISTORY_S
from v2x_teacher.data.labels import NUM_ROWS, NUM_STEPS, Samples
from v2x_teacher.data.recording import Pair, Recording
from v2x_teacher.inputs import Inputs, add_pictures, open_samples, priors
from v2x_teacher.pictures import read_whole_picture


def of_data_set(settings: PredictSettings, trained: TrainSettings, device: torch.device) -> Inputs:
    """Every pair of the split that has a pose, whether or not its future is known.

    Raises:
        UserError: the data cannot be read, or the split is empty.
    """
    recording, samples = open_samples(
        trained.data_dir, trained.layout, trained.split_file, trained.labels,
        skip_invalid=trained.skip_invalid, needs_future=False,
    )  # fmt: skip
    samples = samples.take(samples.mask(settings.split))
    if not len(samples):
        raise UserError(f"{recording.root}: split: expected pairs in the {settings.split} split, got none")
    return add_pictures(trained, recording, samples, priors(trained, samples), device)


def of_pair(settings: PredictSettings, trained: TrainSettings, device: torch.device) -> Inputs:
    """One sample, whose future nobody knows.

    Raises:
        UserError: a picture is missing or broken, or a setting does not fit.
    """
    _require_pair(settings, trained)
    pair = Pair(
        vehicle_id=settings.vehicle_image.stem,
        infrastructure_id=None,
        sequence="pair",
        split="",
        time_us=0,
        infrastructure_time_us=None,
        vehicle_image=settings.vehicle_image,
        infrastructure_image=settings.infrastructure_image,
    )
    row_labels = trained.labels.kind == "rows"
    samples = Samples(
        pairs=(pair,),
        sequences=(pair.sequence,),
        truth=np.full((1, NUM_ROWS if row_labels else NUM_STEPS, 2), np.nan, dtype=np.float32),
        ego=np.array([_motion(settings)], dtype=np.float32),
        history_s=np.array([HISTORY_S], dtype=np.float32),
        world_from_ego=np.eye(4)[None],
        excluded=Counter(),
        forward_axis="x",
        row_labels=row_labels,
    )
    recording = Recording(
        root=settings.vehicle_image.parent,
        layout="pair",
        poses={},
        pairs=(pair,),
        problems=(),
        calibration=lambda pair, side: None,
        boxes=lambda sequence, vehicle_id: None,
    )
    with TemporaryDirectory() as folder:  # a pair is not worth a file in the cache
        trained = dataclasses.replace(trained, cache_dir=Path(folder))
        return add_pictures(trained, recording, samples, priors(trained, samples), device).in_memory()


def _require_pair(settings: PredictSettings, trained: TrainSettings) -> None:
    """Both pictures can be read where the run reads both, and nothing contradicts them."""
    if settings.data_dir is not None:
        raise UserError(f"data_dir: expected none beside vehicle_image, got {settings.data_dir}")
    if settings.vehicle_image is None:
        partner = settings.infrastructure_image
        raise UserError(f"vehicle_image: expected the partner of infrastructure_image {partner}, got none")
    cameras = trained.backbone.cameras
    if settings.infrastructure_image is None and cameras != "vehicle":
        seen = "both cameras" if cameras == "both" else "the infrastructure's camera"
        raise UserError(f"infrastructure_image: expected a picture, because the run was trained on {seen}, got none")
    for path in (settings.vehicle_image, settings.infrastructure_image):
        if path is not None:
            read_whole_picture(path)


def _motion(settings: PredictSettings) -> list[float]:
    for name in ("speed_mps", "yaw_rate_radps", "acceleration_mps2"):
        if not math.isfinite(getattr(settings, name)):
            raise UserError(f"{name}: expected a finite number, got {getattr(settings, name)}")
    return [settings.speed_mps, 0.0, settings.yaw_rate_radps, settings.acceleration_mps2]
