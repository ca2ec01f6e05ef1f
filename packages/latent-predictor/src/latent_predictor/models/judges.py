"""Who reads the lane: two classifiers of latents, one of pictures. Classes: 0 left, 1 center, 2 right.

Judge a (`LatentMlp`) may be part of the predictor's loss. Judges b and c never are: b has another architecture, seed
and input noise, c has only ever seen real pictures.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_predictor.models.vae import GRID

CLASSES = ("left", "center", "right")


class LatentMlp(nn.Module):
    """Judge a: one hidden layer on the flat latent."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            nn.Linear(latent_dim * GRID * GRID, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, len(CLASSES))
        )

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3"]:
        """Logits."""
        return self.layers(latents)


class LatentCnn(nn.Module):
    """Judge b: convolutions on the latent grid; sees noisy latents in training."""

    def __init__(self, latent_dim: int, noise_std: float = 0.1) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.noise_std = noise_std
        self.layers = nn.Sequential(
            nn.Conv2d(latent_dim, 96, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(96, 64, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * GRID * GRID, len(CLASSES)),
        )

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3"]:
        """Logits."""
        if self.training:
            latents = latents + self.noise_std * torch.randn_like(latents)
        return self.layers(latents.view(-1, self.latent_dim, GRID, GRID))


class PixelCnn(nn.Module):
    """Judge c: reads pictures in [0, 1], real or decoded.

    In training it sees every real picture blurred to a random degree, because no decoder is as sharp as a camera: it
    shall judge where the lane is, not how crisp it is drawn.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = [3, 16, 32, 64, 64]
        stages = [
            layer
            for a, b in pairwise(channels)
            for layer in (nn.Conv2d(a, b, kernel_size=3, stride=2, padding=1), nn.GroupNorm(8, b), nn.ReLU())
        ]
        self.layers = nn.Sequential(
            *stages, nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels[-1] * GRID * GRID, len(CLASSES))
        )

    def forward(self, pictures: Float[Tensor, "batch 3 64 64"]) -> Float[Tensor, "batch 3"]:
        """Logits."""
        if self.training:
            degree = torch.rand(len(pictures), 1, 1, 1, device=pictures.device)
            pictures = torch.lerp(pictures, _blurred(pictures), degree)
        return self.layers(pictures)


def _blurred(pictures: Float[Tensor, "batch 3 64 64"]) -> Float[Tensor, "batch 3 64 64"]:
    """A quarter of the resolution, drawn smoothly: about what a mean over possible futures leaves of a lane marking."""
    small = nn.functional.avg_pool2d(pictures, kernel_size=4)
    return nn.functional.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)
