"""Losses as pure functions of tensors."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

UNKNOWN = -1
"""Label of a frame whose lane nobody knows; it counts in no loss and no metric."""


def vae_loss(
    pictures: Float[Tensor, "batch 3 64 64"],
    reconstructions: Float[Tensor, "batch 3 64 64"],
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    kl_weight: float,
) -> dict[str, Float[Tensor, ""]]:
    """Squared error summed over the picture, and KL divergence to N(0, 1) summed over the latent; means over the batch.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, 2014, eq. 10 and appendix B.
    """
    squared_error = (pictures - reconstructions).square().flatten(1).sum(1).mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
    return {"loss": squared_error + kl_weight * kl, "squared_error": squared_error, "kl": kl}


def lane_cross_entropy(logits: Float[Tensor, "*batch classes"], labels: Int[Tensor, "*batch"]) -> Float[Tensor, ""]:
    """Mean over the frames whose label is known; 0, with a gradient of 0, where none is."""
    known = labels.flatten() != UNKNOWN
    losses = functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten().long(), ignore_index=UNKNOWN, reduction="sum"
    )
    return losses / known.sum().clamp_min(1)


def predictor_loss(
    predictions: Float[Tensor, "batch time latent"],
    targets: Float[Tensor, "batch time latent"],
    labels: Int[Tensor, "batch time"],
    *,
    scale: Float[Tensor, " latent"],
    classifier: Callable[[Tensor], Tensor],
    lambda_cls: float,
    noise_std: Float[Tensor, " latent"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """`loss = mse + lambda_cls * ce`, the mean over all predictions of a window.

    Args:
        predictions: of the latents 1 .. time.
        targets: the real ones.
        labels: of the *target* frames, so that prediction t and label t are the same frame.
        scale: unit of the error per dimension; the latents' std where they are whitened, else ones.
        classifier: frozen; reads latents in their own units, and its gradient reaches the predictions.
        lambda_cls: 0 computes the cross entropy for the log only.
        noise_std: Gaussian noise on what the classifier reads. With the posterior's own std, directions too fine for
            the decoder carry no gradient worth following.
    """
    mse = ((predictions - targets) / scale).square().mean()
    with torch.set_grad_enabled(lambda_cls > 0 and torch.is_grad_enabled()):
        read = predictions if noise_std is None else predictions + noise_std * torch.randn_like(predictions)
        ce = lane_cross_entropy(classifier(read.flatten(0, 1)), labels.flatten())
    return {"loss": mse + lambda_cls * ce if lambda_cls else mse, "mse": mse, "ce": ce}
