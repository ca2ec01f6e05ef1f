"""What the terms share: robust penalties and means over some of the pixels."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BARRON_ALPHA, BARRON_SCALE = 0.5, 0.05
"""MapAnything's: grows with the root of large errors; square up to about 0.05."""


def barron(error: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Robust penalty of each error.

    Source: Barron, A General and Adaptive Robust Loss Function, 2019, eq. 1.
    """
    bend = abs(BARRON_ALPHA - 2)
    return bend / BARRON_ALPHA * (((error / BARRON_SCALE).square() / bend + 1) ** (BARRON_ALPHA / 2) - 1)


def knee(error: Float[Tensor, "*shape"], at: float) -> Float[Tensor, "*shape"]:
    """e^2 / (2 at) below `at`, |e| - at / 2 above: slope 1 wherever it is linear, and no jump of the slope at 0."""
    return torch.nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=at, reduction="none")


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], dims: tuple[int, ...] | None = None
) -> Float[Tensor, "*rest"]:
    """Mean over where the mask holds; 0, with a gradient of 0, where it holds nowhere."""
    dims = tuple(range(values.ndim)) if dims is None else dims
    return torch.where(mask, values, 0.0).sum(dims) / mask.sum(dims).clamp(min=1)
