"""From features and the vehicle's motion to a trajectory. Units are converted here and nowhere else."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from v2x_teacher.losses import Prediction, laplace_scale, trajectory_loss

NUM_QUERIES = 4
SMALLEST_STD = 0.1
"""Of the median: dimensions that hardly vary over the training split would explode on others."""
ROUNDING = 1e-6
"""Of the mean: a std below it is the rounding error of a constant."""
LARGEST = 5.0
"""Standardised features end here."""
SMALLEST_SIGMA_M = 0.02


class Standardiser(nn.Module):
    """Mean 0 and std 1 of the training split per dimension, guarded; the identity until `fit`.

    Args:
        shape: of one sample.
        has_one_unit: the dimensions are comparable, so one that hardly varies beside the others is noise.
    """

    def __init__(self, *shape: int, has_one_unit: bool = True) -> None:
        super().__init__()
        self.has_one_unit = has_one_unit
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.register_buffer("limit", torch.tensor(float("inf")))

    def fit(self, values: Float[np.ndarray, "samples ..."], rows: np.ndarray) -> None:
        """Take mean and std from some rows of a large, perhaps memory-mapped array."""
        total = np.zeros(values.shape[1:])
        squares = np.zeros(values.shape[1:])
        for chunk in np.array_split(rows, max(1, len(rows) // 256)):
            block = values[chunk].astype(np.float64)
            total += block.sum(0)
            squares += np.square(block).sum(0)
        mean = total / len(rows)
        std = np.sqrt(np.maximum(squares / len(rows) - np.square(mean), 0.0))
        floored = np.maximum(std, SMALLEST_STD * np.median(std)) if self.has_one_unit else std
        self.mean.copy_(torch.from_numpy(mean))
        varies = floored > ROUNDING * np.abs(mean)
        self.std.copy_(torch.from_numpy(np.where(varies, floored, 1.0)))
        self.limit.fill_(LARGEST)

    def forward(self, values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Standardised and limited to 5 standard deviations."""
        return ((values - self.mean) / self.std).clamp(-self.limit, self.limit)


class AttentionPool(nn.Module):
    """Learned queries over tokens."""

    def __init__(self, width: int, num_tokens: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(NUM_QUERIES, width))
        self.places = nn.Parameter(0.02 * torch.randn(num_tokens, width))
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch queries width"]:
        """Weighted means of the tokens' values, one per query."""
        scores = self.key(tokens + self.places) @ self.queries.T / tokens.shape[-1] ** 0.5
        return scores.softmax(dim=1).transpose(1, 2) @ self.value(tokens)


