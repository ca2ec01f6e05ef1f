"""What a student learns from: features, trajectories and uncertainty of every sample, one npz per split, no pickles.

A single logged future is a hard target; the teacher's answer says what else it thought of.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from drivelab_shared.files import replace_bytes
from v2x_teacher.export.answers import Answer, answer
from v2x_teacher.inputs import in_chunks
from v2x_teacher.trained import TrainedRun

SOFT_TARGETS = "soft_targets"


def write_soft_targets(output: Path, trained: TrainedRun, split: str, description: Mapping[str, Any]) -> int:
    """Write soft_targets/<split>.npz and return the number of samples."""
    samples, rows = trained.inputs.samples, trained.inputs.rows(split)
    features, answers = _answered(trained, rows)
    scale, source = (answers.scale, "teacher") if answers.scale is not None else _measured_scale(trained, len(rows))
    arrays = {
        "ids": np.array([samples.ids[row] for row in rows]),
        "features": features,
        "ego": samples.ego[rows],
        "prior": trained.inputs.prior[rows],
        "mean": answers.trajectory,
        "scale": scale,
        "scale_source": np.array(source),
        "truth": samples.truth[rows],
        "label_version": np.array(description["labels"]["version"]),
        "checkpoint": np.array(description["checkpoint"]),
    }
    if answers.modes is not None:
        arrays |= {"modes": answers.modes, "probabilities": answers.probabilities}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    replace_bytes(output / SOFT_TARGETS / f"{split}.npz", buffer.getvalue())
    return len(rows)


def _answered(trained: TrainedRun, rows: np.ndarray) -> tuple[Float[np.ndarray, "samples vectors width"], Answer]:
    """Pooled features and what the teacher says, in the chunks in which the run evaluates."""
    inputs, teacher = trained.inputs, trained.teacher
    features, found = [], []
    for chunk in in_chunks(rows):
        read, ego, _, before = inputs.batch(chunk, trained.device)
        found.append(answer(teacher, read, ego, before))
        with torch.no_grad():
            pooled = read if teacher.backbone is None else teacher.pooled(read)
        features.append(pooled.float().cpu().numpy())
    return np.concatenate(features), _joined(found)


def _joined(answers: list[Answer]) -> Answer:
    names = ("trajectory", "scale", "modes", "probabilities")
    columns = ([getattr(one, name) for one in answers] for name in names)
    return Answer(*(None if column[0] is None else np.concatenate(column) for column in columns))


def _measured_scale(trained: TrainedRun, count: int) -> tuple[Float[np.ndarray, "samples steps 2"], str]:
    """The same Laplace scale for every sample: mean absolute errors, which are its most likely value.

    On the validation split, where there is one: errors on the training split are too small.
    """
    split = "val" if trained.inputs.samples.mask("val").any() else "all"
    rows = trained.inputs.rows(split)
    errors = trained.inputs.method(trained.teacher, rows, trained.device).trajectories
    scale = np.nanmean(np.abs(errors - trained.inputs.samples.truth[rows]), axis=0).astype(np.float32)
    return np.broadcast_to(scale, (count, *scale.shape)), f"mean absolute error on {split}"
