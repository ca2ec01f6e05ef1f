"""Heads on the features: twin Q and V, the action VAE, policies. All are called through `forward` alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call


def mlp(inputs: int, hidden_sizes: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [nn.Linear(inputs, size), nn.ReLU()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class TwinQ(nn.Module):
    """Two independent values of an action in a state."""

    def __init__(self, features: int, actions: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.q1 = mlp(features + actions, hidden_sizes, 1)
        self.q2 = mlp(features + actions, hidden_sizes, 1)

    def forward(
        self, features: Float[Tensor, "batch features"], actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Q1 and Q2."""
        inputs = torch.cat([features, actions], dim=1)
        return self.q1(inputs)[:, 0], self.q2(inputs)[:, 0]


class Value(nn.Module):
    """The value of a state."""

    def __init__(self, features: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = mlp(features, hidden_sizes, 1)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, " batch"]:
        """V."""
        return self.layers(features)[:, 0]


class Critic(nn.Module):
    """Twin Q and V, which one optimizer trains by one loss."""

    def __init__(self, features: int, actions: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        self.q = TwinQ(features, actions, hidden_sizes)
        self.v = Value(features, hidden_sizes)

    def forward(
        self, features: Float[Tensor, "batch features"], actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Q1, Q2 and V."""
        return *self.q(features, actions), self.v(features)


class Bounds(nn.Module):
    """Into the action box, or nowhere in particular where the box is not to be minded. Standardised actions."""

    def __init__(self, actions: int, *, is_bounded: bool) -> None:
        super().__init__()
        self.is_bounded = is_bounded
        self.register_buffer("low", -torch.ones(actions))
        self.register_buffer("high", torch.ones(actions))

    def fit(self, low: Float[Tensor, " actions"], high: Float[Tensor, " actions"]) -> None:
        """Take the box. It has to be finite."""
        self.low.copy_(low)
        self.high.copy_(high)

    def forward(self, raw: Float[Tensor, "batch actions"]) -> Float[Tensor, "batch actions"]:
        """`raw` squeezed into the box by tanh, or `raw` itself."""
        if not self.is_bounded:
            return raw
        return self.low + (self.high - self.low) * (raw.tanh() + 1.0) / 2.0


class Decoder(nn.Module):
    """The action that a latent means in a state."""

    def __init__(
        self, features: int, latent: int, actions: int, hidden_sizes: Sequence[int], *, is_bounded: bool
    ) -> None:
        super().__init__()
        self.layers = mlp(features + latent, hidden_sizes, actions)
        self.bounds = Bounds(actions, is_bounded=is_bounded)

    def forward(
        self, features: Float[Tensor, "batch features"], latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch actions"]:
        """Standardised actions."""
        return self.bounds(self.layers(torch.cat([features, latents], dim=1)))


class ActionVae(nn.Module):
    """Conditional VAE over actions: a latent per action, given the state.

    Source: Sohn et al., 2015; as used in PLAS (arXiv 2011.07213) and pcchenxi/LAPO-offlienRL:algos/algos_vae.py.
    """

    def __init__(
        self, features: int, latent: int, actions: int, hidden_sizes: Sequence[int], *, is_bounded: bool
    ) -> None:
        super().__init__()
        self.encoder = mlp(features + actions, hidden_sizes, 2 * latent)
        self.decoder = Decoder(features, latent, actions, hidden_sizes, is_bounded=is_bounded)

    def forward(
        self, features: Float[Tensor, "batch features"], actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, "batch actions"], Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Reconstructed actions, and mean and log-variance of their latents."""
        mean, log_variance = self.encoder(torch.cat([features, actions], dim=1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-8.0, 8.0)  # a variance of 0 or infinity would end the training
        latents = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(features, latents), mean, log_variance


class LatentPolicy(nn.Module):
    """A latent for each state, within `max_latent` standard deviations of the VAE's prior."""

    def __init__(self, features: int, latent: int, hidden_sizes: Sequence[int], max_latent: float) -> None:
        super().__init__()
        self.layers = mlp(features, hidden_sizes, latent)
        self.max_latent = max_latent

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch latent"]:
        """max_latent * tanh(f(features))."""
        return self.max_latent * self.layers(features).tanh()


class ActionPolicy(nn.Module):
    """An action for each state: the policy of the baselines."""

    def __init__(self, features: int, actions: int, hidden_sizes: Sequence[int], *, is_bounded: bool) -> None:
        super().__init__()
        self.layers = mlp(features, hidden_sizes, actions)
        self.bounds = Bounds(actions, is_bounded=is_bounded)

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch actions"]:
        """Standardised actions."""
        return self.bounds(self.layers(features))


def constant(module: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
    """`module(*inputs)` as a fixed function: gradients pass to the inputs, none to its parameters."""
    return functional_call(module, {name: tensor.detach() for name, tensor in module.named_parameters()}, inputs)
