"""The README of an exported folder."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from opv2v_stage2.config import Modality, ModelSettings
from opv2v_stage2.views import INCLUDES

TEMPLATE = """\
# A reconstruction model ({name})

It sees four pictures of one vehicle, or of several at the same moment, and answers with a metric point for every pixel.
{kind} model of {parameters:,} parameters, modality `{modality}`, exported by opv2v-stage2 {version}. Weights are
safetensors, descriptions JSON and YAML.

| file | what it is |
|---|---|
| `model.safetensors`, `config.json` | weights, and how the network is built |
| `settings.yaml` | how it was trained |
{onnx_row}
## Load

In this folder, with the package opv2v-stage2 installed:

```python
import numpy as np
from opv2v_stage2.export import Vehicle, load_reconstructor

model = load_reconstructor(".")
pictures = np.zeros([4, 600, 800, 3], np.uint8)  # front, right rear, left rear, back
{example}main, other = model.reconstruct([vehicle, vehicle])
cloud = main.points[main.validity > 0.5]
```

## Conventions

- Points are metres in the frame of the first vehicle's lidar, x forward, y left, z up, one for each of
  {width} x {height} pixels.{frame}
- Cameras are OpenCV's: x right, y down, z forward. The edge of a picture is 0, so the first pixel has its centre at
  (0.5, 0.5).
- The world is any right-handed one that the vehicles share. CARLA's is left-handed: `opv2v_stage2.geometry` converts.
{onnx_text}
## Licence

The code, and the format of this folder, are under the Apache License 2.0. Weights learned from made-up data may be used
under the same terms; for weights learned from OPV2V, or begun from MapAnything's, the terms of those decide.
"""
EXAMPLES = {
    "intrinsics": (
        "intrinsics = np.tile(np.array([[335.6, 0, 400], [0, 335.6, 300], [0, 0, 1]]), (4, 1, 1))\n",
        "intrinsics=intrinsics",
    ),
    "rig_poses": (
        "lidar_from_camera = np.tile(np.eye(4), (4, 1, 1))  # yours\n",
        "lidar_from_camera=lidar_from_camera",
    ),
    "camera_poses": ("", "world_from_lidar=np.eye(4)"),
}
ONNX_TEXT = """\
- `vehicle.onnx` takes `pictures` [batch, 4, 3, {height}, {width}], colours from 0 to 1{told}. It gives
  `log_depth`, the natural logarithm of metres along the ray, `rays`, unit vectors in each camera's frame, and
  `validity`; a point is `exp(log_depth) * rays`.
"""
ONNX_TOLD = {"intrinsics": ",\n  `intrinsics` in pixels of that size", "rig_poses": ", `lidar_from_camera`"}


def readme(
    name: str, settings: ModelSettings, modality: Modality, facts: Mapping[str, Any], onnx_difference: float | None
) -> str:
    """What the model takes and gives, how to load it, and under which terms."""
    included = INCLUDES[modality]
    lines = "".join(EXAMPLES[key][0] for key in included)
    arguments = ", ".join(["pictures=pictures", *(EXAMPLES[key][1] for key in included)])
    size = {"width": settings.width, "height": settings.height}
    row = text = ""
    if onnx_difference is not None:
        row = f"| `vehicle.onnx` | the network for one vehicle alone, within {onnx_difference:.1e} of torch |\n"
        text = ONNX_TEXT.format(told="".join(ONNX_TOLD.get(key, "") for key in included), **size)
    no_rig = " Without `lidar_from_camera`, they are in the frame of its first camera."
    return TEMPLATE.format(
        name=name,
        kind=settings.kind.capitalize(),
        parameters=facts["parameters"],
        modality=modality,
        version=metadata.version("opv2v-stage2"),
        example=f"{lines}vehicle = Vehicle({arguments})\n",
        frame="" if "rig_poses" in included else no_rig,
        onnx_row=row,
        onnx_text=text,
        **size,
    )
