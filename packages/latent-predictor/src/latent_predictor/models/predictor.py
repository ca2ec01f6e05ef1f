"""What every predictor of the next latent has in common: normalisers, one step, and the imagined future."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST_STD = 0.05
"""Dead latent dimensions and constant actions would dominate, or explode on new data, without it."""

Memory = Any
"""What a predictor carries from step to step; None before the first."""


class Predictor(nn.Module, ABC):
    """Predicts latent t+1 from the latents and actions up to t, and imagines on from its own predictions.

    The normalisers are buffers, so they are part of every checkpoint. Latents and actions go in, and latents come out,
    in their own units; inside, x = (z - mean) / std.

    Args:
        latent_size: values in a latent.
        action_size: numbers in an action; 0 without actions.
        residual: predict the change of the latent instead of the latent.
    """

    uses_actions = True
    """A predictor that ignores actions also runs on drives that have none, or other ones."""

    def __init__(self, latent_size: int, action_size: int, *, residual: bool) -> None:
        super().__init__()
        self.latent_size, self.action_size, self.residual = latent_size, action_size, residual
        for name, size in (("latent", latent_size), ("action", action_size)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def normalise(self, name: str, mean: Float[Tensor, " size"], std: Float[Tensor, " size"]) -> None:
        """Set the normaliser of `latent` or `action` from statistics of the training split."""
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_std").copy_(std.clamp_min(SMALLEST_STD))

    @abstractmethod
    def step(
        self, inputs: Float[Tensor, "batch latent"], actions: Float[Tensor, "batch action"], memory: Memory
    ) -> tuple[Float[Tensor, "batch latent"], Memory]:
        """One normalised transition: what the head says (the next latent, or its change), and the new memory."""

    def forced(
        self, inputs: Float[Tensor, "batch time latent"], actions: Float[Tensor, "batch time action"]
    ) -> tuple[Float[Tensor, "batch time latent"], Memory]:
        """`step` over real inputs. A predictor overrides it where one fused call does the same faster."""
        outputs, memory = [], None
        for t in range(inputs.shape[1]):
            output, memory = self.step(inputs[:, t], actions[:, t], memory)
            outputs.append(output)
        return torch.stack(outputs, dim=1), memory

    def forward(
        self,
        real: Float[Tensor, "batch forced latent"],
        actions: Float[Tensor, "batch time action"],
        *,
        noise_std: float = 0.0,
        sampling_probability: float = 0.0,
    ) -> Float[Tensor, "batch time latent"]:
        """Predictions of the latents 1 .. time: the first `forced` steps read real latents, later ones predictions.

        Training and imagination are this one function; gradients flow through the fed-back predictions.

        Args:
            real: latents 0 .. forced-1.
            actions: `actions[:, t]` leads from latent t to latent t+1; at least as many as `real`.
            noise_std: Gaussian noise on every normalised input, for training.
            sampling_probability: of reading the own prediction in a forced step.

        Source: scheduled sampling, Bengio et al., 2015.
        """
        if self.uses_actions:
            actions = (actions - self.action_mean) / self.action_std
        real = (real - self.latent_mean) / self.latent_std
        forced = real.shape[1]
        if sampling_probability > 0:
            predictions, memory = self._sampled(real, actions[:, :forced], noise_std, sampling_probability)
        else:
            outputs, memory = self.forced(_noisy(real, noise_std), actions[:, :forced])
            predictions = list((real + outputs if self.residual else outputs).unbind(1))
        for t in range(forced, actions.shape[1]):
            prediction, memory = self._next(predictions[-1], actions[:, t], memory, noise_std)
            predictions.append(prediction)
        return self.latent_mean + self.latent_std * torch.stack(predictions, dim=1)

    def _next(self, latent: Tensor, action: Tensor, memory: Memory, noise_std: float) -> tuple[Tensor, Memory]:
        output, memory = self.step(_noisy(latent, noise_std), action, memory)
        return (latent + output if self.residual else output), memory

    def _sampled(
        self, real: Tensor, actions: Tensor, noise_std: float, probability: float
    ) -> tuple[list[Tensor], Memory]:
        predictions: list[Tensor] = []
        memory: Memory = None
        for t in range(real.shape[1]):
            latent = real[:, t]
            if t > 0:
                own = torch.rand(len(latent), 1, device=latent.device) < probability
                latent = torch.where(own, predictions[-1], latent)
            prediction, memory = self._next(latent, actions[:, t], memory, noise_std)
            predictions.append(prediction)
        return predictions, memory


def _noisy(inputs: Tensor, std: float) -> Tensor:
    return inputs + std * torch.randn_like(inputs) if std > 0 else inputs