class TrajectoryHead(nn.Module):
    """The part that always learns: pooling, fusion, MLP.

    Args:
        vectors: features per sample; 0 reads the motion alone.
        width: of a feature.
        pooling: `attn` pools here; all others arrive pooled.
        standardise_features: see Standardiser.
        fusion: `none`, or the request's layers before or after its first fix.
        init: `zero`, or the request's before or after its second fix.
        hidden_size: of the MLP without fusion; the request's follows `width`.
        feature_dropout: share of the features that training leaves out.
        dropout: in the request's fusion, and between the layers.
        use_ego: whether the motion is an input.
        steps: predicted steps.
        num_modes: trajectories per sample; 1 unless the loss is `wta`.
        has_scale: whether a scale per step and axis is predicted (`laplace_nll`).
    """

    def __init__(
        self,
        *,
        vectors: int,
        width: int,
        pooling: str = "mean",
        standardise_features: bool = True,
        fusion: str = "none",
        init: str = "zero",
        hidden_size: int = 256,
        feature_dropout: float = 0.0,
        dropout: float = 0.0,
        use_ego: bool = True,
        steps: int = 45,
        num_modes: int = 1,
        has_scale: bool = False,
    ) -> None:
        super().__init__()
        if not vectors and not use_ego:
            raise ValueError("head: expected features or the motion as input, got neither")
        self.vectors, self.width, self.steps, self.num_modes = vectors, width, steps, num_modes
        self.pooling, self.standardises, self.has_scale = pooling, standardise_features, has_scale
        self.features = Standardiser(vectors, width) if vectors else None
        self.ego = Standardiser(4, has_one_unit=False) if use_ego else None  # m/s, rad/s, m/s^2
        self.attention = AttentionPool(width, vectors) if vectors and pooling == "attn" else None
        self.register_buffer("target_mean", torch.zeros(steps, 2))
        self.register_buffer("target_std", torch.ones(steps, 2))
        flat = (NUM_QUERIES if self.attention else vectors) * width
        self.feature_dropout = nn.Dropout(feature_dropout)
        self.fusion = _fusion(fusion, flat, dropout) if vectors else None
        inputs = flat + (4 if use_ego else 0)
        hidden = (hidden_size, hidden_size) if fusion == "none" else (2 * width, 2 * width, width)
        outputs = num_modes * steps * 2 * (2 if has_scale else 1) + (num_modes if num_modes > 1 else 0)
        self.layers = _mlp(inputs, hidden, outputs, dropout)
        _initialise(self, init)

    def fit_units(
        self,
        features: Float[np.ndarray, "samples vectors width"] | None,
        ego: Float[np.ndarray, "samples 4"],
        residual: Float[np.ndarray, "samples steps 2"],
        rows: np.ndarray,
        targets: str,
        target_scale: float,
    ) -> None:
        """Take the units of inputs and targets from the training rows. `residual` is truth minus prior, metres."""
        if self.features is not None and self.standardises:
            self.features.fit(features, rows)
        if self.ego is not None:
            self.ego.fit(ego, rows)
        if targets == "standardised":
            self.target_mean.copy_(torch.from_numpy(np.nanmean(residual[rows], axis=0)))
            sigma = np.nanstd(residual[rows], axis=0)
            self.target_std.copy_(torch.from_numpy(np.maximum(sigma, SMALLEST_SIGMA_M)))
        elif targets == "scaled":
            self.target_std.fill_(target_scale)

    def forward(
        self, features: Float[Tensor, "batch vectors width"] | None, ego: Float[Tensor, "batch 4"]
    ) -> Prediction:
        """The trajectory in target units; `metres` turns it into metres."""
        inputs = []
        if self.features is not None:
            tokens = self.features(features.float())
            tokens = self.attention(tokens) if self.attention is not None else tokens
            inputs.append(self.fusion(self.feature_dropout(tokens.flatten(1))))
        if self.ego is not None:
            inputs.append(self.ego(ego))
        return self._split(self.layers(torch.cat(inputs, dim=1)))

    def _split(self, outputs: Float[Tensor, "batch outputs"]) -> Prediction:
        batch, size = len(outputs), self.num_modes * self.steps * 2
        modes = outputs[:, :size].view(batch, self.num_modes, self.steps, 2)
        raw_scale = outputs[:, size : 2 * size].view(batch, self.steps, 2) if self.has_scale else None
        if self.num_modes == 1:
            return Prediction(mean=modes[:, 0], raw_scale=raw_scale, modes=None, logits=None)
        logits = outputs[:, -self.num_modes :]
        best = modes[torch.arange(batch, device=outputs.device), logits.argmax(dim=1)]
        return Prediction(mean=best, raw_scale=None, modes=modes, logits=logits)

    def targets(
        self, truth: Float[Tensor, "batch steps 2"], prior: Float[Tensor, "batch steps 2"]
    ) -> Float[Tensor, "batch steps 2"]:
        """Metres to target units."""
        return (truth - prior - self.target_mean) / self.target_std

    def loss(
        self,
        kind: str,
        prediction: Prediction,
        truth: Float[Tensor, "batch steps 2"],
        prior: Float[Tensor, "batch steps 2"],
        beta_m: float,
    ) -> dict[str, Float[Tensor, ""]]:
        """`trajectory_loss` in target units. Where smooth_l1 and huber turn linear is the same distance everywhere."""
        return trajectory_loss(kind, prediction, self.targets(truth, prior), beta=beta_m / self.target_std)

    def metres(
        self, values: Float[Tensor, "batch *modes steps 2"], prior: Float[Tensor, "batch *#modes steps 2"]
    ) -> Float[Tensor, "batch *modes steps 2"]:
        """Target units to metres: the inverse of `targets`, and the only one."""
        return values * self.target_std + self.target_mean + prior

    def scale_m(self, raw_scale: Float[Tensor, "batch steps 2"]) -> Float[Tensor, "batch steps 2"]:
        """Metres of the Laplace scale per step and axis."""
        return laplace_scale(raw_scale) * self.target_std


def _fusion(kind: str, width: int, dropout: float) -> nn.Module:
    if kind == "original":
        return nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
    if kind == "fixed":
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout))
    return nn.Identity()


def _mlp(inputs: int, hidden: tuple[int, ...], outputs: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.GELU(), nn.Dropout(dropout)]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _initialise(head: TrajectoryHead, kind: str) -> None:
    if kind == "zero":
        nn.init.zeros_(head.layers[-1].weight)
        nn.init.zeros_(head.layers[-1].bias)
        return
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.5 if kind == "original" else 1.0)
            if kind == "fixed":  # the request's next line, which makes the one above it dead
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
