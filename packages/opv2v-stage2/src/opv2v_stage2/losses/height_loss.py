"""Unlabelled pixels that the model puts high above the ground."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from opv2v_stage2.losses.robust import masked_mean

Pixels = Float[Tensor, "samples views height width"]


def height_above_ground(
    points_camera: Float[Tensor, "samples views height width 3"],
    camera_up: Float[Tensor, "samples views 3"],
    camera_height: Float[Tensor, "samples views"],
) -> Pixels:
    """Metres, from points in their own camera's frame and the rig alone: errors of poses do not reach it."""
    return camera_height[..., None, None] + torch.einsum("svi,svhwi->svhw", camera_up, points_camera)


def height_loss(
    height_m: Pixels,
    validity_logits: Pixels,
    unlabelled: Bool[Tensor, "samples views height width"],
    *,
    mode: Literal["mask", "depth"] = "mask",
    z_max: float = 4.0,
) -> Float[Tensor, ""]:
    """Mean over unlabelled pixels of how far they are above `z_max`.

    `mask` weighs it by the validity, which falls, and leaves depth alone. `depth` is the request's own: it pulls
    whatever really is higher down to a false ceiling at `z_max`.
    """
    excess = (height_m - z_max).relu()
    if mode == "mask":
        return masked_mean(validity_logits.sigmoid() * excess.detach() / z_max, unlabelled)
    return masked_mean(excess, unlabelled)
