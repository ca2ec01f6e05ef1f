"""predictions.json: trajectories with everything that is needed to use them elsewhere. One line per pair."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from drivelab_shared.networks import WEIGHTS
from drivelab_shared.runs import read_manifest
from v2x_teacher.config import TrainSettings
from v2x_teacher.inputs import Inputs, step_times
from v2x_teacher.scores import Method
from v2x_teacher.trained import TEACHER

FORMAT = "v2x-teacher-predictions-1"
CONVENTIONS = {
    "times_s": "seconds after t0 of each step",
    "t0_us": "microseconds since 1970 of the vehicle's pose; null where nobody knows",
    "ego_motion": "vx, vy [m/s], yaw rate [rad/s], acceleration [m/s2] over the last motion_known_s seconds",
    "trajectory_ego_m": "x forward, y left, metres, in the vehicle's frame at t0: origin at its reference point, level",
    "trajectory_world_m": "the same in the data set's world; null where it has no poses",
    "scale_m": "Laplace scale per step and axis of the ego frame: 63 % of errors should be smaller; null without one",
    "modes_ego_m": "every trajectory of a model that answers with several; trajectory_ego_m is the likeliest",
    "driven_ego_m": "what the vehicle did then, as far as it is known: null steps were not recorded; null without any",
    "ade_m": "mean distance between the two over all steps; null unless all are known",
}
DIGITS = 4


@dataclass(frozen=True)
class Provenance:
    """What the predictions come from."""

    run: str
    checkpoint_sha256: str
    labels: dict[str, Any]
    """What the teacher took for the truth, and the hash of the samples it was trained on."""
    cameras: str
    split: str | None

    @classmethod
    def of(cls, run: Path, trained: TrainSettings, split: str | None) -> "Provenance":
        """Of a finished run."""
        manifest = read_manifest(run)
        weights = (run / "models" / TEACHER / WEIGHTS).read_bytes()
        labels = {
            "kind": trained.labels.kind,
            "reference_point": trained.labels.reference_point,
            "forward_axis": manifest.get("forward_axis"),
            "trained_on_sha256": manifest.get("data"),
        }
        return cls(str(run), hashlib.sha256(weights).hexdigest(), labels, trained.backbone.cameras, split)


def document(provenance: Provenance, inputs: Inputs, answer: Method) -> str:
    """predictions.json."""
    samples = inputs.samples
    head = {
        "format": FORMAT,
        **vars(provenance),
        "data": str(inputs.recording.root),
        "left_out": dict(samples.excluded),
        "conventions": CONVENTIONS,
        "times_s": _listed(step_times(samples)),
    }
    entries = (json.dumps(_entry(inputs, answer, index), allow_nan=False) for index in range(len(samples)))
    fields = [f"{json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in head.items()]
    fields.append('"predictions": [\n' + ",\n".join(entries) + "\n]")
    return "{" + ",\n".join(fields) + "}\n"


def _entry(inputs: Inputs, answer: Method, index: int) -> dict[str, Any]:
    samples, pair = inputs.samples, inputs.samples.pairs[index]
    trajectory, driven = answer.trajectories[index], samples.truth[index]
    has_poses = bool(inputs.recording.poses) and not samples.row_labels
    error = np.linalg.norm(trajectory - driven, axis=-1).mean()
    return {
        "id": samples.ids[index],
        "sequence": pair.sequence,
        "vehicle_frame": pair.vehicle_id,
        "infrastructure_frame": pair.infrastructure_id,
        "vehicle_image": str(pair.vehicle_image),
        "infrastructure_image": str(pair.infrastructure_image) if pair.infrastructure_image else None,
        "t0_us": pair.time_us or None,
        "ego_motion": _listed(samples.ego[index]),
        "motion_known_s": round(float(samples.history_s[index]), DIGITS),
        "trajectory_ego_m": _listed(trajectory),
        "trajectory_world_m": _listed(_in_world(trajectory, samples.world_from_ego[index])) if has_poses else None,
        "scale_m": None if answer.scale is None else _listed(answer.scale[index]),
        "modes_ego_m": None if answer.modes is None else _listed(answer.modes[index]),
        "driven_ego_m": None if np.isnan(driven).all() else _listed(driven),
        "ade_m": round(float(error), DIGITS) if np.isfinite(error) else None,
    }


def _in_world(
    points: Float[np.ndarray, "steps 2"], world_from_ego: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "steps 2"]:
    return points.astype(np.float64) @ world_from_ego[:2, :2].T + world_from_ego[:2, 3]


def _listed(values: np.ndarray) -> list:
    """Rounded numbers; points of which a coordinate is not known become null."""
    if values.ndim > 1:
        return [_listed(row) for row in values] if np.ndim(values[0]) > 1 else [_point(row) for row in values]
    return [round(float(value), DIGITS) for value in values]


def _point(row: np.ndarray) -> list[float] | None:
    return None if np.isnan(row).any() else [round(float(value), DIGITS) for value in row]
