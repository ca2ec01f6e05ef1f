"""Pictures to tokens: convolutions to an eighth of the size, then attention within a picture and across all of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

PATCH_PX = 8
STEM_CHANNELS = (24, 48)
"""At a half and a quarter of the size."""


class Stem(nn.Module):
    """Convolutions; keeps the finer maps for the decoder.

    Args:
        inputs: channels of a picture with all that is known of its pixels.
        channels: of the coarsest map.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        half, quarter = STEM_CHANNELS
        self.to_half = _halved(inputs, half)
        self.to_quarter = _halved(half, quarter)
        self.to_eighth = _halved(quarter, channels)

    def forward(
        self, pixels: Float[Tensor, "pictures inputs height width"]
    ) -> tuple[Float[Tensor, "pictures _ _ _"], Float[Tensor, "pictures _ _ _"], Float[Tensor, "pictures _ _ _"]]:
        """Maps of a half, a quarter and an eighth of the size."""
        half = self.to_half(pixels)
        quarter = self.to_quarter(half)
        return half, quarter, self.to_eighth(quarter)


class Layer(nn.Module):
    """Attention and a perceptron, with norms before each."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, tokens: Float[Tensor, "sets tokens channels"]) -> Float[Tensor, "sets tokens channels"]:
        """Every token of a set sees all others of it."""
        sets, count, channels = tokens.shape
        qkv = self.qkv(self.norm_attention(tokens)).view(sets, count, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(sets, count, channels)
        tokens = tokens + self.out(seen)
        return tokens + self.mlp(self.norm_mlp(tokens))


class Attention(nn.Module):
    """Layers that look within a picture and across all pictures of a sample in turn."""

    def __init__(self, channels: int, layers: int, heads: int, *, checkpointing: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(channels, heads) for _ in range(layers))
        self.checkpointing = checkpointing

    def forward(
        self, tokens: Float[Tensor, "samples views tokens channels"]
    ) -> Float[Tensor, "samples views tokens channels"]:
        """The same tokens, knowing of one another."""
        samples, views, count, channels = tokens.shape
        for number, layer in enumerate(self.layers):
            sets = (samples * views, count) if number % 2 == 0 else (samples, views * count)
            flat = tokens.reshape(*sets, channels)
            is_saving = self.checkpointing and self.training
            flat = checkpoint(layer, flat, use_reentrant=False) if is_saving else layer(flat)
            tokens = flat.view(samples, views, count, channels)
        return tokens


def position_map(height: int, width: int, channels: int) -> Float[Tensor, "channels height width"]:
    """Sines and cosines of row and column; fits every size of picture."""
    quarter = channels // 4
    frequencies = torch.pi * 2.0 ** torch.linspace(0, 4, quarter)
    rows = ((torch.arange(height) + 0.5) / height)[:, None] * frequencies
    columns = ((torch.arange(width) + 0.5) / width)[:, None] * frequencies
    along = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(-1, width, -1)
    across = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, -1, -1)
    both = torch.cat([along, across], dim=2).permute(2, 0, 1)
    return functional.pad(both, (0, 0, 0, 0, 0, channels - 4 * quarter))


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(8, outputs),
        nn.GELU(),
    )
