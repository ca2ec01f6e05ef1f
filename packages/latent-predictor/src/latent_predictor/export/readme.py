"""The README of an exported folder."""

from collections.abc import Mapping
from importlib import metadata

from latent_predictor.data.suspicions import ACTION_NAMES
from latent_predictor.models import CLASSES
from latent_predictor.storage import Network

TEMPLATE = """\
# A driving world model ({run})

It watches a few frames of a forward camera and imagines the next ones, given the actions to come. Exported by
latent-predictor {version}. Weights are safetensors, descriptions JSON; there is no pickle in this folder.

| folder | what it is | size |
|---|---|---|
| `vae/` | picture <-> latent | {latent_dim} x 4 x 4 = {latent_size} values in a latent |
| `classifier/` | latent -> lane: {classes} | {num_classes} logits |
| `predictor/` | latents and actions so far -> next latent ({kind}) | {memory} |

`settings.yaml` is how they were trained. The classifier was part of the predictor's loss{weight}: judged by it alone,
the predictor may look better than it is.

## Inputs

- **Frames**: uint8 `[time, 64, 64, 3]`, height before width, channels in the order **RGB**, values 0 to 255. The VAE
  itself reads and writes float32 `[batch, 3, 64, 64]` in [0, 1]; `to_pictures` and `to_frames` convert.
- **Time step**: {dt}.
- **Actions**: float32 `[time, {action_size}]`{actions}
  `actions[t]` is held from frame t to frame t+1, so imagining K frames after N real ones takes N - 1 + K actions.
- **Latents**: float32 `[batch, {latent_size}]`, the mean of the VAE's posterior.

Actions and latents go in as they are: mean and standard deviation of the training split are buffers of the predictor,
which applies and removes them itself.

## Load

```python
import torch
from latent_predictor.latents import to_frames, to_pictures
from latent_predictor.models import KINDS
from latent_predictor.storage import Path, load_network

folder = Path(".")  # this folder
vae, classifier, predictor = (
    load_network(folder / name, *KINDS).module.eval() for name in ("vae", "classifier", "predictor")
)
frames = torch.zeros(10, 64, 64, 3, dtype=torch.uint8).numpy()  # 10 real frames
actions = torch.zeros(10 - 1 + 20, {action_size})  # 9 between them, 20 to come
with torch.inference_mode():
    latents, _ = vae.encode(to_pictures(frames))
    imagined = predictor(latents[None], actions[None])[0, 10 - 1 :]  # [20, {latent_size}]
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
`next_latent` as the next `latent`.{ignores}
"""


def readme(run: str, vae: Network, classifier: Network, predictor: Network, differences: Mapping[str, float]) -> str:
    """What the networks take and give, how to load them, and under which terms. `differences` is empty without ONNX."""
    ...
