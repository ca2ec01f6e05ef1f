"""Encoder, decoder and one predictor step as ONNX. A file is written only after it has agreed with torch."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.onnx_files import Graph, write_graph
from latent_predictor.models import LstmPredictor, Vae
from latent_predictor.models.predictor import Predictor

ONNX_FILES = ("encoder.onnx", "decoder.onnx", "predictor_step.onnx")


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
        _graph(Encoder(vae), {"pictures": (3, 64, 64)}, ("latent",)),
        _graph(Decoder(vae), {"latent": latent}, ("pictures",)),
        _graph(PredictorStep(predictor), step_inputs, ("next_latent", "next_hidden", "next_cell")),
    )
    return {name: write_graph(folder / name, graph) for name, graph in zip(ONNX_FILES, graphs, strict=True)}


def _graph(module: nn.Module, sizes: dict[str, tuple[int, ...]], outputs: tuple[str, ...]) -> Graph:
    """`sizes` of the inputs, besides the batch."""

    def random_inputs(batch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(batch)
        return tuple(torch.randn(batch, *size, generator=generator) for size in sizes.values())

    return Graph(module, random_inputs, tuple(sizes), outputs)
