"""Which pixels show something whose depth can be known."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from opv2v_stage2.losses.robust import masked_mean

Mask = Bool[Tensor, "samples views height width"]


def validity_loss(
    logits: Float[Tensor, "samples views height width"],
    labelled: Mask,
    negative: Mask,
    *,
    mode: Literal["tri_state", "upstream"] = "tri_state",
) -> Float[Tensor, ""]:
    """Cross entropy of the validity.

    `tri_state`: half of it is the mean over labels, half the mean over known sky, and the rest is ignored: no return of
    the lidar is no sky. A half without pixels is 0, and the other keeps its weight. `upstream`: MapAnything's rule that
    only a negative depth is invalid, so that the zeros of a sparse map teach sky to be valid.

    Source: halves as in microsoft/MoGe:moge/train/losses.py.
    """
    if mode == "upstream":
        return softplus(-logits).mean()
    return 0.5 * masked_mean(softplus(-logits), labelled) + 0.5 * masked_mean(softplus(logits), negative & ~labelled)
