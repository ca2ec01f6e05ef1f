"""From an observation of several modalities to one feature vector."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from lapo_mm.config import EncoderSettings
from lapo_mm.models.shapes import Shapes

Observation = Mapping[str, Tensor]
"""`image` uint8 [batch, channels, height, width], `state` [batch, state], `lidar` [batch, beams, numbers]."""


class ImageEncoder(nn.Module):
    """Convolutions 3x3 with stride 2, called conv1, conv2, ..., then a linear layer, LayerNorm and tanh.

    Source: the layout of facebookresearch/drqv2:drqv2.py and its relatives, smaller.
    """

    def __init__(self, shape: tuple[int, int, int], channels: tuple[int, ...], features: int) -> None:
        super().__init__()
        incoming, height, width = shape
        self.depth = len(channels)
        for number, outgoing in enumerate(channels, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1))
            incoming, height, width = outgoing, (height + 1) // 2, (width + 1) // 2
        self.projection = nn.Sequential(nn.Linear(incoming * height * width, features), nn.LayerNorm(features))

    def forward(self, image: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Features between -1 and 1."""
        hidden = image.float() / 255.0 - 0.5
        for number in range(1, self.depth + 1):
            hidden = functional.relu(getattr(self, f"conv{number}")(hidden))
        return self.projection(hidden.flatten(1)).tanh()


class Standardise(nn.Module):
    """Mean 0 and std 1 of the training data, from buffers that travel with the weights; the identity until `fit`."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, mean: Float[Tensor, "*numbers"], std: Float[Tensor, "*numbers"]) -> None:
        """Take these; a dimension that never varies keeps std 1."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Standardised, within 10 standard deviations."""
        return ((values - self.mean) / self.std).clamp(-10.0, 10.0)


class StateEncoder(nn.Module):
    """The standardised vector itself, and a layer of features beside it."""

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.standardise = Standardise(size)
        self.projection = nn.Sequential(nn.Linear(size, features), nn.LayerNorm(features))

    def forward(self, state: Float[Tensor, "batch state"]) -> Float[Tensor, "batch features"]:
        """Features between -1 and 1, then the standardised state."""
        state = self.standardise(state)
        return torch.cat([self.projection(state).tanh(), state], dim=1)


class LidarEncoder(nn.Module):
    """Beams of one turn; `cnn` sees neighbours across the seam, too."""

    def __init__(self, shape: tuple[int, int], features: int, kind: str) -> None:
        super().__init__()
        beams, numbers = shape
        self.standardise = Standardise(beams, numbers)
        self.layers = nn.Sequential()
        if kind == "cnn":
            for incoming in (numbers, 16):
                convolution = nn.Conv1d(incoming, 16, 3, stride=2, padding=1, padding_mode="circular")
                self.layers.extend([convolution, nn.ReLU()])
                beams = (beams + 1) // 2
            numbers = 16
        self.layers.extend([nn.Flatten(), nn.Linear(beams * numbers, features), nn.LayerNorm(features)])

    def forward(self, lidar: Float[Tensor, "batch beams numbers"]) -> Float[Tensor, "batch features"]:
        """Features between -1 and 1."""
        return self.layers(self.standardise(lidar).transpose(1, 2)).tanh()


class ObsEncoder(nn.Module):
    """All modalities of an observation as one vector of `num_features`.

    A modality that an observation lacks counts as zero features, which `modality_dropout` lets the policy get used to.
    """

    def __init__(self, shapes: Shapes, settings: EncoderSettings) -> None:
        super().__init__()
        self.modalities = shapes.modalities
        self.fusion, self.modality_dropout = settings.fusion, settings.modality_dropout
        widths = {}
        if shapes.image is not None:
            self.image_encoder = ImageEncoder(shapes.image, settings.channels, settings.image_features)
            widths["image"] = settings.image_features
        if shapes.state is not None:
            self.state_encoder = StateEncoder(shapes.state, settings.state_features)
            widths["state"] = settings.state_features + shapes.state
        if shapes.lidar is not None:
            self.lidar_encoder = LidarEncoder(shapes.lidar, settings.lidar_features, settings.lidar)
            widths["lidar"] = settings.lidar_features
        self.widths = widths
        if self.fusion == "concat":
            self.num_features = sum(widths.values())
            return
        self.num_features = max(widths.values())
        self.joints = nn.ModuleDict({name: nn.Linear(width, self.num_features) for name, width in widths.items()})
        if self.fusion == "gated":
            self.gate = nn.Linear(self.num_features * len(widths), len(widths))

    def forward(self, observation: Observation) -> Float[Tensor, "batch features"]:
        """Features of the observation.

        Raises:
            ValueError: it has none of the modalities.
        """
        found = {name: observation[name] for name in self.modalities if name in observation}
        if not found:
            raise ValueError(f"observation: expected some of {self.modalities}, got {sorted(observation)}")
        batch = len(next(iter(found.values())))
        features = {name: getattr(self, f"{name}_encoder")(values) for name, values in found.items()}
        if self.training and self.modality_dropout:
            kept = self._kept(batch, next(iter(features.values())).device)
            features = {name: one * kept[name] for name, one in features.items()}
        if missing := set(self.modalities) - set(features):
            like = next(iter(features.values()))
            features |= {name: like.new_zeros(batch, self.widths[name]) for name in missing}
        return self._fused([features[name] for name in self.modalities])

    def _kept(self, batch: int, device: torch.device) -> dict[str, Float[Tensor, "batch 1"]]:
        """1 where a sample keeps a modality. It never loses more than one, so something is always seen."""
        loses = torch.rand(batch, 1, device=device) < self.modality_dropout
        which = torch.randint(len(self.modalities), (batch, 1), device=device)
        return {name: 1.0 - (loses & (which == i)).float() for i, name in enumerate(self.modalities)}

    def _fused(self, features: list[Float[Tensor, "batch _"]]) -> Float[Tensor, "batch features"]:
        if self.fusion == "concat":
            return torch.cat(features, dim=1)
        joined = [self.joints[name](one) for name, one in zip(self.modalities, features, strict=True)]
        stacked = torch.stack(joined, dim=1)
        if self.fusion == "gated":
            stacked = stacked * self.gate(stacked.flatten(1)).softmax(dim=1)[:, :, None] * len(joined)
        return stacked.sum(dim=1).tanh()


def random_shift(
    images: UInt8[Tensor, "batch channels height width"], pixels: int
) -> UInt8[Tensor, "batch channels height width"]:
    """Each image moved by up to `pixels` in both directions; its border is repeated. Bytes stay bytes.

    Source: the augmentation of DrQ, arXiv 2004.13649.
    """
    batch, _, height, width = images.shape
    rows, columns = (
        (torch.arange(size, device=images.device) + _shifts(batch, pixels, images.device)).clamp(0, size - 1)
        for size in (height, width)
    )
    shifted = images.gather(2, rows[:, None, :, None].expand_as(images))
    return shifted.gather(3, columns[:, None, None, :].expand_as(images))


def _shifts(batch: int, pixels: int, device: torch.device) -> Tensor:
    return torch.randint(-pixels, pixels + 1, (batch, 1), device=device)
