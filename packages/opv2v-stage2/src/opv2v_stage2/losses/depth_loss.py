"""Depth where there is a label, in two forms; both can also be made to believe that no label means depth 0."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from opv2v_stage2.losses.robust import barron, masked_mean

CLOSEST_M = 1e-3
"""What depth 0 counts as under a logarithm."""
RANGE_EDGES_M = (5.0, 10.0, 20.0, 40.0)
MOST_BALANCE = 5.0
"""A label counts at most so many times as much as on average, and at least the inverse of it."""
MOST_CONFIDENT = 20.0

Pixels = Float[Tensor, "samples views height width"]


def log_ray_depth_loss(
    depth_ray: Pixels,
    target_ray: Pixels,
    confidence: Pixels,
    *,
    mask_aware: bool = True,
    range_balance: bool = True,
    min_labels: int = 8,
    confidence_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Robust difference of log distances along the ray: a mean per picture, then over pictures.

    Args:
        depth_ray: metres along the ray.
        target_ray: metres along the ray, 0 where there is no label.
        confidence: of the model, clamped to [1, 20]; counts only with a weight.
        mask_aware: False takes pixels without a label for depth 0.
        range_balance: weigh labels by the inverse frequency of their range in the batch.
        min_labels: pictures with fewer are left out; without any the loss and its gradient are 0.
        confidence_weight: `a` in `c * penalty - a * log c`; 0 leaves confidence out.
    """
    counts = target_ray > 0 if mask_aware else torch.ones_like(target_ray, dtype=torch.bool)
    predicted, target = (
        torch.where(counts, depth, 1.0).clamp(min=CLOSEST_M).log() for depth in (depth_ray, target_ray)
    )
    penalty = barron(predicted - target)
    if confidence_weight > 0:
        sure = torch.where(counts, confidence, 1.0).clamp(1.0, MOST_CONFIDENT)
        penalty = sure * penalty - confidence_weight * sure.log()
    weights = counts * _balance(target_ray, counts) if range_balance else counts.to(penalty)
    per_view = (weights * penalty).sum((-1, -2)) / weights.sum((-1, -2)).clamp(min=1e-6)
    return masked_mean(per_view, counts.sum((-1, -2)) >= max(min_labels, 1))


def l1_depth_loss(depth_z: Pixels, target_z: Pixels, *, mask_aware: bool = True) -> Float[Tensor, ""]:
    """Absolute difference of depths along the axis, pooled over the batch, as the request has it; metres.

    Args:
        depth_z: metres along the camera's axis.
        target_z: metres along the camera's axis, 0 where there is no label.
        mask_aware: False takes pixels without a label for depth 0.
    """
    valid = target_z > 0 if mask_aware else torch.ones_like(target_z, dtype=torch.bool)
    return masked_mean((depth_z - target_z).abs(), valid)


def _balance(target_ray: Pixels, counts: Bool[Tensor, "samples views height width"]) -> Pixels:
    """Inverse frequency of each pixel's range, 1 where all ranges are as frequent."""
    edges = torch.tensor(RANGE_EDGES_M, dtype=target_ray.dtype, device=target_ray.device)
    ranges = torch.bucketize(target_ray, edges)
    frequency = torch.stack([(counts & (ranges == number)).sum() for number in range(len(edges) + 1)])
    evenly = frequency.sum() / (frequency > 0).sum().clamp(min=1)
    weight = (evenly / frequency.clamp(min=1)).clamp(1 / MOST_BALANCE, MOST_BALANCE)
    return weight[ranges]
