"""The policy as ONNX, from observation to action."""

from pathlib import Path

import torch
from torch import Tensor, nn

from drivelab_shared.onnx_files import Graph, write_graph
from lapo_mm.algorithms import Algorithm

ONNX_FILE = "policy.onnx"


class _Policy(nn.Module):
    """The policy with one positional input per modality: the exporter takes neither a dict nor `*arrays`."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.algorithm = algorithm

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Tensor:
        arrays = [array for array in (first, second, third) if array is not None]
        return self.algorithm(dict(zip(self.algorithm.shapes.modalities, arrays, strict=True)))


def write_onnx(path: Path, algorithm: Algorithm) -> float:
    """Write the file and return its largest difference from torch, in the units of the action.

    Raises:
        RuntimeError: it does not compute what torch computes.
    """
    shapes = algorithm.shapes

    def random_inputs(batch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(batch)
        sizes = {name: (batch, *shapes.size(name)) for name in shapes.modalities}
        return tuple(
            torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
            if name == "image"
            else torch.randn(size, generator=generator)
            for name, size in sizes.items()
        )

    return write_graph(path, Graph(_Policy(algorithm), random_inputs, shapes.modalities, ("action",)))
