"""The README of an exported folder."""

from collections.abc import Mapping
from importlib import metadata

from drivelab_shared.modules import num_parameters
from drivelab_shared.networks import Network
from latent_predictor.data.suspicions import ACTION_NAMES
from latent_predictor.models import CLASSES

TEMPLATE = """\
# A driving world model ({run})

It watches a few frames of a forward camera and imagines the next ones, given the actions to come. Exported by
latent-predictor {version}. Weights are safetensors, descriptions JSON; there is no pickle in this folder.

| folder | what it is | kind | parameters |
|---|---|---|---|
| `vae/` | picture <-> latent, {latent_dim} x 4 x 4 = {latent_size} values | `vae` | {parameters[vae]} |
| `classifier/` | latent -> lane: {lanes} | `{classifier}` | {parameters[classifier]} |
| `predictor/` | latents and actions so far -> next latent | `{predictor}` | {parameters[predictor]} |

`settings.yaml` says how they were trained. The classifier is the one that the predictor's loss may have used: judged by
it alone, the predictor can look better than it is.

## Inputs

- **Frames**: uint8 `[time, 64, 64, 3]`, height before width, channels in the order **RGB**, values 0 to 255. The VAE
  itself reads and writes float32 `[batch, 3, 64, 64]` in [0, 1]; `to_pictures` and `to_frames` convert.
- **Time step**: {time_step}.
- **Actions**: float32 `[time, {action_size}]`. {columns}
  `actions[t]` is held from frame t to frame t+1, so imagining K frames after N real ones takes N - 1 + K actions.
- **Latents**: float32 `[batch, {latent_size}]`, the mean of the VAE's posterior.

Actions and latents go in as they are: mean and standard deviation of the training split are buffers of the predictor,
which applies and removes them itself.

## Load

In this folder, with the package latent-predictor installed:

```python
from pathlib import Path
from latent_predictor.models import KINDS
from latent_predictor.storage import load_network

parts = ("vae", "classifier", "predictor")
vae, classifier, predictor = (load_network(Path(part), *KINDS).module.eval() for part in parts)
```

Imagine 20 frames after 10 real ones:

```python
import torch
from latent_predictor.latents import to_frames, to_pictures

frames = torch.zeros(10, 64, 64, 3, dtype=torch.uint8).numpy()  # yours
actions = torch.zeros(10 - 1 + 20, {action_size})  # yours: 9 between the real frames, 20 to come
with torch.inference_mode():
    latents, _ = vae.encode(to_pictures(frames))
    imagined = predictor(latents[None], actions[None])[0, 10 - 1 :]
    lanes = classifier(imagined).argmax(-1)  # {lanes}
    pictures = to_frames(vae.decode(imagined))  # uint8 [20, 64, 64, 3]
```
{onnx}
## Licence

The code, and the format of this folder, are under the Apache License 2.0. Weights learned from the simulated default
data (Gymnasium's CarRacing, MIT) may be used under the same terms; for weights learned from your own recordings, the
rights in those recordings decide.
"""

ONNX = """
## ONNX

Float32, any batch size. The last column is the largest difference from torch on random inputs.

| file | inputs | outputs | difference |
|---|---|---|---|
| `encoder.onnx` | `pictures` [batch, 3, 64, 64] | `latent` [batch, {latent_size}] | {differences[encoder.onnx]:.1e} |
| `decoder.onnx` | `latent` | `pictures` | {differences[decoder.onnx]:.1e} |
| `predictor_step.onnx` | `latent`, `action` [batch, {action_size}], `hidden` and `cell` [batch, {hidden_size}] | \
`next_latent`, `next_hidden`, `next_cell` | {differences[predictor_step.onnx]:.1e} |

Start with `hidden` and `cell` at 0. Feed the real latents one by one, each with the action that follows it, then every
`next_latent` as the next `latent`.
"""


def readme(run: str, networks: Mapping[str, Network], differences: Mapping[str, float]) -> str:
    """What the networks take and give, how to load them, and under which terms. `differences` is empty without ONNX."""
    vae, predictor = networks["vae"], networks["predictor"]
    sizes = {"latent_size": vae.module.latent_size, "action_size": predictor.module.action_size}
    reads_actions = predictor.module.conditioning != "none"
    onnx = ""
    if differences:
        hidden_size = predictor.module.lstm.hidden_size
        onnx = ONNX.format(**sizes, hidden_size=hidden_size, differences=differences)
    return TEMPLATE.format(
        **sizes,
        run=run,
        version=metadata.version("latent-predictor"),
        latent_dim=vae.module.latent_dim,
        classifier=networks["classifier"].kind,
        predictor=predictor.kind,
        parameters={name: f"{num_parameters(network.module):,}" for name, network in networks.items()},
        time_step=_time_step(predictor),
        columns=_columns(sizes["action_size"]) if reads_actions else "This predictor does not read them.",
        lanes=", ".join(f"{index} {name}" for index, name in enumerate(CLASSES)),
        onnx=onnx,
    )


def _time_step(predictor: Network) -> str:
    seconds = predictor.facts.get("dt")
    return f"{seconds:g} s between frames" if seconds else "that of the training data (0.08 s in the default data)"


def _columns(size: int) -> str:
    if size != len(ACTION_NAMES):
        return "The columns are those of the training data."
    return "Columns in the default data: steer -1 to 1 (positive is right), gas 0 to 1, brake 0 to 1."
