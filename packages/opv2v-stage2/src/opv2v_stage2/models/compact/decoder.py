"""Tokens back to pixels: depth over a ground plane, validity and confidence."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from opv2v_stage2.models.compact.encoder import STEM_CHANNELS

FULL_CHANNELS = 16


class Decoder(nn.Module):
    """Upsampling with the maps of the stem.

    Args:
        channels: of the coarsest map.
        inputs: channels of a picture with all that is known of its pixels.
    """

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        half, quarter = STEM_CHANNELS
        self.to_quarter = _joined(channels + quarter, quarter)
        self.to_half = _joined(quarter + half, half)
        self.to_full = _joined(half + inputs, FULL_CHANNELS)
        self.head = nn.Conv2d(FULL_CHANNELS, 3, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        pixels: Float[Tensor, "pictures inputs height width"],
        half: Float[Tensor, "pictures _ _ _"],
        quarter: Float[Tensor, "pictures _ _ _"],
        eighth: Float[Tensor, "pictures _ _ _"],
    ) -> Float[Tensor, "3 pictures height width"]:
        """Log depth relative to the prior, validity logit, raw confidence; all zero before training."""
        x = self.to_quarter(torch.cat([_enlarged(eighth, quarter), quarter], dim=1))
        x = self.to_half(torch.cat([_enlarged(x, half), half], dim=1))
        x = self.to_full(torch.cat([_enlarged(x, pixels), pixels], dim=1))
        return self.head(x).transpose(0, 1)


def _joined(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.GELU())


def _enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    return functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
