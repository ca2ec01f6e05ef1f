"""Teachers as folders (see `drivelab_shared.networks`): the head, and what was trained of the backbone below it."""

from pathlib import Path

from drivelab_shared.checkpoint import load_weights
from drivelab_shared.errors import UserError
from drivelab_shared.networks import CONFIG, WEIGHTS, Network, read_description
from v2x_teacher.config import HeadSettings
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.models.teacher import Teacher

FORMAT = "v2x-teacher-network-1"


def build_teacher(
    settings: HeadSettings, vectors: int, width: int, steps: int, cameras: int, backbone: Backbone | None
) -> Network:
    """A fresh teacher, its head with random weights from torch's generator.

    Args:
        settings: of the head.
        vectors: features per sample; 0 reads the motion alone.
        width: numbers per feature.
        steps: predicted steps.
        cameras: pictures per sample.
        backbone: the one that learns too; None where features come from a frozen one.
    """
    arguments = {
        "vectors": vectors,
        "width": width,
        "pooling": settings.pooling,
        "standardise_features": settings.standardise_features,
        "fusion": settings.fusion if vectors else "none",
        "init": settings.init,
        "hidden_size": settings.hidden_size,
        "feature_dropout": settings.feature_dropout if vectors else 0.0,
        "dropout": settings.dropout,
        "use_ego": settings.use_ego or not vectors,
        "steps": steps,
        "num_modes": settings.num_modes if settings.loss == "wta" else 1,
        "has_scale": settings.loss == "laplace_nll",
    }
    teacher = Teacher(TrajectoryHead(**arguments), backbone, settings.pooling, cameras)
    return Network(FORMAT, "teacher", arguments, teacher, {"cameras": cameras})


def load_teacher(folder: Path, backbone: Backbone | None) -> Network:
    """A teacher from its folder. `backbone` is the one it was trained with, where that learned too.

    Raises:
        UserError: there is nothing, or something else.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: expected a network ({CONFIG} and {WEIGHTS}), got none")
    config = read_description(folder / CONFIG, FORMAT)
    try:
        head = TrajectoryHead(**config["arguments"])
        teacher = Teacher(head, backbone, head.pooling, int(config["facts"]["cameras"]))
    except (TypeError, ValueError, RuntimeError, KeyError) as problem:
        raise UserError(f"{folder / CONFIG}: arguments: {problem}") from problem
    load_weights(folder / WEIGHTS, teacher)
    return Network(FORMAT, "teacher", config["arguments"], teacher, config["facts"])
