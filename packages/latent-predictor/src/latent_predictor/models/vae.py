"""The frame autoencoder: 64x64 RGB picture <-> latent_dim x 4 x 4 values."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

GRID = 4
"""Height and width of the latent; four halvings of 64."""


class Vae(nn.Module):
    """Convolutional variational autoencoder. Latents are handed around flat, [batch, latent_dim * 16].

    Source: the shape of Ha and Schmidhuber, World Models, 2018, with a spatial latent.
    """

    def __init__(self, latent_dim: int = 64, widths: Sequence[int] = (24, 48, 96)) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        channels = [3, *widths]
        down = [layer for a, b in pairwise(channels) for layer in (_halve(a, b), nn.SiLU())]
        up = [layer for a, b in pairwise(channels[:0:-1]) for layer in (_double(a, b), nn.SiLU())]
        self.encoder = nn.Sequential(*down, _halve(channels[-1], 2 * latent_dim))
        self.decoder = nn.Sequential(_double(latent_dim, channels[-1]), nn.SiLU(), *up, _double(channels[1], 3))

    @property
    def latent_size(self) -> int:
        """Values in a latent."""
        return self.latent_dim * GRID * GRID

    def encode(
        self, pictures: Float[Tensor, "batch 3 64 64"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and log variance of the posterior. The mean is what everything else calls the latent."""
        mean, log_variance = self.encoder(pictures).flatten(1).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 64 64"]:
        """Pictures in [0, 1]."""
        return self.decoder(latents.view(-1, self.latent_dim, GRID, GRID)).sigmoid()

    def forward(
        self, pictures: Float[Tensor, "batch 3 64 64"]
    ) -> tuple[Float[Tensor, "batch 3 64 64"], Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Reconstruction from a sample of the posterior, and the posterior's mean and log variance."""
        mean, log_variance = self.encode(pictures)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(sample), mean, log_variance


def _halve(a: int, b: int) -> nn.Module:
    return nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1)


def _double(a: int, b: int) -> nn.Module:
    return nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)
