"""Losses of trajectories, as pure functions of tensors in the head's target units.

They do not cure a collapse: measured on right labels they differ by less than 3 %. They are here to show that.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SCALE_FLOOR = 1e-3
"""Smallest Laplace scale, in target units: without it a step that hardly varies would be all that counts."""
L2_EPS = 1e-8
"""Keeps the gradient of a distance finite where it is 0; in squared target units."""

Trajectories = Float[Tensor, "batch steps 2"]
Scalar = Float[Tensor, ""]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a head answers, in target units."""

    mean: Trajectories
    """The trajectory; of several modes the most probable one."""
    raw_scale: Trajectories | None = None
    """Before `laplace_scale`."""
    modes: Float[Tensor, "batch modes steps 2"] | None = None
    logits: Float[Tensor, "batch modes"] | None = None
    """Of the modes' probabilities."""


def trajectory_loss(
    kind: str, prediction: Prediction, target: Trajectories, *, beta: Float[Tensor, "*shape"] | float
) -> dict[str, Scalar]:
    """`loss`, and the terms it is made of where there are several.

    Args:
        kind: mse, smooth_l1, huber, l2, laplace_nll or wta.
        prediction: must have what the kind needs: a scale for laplace_nll, modes for wta.
        target: in the same units.
        beta: where smooth_l1 and huber go from square to linear. A tensor per step and axis ([steps, 2]) keeps that
            point at the same distance in metres when every step and axis has a unit of its own.

    Raises:
        ValueError: another kind, or the prediction has no scale.
    """
    mean = prediction.mean
    match kind:
        case "mse":
            return {"loss": mse(mean, target)}
        case "smooth_l1":
            return {"loss": smooth_l1(mean, target, beta)}
        case "huber":
            return {"loss": huber(mean, target, beta)}
        case "l2":
            return {"loss": l2(mean, target)}
        case "laplace_nll":
            if prediction.raw_scale is None:
                raise ValueError("prediction: expected a scale per step and axis for laplace_nll, got none")
            return {"loss": laplace_nll(mean, prediction.raw_scale, target)}
        case "wta":
            if prediction.modes is None or prediction.logits is None:  # a single mode always wins
                return {"loss": l2(mean, target)}
            return wta(prediction.modes, prediction.logits, target)
    raise ValueError(f"loss: expected mse, smooth_l1, huber, l2, laplace_nll or wta, got {kind!r}")


def mse(mean: Trajectories, target: Trajectories) -> Scalar:
    """Mean squared coordinate error."""
    return (mean - target).square().mean()


def smooth_l1(mean: Trajectories, target: Trajectories, beta: Float[Tensor, "*shape"] | float) -> Scalar:
    """Mean over coordinates of e^2 / (2 beta) below beta, |e| - beta / 2 above: Huber's divided by beta."""
    return (_huber(mean - target, beta) / beta).mean()


def huber(mean: Trajectories, target: Trajectories, delta: Float[Tensor, "*shape"] | float) -> Scalar:
    """Mean over coordinates of e^2 / 2 below delta, delta (|e| - delta / 2) above."""
    return _huber(mean - target, delta).mean()


def _huber(error: Trajectories, delta: Float[Tensor, "*shape"] | float) -> Trajectories:
    size = error.abs()
    return torch.where(size < delta, 0.5 * size.square(), delta * (size - 0.5 * delta))


def l2(mean: Trajectories, target: Trajectories, eps: float = L2_EPS) -> Scalar:
    """Mean distance: the ADE itself where the target unit is the same for all steps and axes."""
    return ((mean - target).square().sum(-1) + eps).sqrt().mean()


def laplace_scale(raw_scale: Float[Tensor, "*shape"], floor: float = SCALE_FLOOR) -> Float[Tensor, "*shape"]:
    """Positive scale b of a Laplace distribution from what a layer gives."""
    return functional.softplus(raw_scale) + floor


def laplace_nll(
    mean: Trajectories, raw_scale: Trajectories, target: Trajectories, floor: float = SCALE_FLOOR
) -> Scalar:
    """Mean over coordinates of log(2 b) + |e| / b."""
    scale = laplace_scale(raw_scale, floor)
    return ((2 * scale).log() + (mean - target).abs() / scale).mean()


def wta(
    modes: Float[Tensor, "batch modes steps 2"], logits: Float[Tensor, "batch modes"], target: Trajectories
) -> dict[str, Scalar]:
    """Distance of the mode that comes closest, summed over its steps, and cross entropy on its index.

    Only the winner learns its shape; every mode learns its probability.

    Source: choice of the mode as in HiVT, 2022, ZikangZhou/HiVT:models/hivt.py.
    """
    with torch.no_grad():
        winner = (modes - target[:, None]).norm(dim=-1).sum(-1).argmin(dim=1)
    distance = l2(modes[torch.arange(len(modes), device=modes.device), winner], target)
    cross_entropy = functional.cross_entropy(logits, winner)
    return {"loss": distance + cross_entropy, "distance": distance, "cross_entropy": cross_entropy}
