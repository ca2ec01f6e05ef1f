"""An exported teacher, ready to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from drivelab_shared.networks import weights_hash
from drivelab_shared.settings import load
from v2x_teacher.config import TrainSettings
from v2x_teacher.data.kinematics import prior
from v2x_teacher.export.answers import Answer, answer
from v2x_teacher.export.description import read_description
from v2x_teacher.models.build import build_backbone, build_trainable_backbone
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.pictures import read_picture, resized
from v2x_teacher.storage import load_teacher

NETWORK = "teacher"

Picture = Path | str | np.ndarray
"""A file, or RGB pixels, uint8 [height, width, 3]; of any size."""


@dataclass(frozen=True, eq=False)
class ExportedTeacher:
    """Backbone and head in eval mode."""

    teacher: Teacher
    settings: TrainSettings
    """Of its training."""
    steps_s: tuple[float, ...]
    """Seconds after t0 of the predicted steps."""
    device: torch.device

    def predict(
        self,
        vehicle_picture: Picture | None,
        infrastructure_picture: Picture | None = None,
        ego: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0, 0.0),
        prompt: str | None = None,
    ) -> Answer:
        """The next 4.5 s as seen from the vehicle at t0.

        Args:
            vehicle_picture: of the vehicle's camera.
            infrastructure_picture: of the camera at the infrastructure at about the same time; None is a grey one.
            ego: vx, vy [m/s], yaw rate [rad/s], acceleration [m/s2] of the last 0.5 s.
            prompt: None is the one of the training.

        Raises:
            UserError: a file cannot be read.
            ValueError: pixels or motion of another shape.
        """
        motion = np.asarray(ego, dtype=np.float32)
        if motion.shape != (4,) or not np.isfinite(motion).all():
            raise ValueError(f"ego: expected 4 numbers, got {ego!r:.80}")
        chosen = self.settings.backbone
        pictures = {"vehicle": vehicle_picture, "infrastructure": infrastructure_picture}
        seen = list(pictures.values()) if chosen.cameras == "both" else [pictures[chosen.cameras]]
        views = np.stack([_view(picture, chosen.height, chosen.width) for picture in seen])
        before = prior(self.settings.head.prior, motion[None], np.array(self.steps_s)).astype(np.float32)
        on_device = (torch.from_numpy(values).to(self.device) for values in (views[None], motion[None], before))
        pixels, motions, priors = on_device
        inputs = self.teacher.backbone.prepare(pixels, [prompt or chosen.prompt])
        found = answer(self.teacher, inputs, motions, priors)
        values = (getattr(found, field.name) for field in fields(found))
        return Answer(*(None if value is None else value[0] for value in values))


def load_export(folder: Path | str, *, backbone_path: Path | None = None, device: str = "cpu") -> ExportedTeacher:
    """The teacher of an exported folder.

    Args:
        folder: what `export` wrote.
        backbone_path: local folder of a backbone that is read from one, where it has moved since the training.
        device: where it computes.

    Raises:
        UserError: the folder or the backbone is missing, damaged, or another one.
    """
    folder = Path(folder)
    description = read_description(folder)
    settings = load(TrainSettings, folder / "settings.yaml")
    if backbone_path is not None:
        settings = replace(settings, backbone=replace(settings.backbone, path=backbone_path))
    if settings.freeze_backbone:
        teacher, backbone = load_teacher(folder / NETWORK, None).module, build_backbone(settings.backbone)
        teacher.backbone = backbone
    else:
        backbone = build_trainable_backbone(
            settings.backbone, settings.head.pooling, train_vision=settings.train_vision, lora_rank=settings.lora_rank
        )
        teacher = load_teacher(folder / NETWORK, backbone).module
    if weights_hash(backbone) != description["backbone"]:
        raise UserError(
            f"{folder}: backbone: expected the weights that the teacher was trained with "
            f"({description['backbone'][:16]}), got others ({weights_hash(backbone)[:16]})"
        )
    chosen = torch.device(device)
    return ExportedTeacher(freeze(teacher.to(chosen)), settings, tuple(description["labels"]["steps_s"]), chosen)


def _view(picture: Picture | None, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    if not isinstance(picture, np.ndarray):
        return read_picture(None if picture is None else Path(picture), height, width)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        found = f"{picture.dtype} {list(picture.shape)}"
        raise ValueError(f"picture: expected uint8 RGB pixels [height, width, 3], got {found}")
    return resized(Image.fromarray(picture), height, width)
