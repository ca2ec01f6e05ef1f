"""The losses of LAPO and of its baselines: functions of tensors.

Source: "Latent-variable Advantage-weighted Policy Optimization", NeurIPS 2022, and its released code,
pcchenxi/LAPO-offlienRL:algos/algos_vae.py.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

MAX_WEIGHT = 100.0
"""Of the exponential weighting, as in AWAC and IQL: one outlier must not be the batch."""


def mixed(q1: Float[Tensor, " batch"], q2: Float[Tensor, " batch"], smaller_share: float) -> Float[Tensor, " batch"]:
    """`smaller_share` of the smaller value, the rest of the larger one."""
    return smaller_share * torch.minimum(q1, q2) + (1.0 - smaller_share) * torch.maximum(q1, q2)


def td_target(
    rewards: Float[Tensor, " batch"],
    terminals: Float[Tensor, " batch"],
    next_values: Float[Tensor, " batch"],
    gamma: float,
) -> Float[Tensor, " batch"]:
    """Reward + gamma * (1 - terminal) * next value. A truncated episode is not terminal."""
    return rewards + gamma * (1.0 - terminals) * next_values


def twin_loss(
    q1: Float[Tensor, " batch"], q2: Float[Tensor, " batch"], target: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Sum of the mean squared errors of both values."""
    return functional.mse_loss(q1, target) + functional.mse_loss(q2, target)


def advantage_weights(
    advantages: Float[Tensor, " batch"], weighting: str, expectile: float, temperature: float
) -> Float[Tensor, " batch"]:
    """How much each action counts for the VAE.

    `expectile` is a step: `expectile` where the advantage is positive, 1 - expectile elsewhere (the released code).
    `exp` is exp(advantage / temperature), at most 100 (the paper).
    """
    if weighting == "expectile":
        return torch.where(advantages > 0, expectile, 1.0 - expectile)
    return (advantages / temperature).exp().clamp(max=MAX_WEIGHT)


def kl_to_prior(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    """KL(N(mean, variance) || N(0, 1)), summed over the latent, nats."""
    return -0.5 * (1.0 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)


def vae_terms(
    reconstruction: Float[Tensor, "batch actions"],
    actions: Float[Tensor, "batch actions"],
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    weights: Float[Tensor, " batch"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Weighted squared error, summed over the action, and weighted KL; the loss is error + kl_beta * KL."""
    error = (reconstruction - actions).square().sum(dim=1)
    return (weights * error).mean(), (weights * kl_to_prior(mean, log_variance)).mean()


def expectile_loss(errors: Float[Tensor, " batch"], expectile: float) -> Float[Tensor, ""]:
    """Squared errors, the positive ones weighted by `expectile`, the others by the rest.

    Source: IQL, arXiv 2110.06169, equation 5.
    """
    return (torch.where(errors > 0, expectile, 1.0 - expectile) * errors.square()).mean()


def cloning_loss(
    actions: Float[Tensor, "batch actions"],
    data: Float[Tensor, "batch actions"],
    weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Squared error, summed over the action, weighted per sample."""
    error = (actions - data).square().sum(dim=1)
    return error.mean() if weights is None else (weights * error).mean()


def td3bc_loss(
    q: Float[Tensor, " batch"],
    actions: Float[Tensor, "batch actions"],
    data: Float[Tensor, "batch actions"],
    alpha: float,
) -> Float[Tensor, ""]:
    """Cloning, minus the value in units of its own size.

    Source: Fujimoto and Gu, arXiv 2106.06860, equation 5.
    """
    return -alpha * q.mean() / q.abs().mean().detach() + functional.mse_loss(actions, data)
