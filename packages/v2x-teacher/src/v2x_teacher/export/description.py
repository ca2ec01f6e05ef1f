"""export.json: what the numbers of an export mean, and by which hashes its parts are known."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from drivelab_shared.errors import UserError
from drivelab_shared.networks import WEIGHTS, weights_hash
from v2x_teacher.inputs import step_times
from v2x_teacher.trained import TEACHER, TrainedRun

DESCRIPTION, FORMAT = "export.json", "v2x-teacher-export-1"
LABEL_RULES = 1
"""Counts up whenever the same poses make other labels."""


def describe(trained: TrainedRun) -> dict[str, Any]:
    """Conventions of labels and inputs, and hashes. JSON can hold it."""
    settings, samples = trained.settings, trained.inputs.samples
    kind = "rows" if samples.row_labels else "time"
    return {
        "format": FORMAT,
        "labels": {
            "version": f"{kind}-{LABEL_RULES}-{trained.inputs.fingerprint[:16]}",
            "kind": kind,
            "frame": "ego frame at t0: x forward, y left, metres",
            "steps_s": step_times(samples).tolist(),
            "reference_point": settings.labels.reference_point,
            "forward_axis": samples.forward_axis,
            "max_gap_s": settings.labels.max_gap_s,
        },
        "ego": ["vx [m/s]", "vy [m/s]", "yaw rate [rad/s], positive to the left", "acceleration [m/s2]"],
        "prior": settings.head.prior,
        "checkpoint": _file_hash(trained.folder / "models" / TEACHER / WEIGHTS),
        "backbone": weights_hash(trained.inputs.backbone),
    }


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_description(folder: Path) -> dict[str, Any]:
    """export.json of an exported folder.

    Raises:
        UserError: it is something else.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        steps = description["labels"]["steps_s"]
        if description["format"] != FORMAT or not isinstance(description["backbone"], str) or not steps:
            raise ValueError
        if not all(isinstance(step, float) and math.isfinite(step) for step in steps):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise UserError(f"{path}: expected an export in the format {FORMAT}, got another file or none") from problem
    return description
