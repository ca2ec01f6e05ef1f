"""The README of an exported folder."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from lapo_mm.algorithms import Algorithm

TEMPLATE = """\
# A policy ({run})

It sees {modalities} and answers with {actions} continuous numbers. Learned offline by `{algorithm}` from
`{dataset_id}` ({transitions:,} transitions, {steps:,} gradient steps). Exported by lapo-mm {version}. Weights are
safetensors, descriptions JSON and YAML.

| file | what it is |
|---|---|
| `policy/` | {parameters:,} numbers in model.safetensors, sizes in config.json, settings.yaml as trained |
{onnx_row}
## Observation

{inputs}
The units are those of the environment: the policy standardises by itself. Means, standard deviations, the action box
and the unit of rewards are in model.safetensors as `units.*` and `*.standardise.*`.

## Load

In this folder, with the package lapo-mm installed:

```python
import numpy as np
from lapo_mm.export import load_policy

policy = load_policy(".")
action = policy.act({{{example}}})
```

## Licence

The code, and the format of this folder, are under the Apache License 2.0. Weights learned from the simulated default
data may be used under the same terms; for weights learned from other datasets, the terms of those decide.
"""

INPUTS = {
    "image": "- `image`: uint8 [{0}], channels first, 0 to 255.\n",
    "state": "- `state`: float32 [{0}].\n",
    "lidar": "- `lidar`: float32 [{0}], beams in order around the circle.\n",
}


def readme(run: str, algorithm: Algorithm, facts: Mapping[str, Any], onnx_difference: float | None) -> str:
    """What the policy takes and gives, how to load it, and under which terms."""
    shapes = algorithm.shapes
    sizes = {name: ", ".join(map(str, shapes.size(name))) for name in shapes.modalities}
    types = {"image": "np.uint8", "state": "np.float32", "lidar": "np.float32"}
    example = ", ".join(f'"{name}": np.zeros([{size}], {types[name]})' for name, size in sizes.items())
    onnx_row = ""
    if onnx_difference is not None:
        onnx_row = f"| `policy.onnx` | the same from observation to action, within {onnx_difference:.1e} of torch |\n"
    return TEMPLATE.format(
        run=run,
        modalities=" + ".join(shapes.modalities),
        actions=shapes.action,
        algorithm=algorithm.settings.algorithm,
        dataset_id=facts["dataset_id"],
        transitions=facts["transitions"],
        steps=facts["steps"],
        parameters=facts["parameters"],
        version=metadata.version("lapo-mm"),
        inputs="".join(INPUTS[name].format(size) for name, size in sizes.items()),
        example=example,
        onnx_row=onnx_row,
    )
