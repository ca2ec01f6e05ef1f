"""The network for the pictures of one vehicle as ONNX."""

from pathlib import Path

import torch
from torch import Tensor, nn

from drivelab_shared.onnx_files import Graph, write_graph
from opv2v_stage2.config import Modality
from opv2v_stage2.models.compact import CAMERAS, CompactModel, normalised
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.rotations import rigid, yaw_matrix
from opv2v_stage2.views import INCLUDES

ONNX_FILE = "vehicle.onnx"
INPUTS = {"intrinsics": "intrinsics", "rig_poses": "lidar_from_camera"}
"""What a model may be told of one vehicle, and what that is called in the file. Its own pose is none of it."""
OUTPUTS = ("log_depth", "rays", "validity")


class _Vehicle(nn.Module):
    """The network with one positional input for each thing that it is told: the exporter takes no dicts."""

    def __init__(self, model: CompactModel, told: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.told = model, told

    def forward(
        self, pictures: Tensor, first: Tensor | None = None, second: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = dict(zip(self.told, (first, second), strict=False))
        # Named, because the model would count cameras by `len`, which freezes the batch size into the file.
        values |= {
            "img": normalised(pictures),
            "camera_index": torch.arange(CAMERAS) + torch.zeros_like(pictures[..., 0, 0, 0]).long(),
        }
        views = [{name: value[:, camera] for name, value in values.items()} for camera in range(CAMERAS)]
        found = Reconstruction.of(self.model(views))
        return found.depth.log(), found.rays, found.validity_logits.sigmoid()


def write_onnx(path: Path, model: CompactModel, modality: Modality) -> float:
    """Write the file and return its largest difference from torch: of log metres, unit vectors and probabilities.

    Raises:
        RuntimeError: it does not compute what torch computes.
    """
    told = tuple(name for name in INCLUDES[modality] if name in INPUTS)
    height, width = model.settings.height, model.settings.width

    def random_inputs(batch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(batch)
        noise = torch.rand(batch, CAMERAS, 3, height, width, generator=generator)
        focal = width * (0.4 + 0.2 * torch.rand(batch, CAMERAS, 1, 1, generator=generator))
        middle = torch.tensor([[0, 0, width / 2], [0, 0, height / 2], [0, 0, 1]])
        yaw = 6 * torch.rand(batch, CAMERAS, generator=generator)
        # A camera that looks ahead, turned: its z is the lidar's x.
        ahead = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        inputs = {
            "intrinsics": focal * torch.diag(torch.tensor([1.0, 1, 0])) + middle,
            "rig_poses": rigid(yaw_matrix(yaw) @ ahead, torch.rand(batch, CAMERAS, 3, generator=generator) - 0.5),
        }
        return (noise, *(inputs[name] for name in told))

    names = ("pictures", *(INPUTS[name] for name in told))
    return write_graph(path, Graph(_Vehicle(model, told), random_inputs, names, OUTPUTS))
