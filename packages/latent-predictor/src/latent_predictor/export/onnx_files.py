"""Encoder, decoder and one predictor step as ONNX. A file is written only after it has agreed with torch."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_bytes
from latent_predictor.models import LstmPredictor, Vae
from latent_predictor.models.predictor import Predictor

EXTRA = ("onnx", "onnxscript", "onnxruntime")
ONNX_FILES = ("encoder.onnx", "decoder.onnx", "predictor_step.onnx")
TOLERANCE = 1e-4
"""Largest difference from torch; float32 kernels of two libraries differ by about 1e-6."""
CHECKED_BATCHES = (1, 5)
"""None of them the traced one, so that a batch size frozen into the file is noticed."""
TRACED_BATCH = 3


def require_extra() -> None:
    """Refuse before anything is written.

    Raises:
        UserError: a module of the extra is missing.
    """
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UserError(f"onnx: expected the extra `export` to be installed, got no {', '.join(missing)}")


class Encoder(nn.Module):
    """Picture to latent."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Float[Tensor, "batch 3 64 64"]) -> Float[Tensor, "batch latent"]:
        """The posterior's mean."""
        return self.vae.encode(pictures)[0]


class Decoder(nn.Module):
    """Latent to picture."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 64 64"]:
        """Pictures in [0, 1]."""
        return self.vae.decode(latent)


class PredictorStep(nn.Module):
    """One transition with the memory handed in and out, in the units of the VAE and of the actions."""

    def __init__(self, predictor: LstmPredictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(
        self,
        latent: Float[Tensor, "batch latent"],
        action: Float[Tensor, "batch action"],
        hidden: Float[Tensor, "batch hidden"],
        cell: Float[Tensor, "batch hidden"],
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        """The next latent, hidden and cell state. `action` leads from `latent` to it."""
        p = self.predictor
        inputs = (latent - p.latent_mean) / p.latent_std
        output, memory = p.step(inputs, (action - p.action_mean) / p.action_std, (hidden[None], cell[None]))
        following = inputs + output if p.residual else output
        return p.latent_mean + p.latent_std * following, memory[0][0], memory[1][0]


@dataclass(frozen=True, eq=False)
class _Graph:
    """A module, the sizes of its inputs besides the batch, and the names of its outputs."""

    module: nn.Module
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def random_inputs(self, batch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(batch)
        return tuple(torch.randn(batch, *size, generator=generator) for size in self.inputs.values())


def write_onnx(folder: Path, vae: Vae, predictor: Predictor) -> dict[str, float]:
    """Write ONNX_FILES and return each one's largest difference from torch.

    Raises:
        UserError: this kind of predictor cannot be exported.
        RuntimeError: a file does not compute what torch computes.
    """
    if not isinstance(predictor, LstmPredictor):
        raise UserError(f"onnx: expected an lstm predictor, got {type(predictor).__name__}")
    latent, memory = (vae.latent_size,), (predictor.lstm.hidden_size,)
    step_inputs = {"latent": latent, "action": (predictor.action_size,), "hidden": memory, "cell": memory}
    graphs = (
        _Graph(Encoder(vae), {"pictures": (3, 64, 64)}, ("latent",)),
        _Graph(Decoder(vae), {"latent": latent}, ("pictures",)),
        _Graph(PredictorStep(predictor), step_inputs, ("next_latent", "next_hidden", "next_cell")),
    )
    differences = {}
    for name, graph in zip(ONNX_FILES, graphs, strict=True):
        content = _traced(graph)
        differences[name] = _difference(graph, content)
        if not differences[name] < TOLERANCE:
            raise RuntimeError(f"{name}: expected at most {TOLERANCE} from torch, got {differences[name]}")
        replace_bytes(folder / name, content)
    return differences


@torch.no_grad()
def _traced(graph: _Graph) -> bytes:
    with _quiet_exporter():
        program = torch.onnx.export(
            graph.module.eval(),
            graph.random_inputs(TRACED_BATCH),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple({0: "batch"} for _ in graph.inputs),
            verbose=False,
        )
    return program.model_proto.SerializeToString()


@torch.no_grad()
def _difference(graph: _Graph, content: bytes) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in CHECKED_BATCHES:
        inputs = graph.random_inputs(batch)
        expected = graph.module(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        arrays = {name: tensor.numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)}
        found = session.run(list(graph.outputs), arrays)
        for ours, theirs in zip(expected, found, strict=True):
            largest = max(largest, float((ours - torch.from_numpy(theirs)).abs().max()))
    return largest


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what torch's exporter (2.15) has to say about torch.

    That is a deprecated call of its own, its handling of nn.LSTM's weights, the batch axis that several inputs share,
    and a missing torchvision, which nothing here needs.
    """
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    with warnings.catch_warnings():
        for message in (".*_check_is_size will be removed", ".*_flat_weights", ".*axis name: batch will not be used"):
            warnings.filterwarnings("ignore", message=message)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
