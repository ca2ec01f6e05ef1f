"""From tokens to the few vectors that the head reads."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from v2x_teacher.config import Pooling
from v2x_teacher.models.backbone import Encoded

READS_TEXT = ("original", "fixed")
"""Poolings of what the language half says. The others read image tokens, which do not depend on it or on a prompt."""


def pool(encoded: Encoded, kind: Pooling, num_groups: int) -> Float[Tensor, "batch vectors width"]:
    """One vector (`original`, `fixed`), one per group of image tokens (`mean`), or all image tokens (`flat`, `attn`).

    The request averaged over padding too; here padding never counts, or a sample's features would depend on the
    prompts beside it in the batch.

    Args:
        encoded: of a batch.
        kind: see the settings. `attn` learns its weights, so the pooling itself is the head's.
        num_groups: `Backbone.num_groups` of the cameras.
    """
    if kind == "original":
        ramp_mean = _weighted_mean(encoded.tokens, _ramp(encoded.mask))
        mixed = 0.6 * encoded.decoder + 0.4 * ramp_mean
        return functional.layer_norm(mixed, mixed.shape[-1:])[:, None]
    if kind == "fixed":
        return (encoded.decoder + _weighted_mean(encoded.tokens, encoded.mask.float()))[:, None]
    return pool_image_tokens(encoded.image_tokens, kind, num_groups)


def pool_image_tokens(
    image_tokens: Float[Tensor, "batch tokens width"], kind: Pooling, num_groups: int
) -> Float[Tensor, "batch vectors width"]:
    """`pool` for `mean`, `flat` and `attn`, which need no language half."""
    return image_tokens.unflatten(1, (num_groups, -1)).mean(2) if kind == "mean" else image_tokens


def num_vectors(kind: Pooling, num_groups: int, num_image_tokens: int) -> int:
    """Vectors per sample that `pool` returns."""
    return {"original": 1, "fixed": 1, "mean": num_groups}.get(kind, num_image_tokens)


def _ramp(mask: Bool[Tensor, "batch length"]) -> Float[Tensor, "batch length"]:
    """Weights 0.5 to 1.0 in equal steps over the tokens that are not padding, 0 on padding."""
    place = mask.cumsum(1) - 1
    last = place[:, -1:].clamp(min=1)
    return torch.where(mask, 0.5 + 0.5 * place / last, 0.0)


def _weighted_mean(
    tokens: Float[Tensor, "batch length width"], weights: Float[Tensor, "batch length"]
) -> Float[Tensor, "batch width"]:
    return torch.einsum("bl,blw->bw", weights.to(tokens), tokens) / weights.sum(1, keepdim=True).to(tokens)
