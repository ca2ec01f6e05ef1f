"""What each modality is good for: how well a quick probe predicts rewards and actions from it, on held-out episodes.

The probe standardises the views of a modality (of a long one its 32 principal components), adds 512 random features of
them that are rectified and never trained, and fits a ridge regression whose strength is chosen on a part of the
training episodes. What it explains is there; what it does not explain may still be, for a network that is trained.

Source of the random features: Rahimi and Recht, Weighted Sums of Random Kitchen Sinks, 2008.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from drivelab_shared.seeding import keyed_rng
from drivelab_shared.stats import Interval, bootstrap, group_draws
from lapo_mm.data.check_data.glances import Glance

ALL = "all together"
_LONG, _COMPONENTS, _RANDOM = 64, 32, 512
_STRENGTHS = 10.0 ** np.arange(-4.0, 5.0)
_TUNING_SHARE = 0.25

Usefulness = Mapping[str, Mapping[str, Interval]]
"""Share of the variance explained, by modality and target."""


@dataclass(frozen=True, eq=False)
class _Samples:
    """Steps of all episodes behind each other."""

    episodes: Int[np.ndarray, " samples"]
    is_train: Bool[np.ndarray, " samples"]
    views: Mapping[str, list[Float[np.ndarray, "samples _"]]]
    targets: Mapping[str, Float[np.ndarray, "samples _"]]

    @classmethod
    def of(cls, glances: Sequence[Glance]) -> "_Samples":
        samples = [glance.samples for glance in glances]
        counts = [len(next(iter(one.targets.values()))) for one in samples]
        return cls(
            episodes=np.repeat(np.arange(len(glances)), counts),
            is_train=np.repeat([glance.facts.split == "train" for glance in glances], counts),
            views={
                name: [np.concatenate(parts) for parts in zip(*(one.views[name] for one in samples), strict=True)]
                for name in samples[0].views
            },
            targets={name: np.concatenate([one.targets[name] for one in samples]) for name in samples[0].targets},
        )


def usefulness(glances: Sequence[Glance]) -> Usefulness:
    """Of every modality alone and of all together; intervals from drawing validation episodes anew.

    Both splits must have an episode.
    """
    samples = _Samples.of(glances)
    reduced = {
        name: np.concatenate([_reduced(view, samples.is_train) for view in parts], axis=1)
        for name, parts in samples.views.items()
    }
    if len(reduced) > 1:
        reduced[ALL] = np.concatenate(list(reduced.values()), axis=1)
    return {name: _explained(_features(inputs), samples) for name, inputs in reduced.items()}


def _reduced(
    view: Float[np.ndarray, "samples _"], is_train: Bool[np.ndarray, " samples"]
) -> Float[np.ndarray, "samples _"]:
    """Standardised by the training samples; of a long view the principal components, scaled by the largest of them."""
    centred = view - view[is_train].mean(axis=0)
    if view.shape[1] <= _LONG:
        std = centred[is_train].std(axis=0)
        return centred / np.where(std > 1e-6, std, 1)
    train = centred[is_train]
    # A random basis, turned towards the largest components by power iterations: cheaper than finding all components.
    basis = keyed_rng(0).normal(size=(view.shape[1], _COMPONENTS)).astype(view.dtype)
    for _ in range(3):
        basis, _ = np.linalg.qr(train.T @ (train @ basis))
    _, _, axes = np.linalg.svd(train @ basis, full_matrices=False)
    components = centred @ (basis @ axes.T)
    largest = components[is_train].std(axis=0).max()
    return components / (largest if largest > 1e-6 else 1)


def _features(inputs: Float[np.ndarray, "samples _"]) -> Float[np.ndarray, "samples _"]:
    """The inputs, and rectified random mixtures of them."""
    rng = keyed_rng(1)
    weights = rng.normal(size=(inputs.shape[1], _RANDOM)) / np.sqrt(inputs.shape[1])
    mixed = np.maximum(inputs @ weights + rng.uniform(-1, 1, _RANDOM), 0)
    return np.concatenate([inputs, mixed], axis=1).astype(np.float64)


def _explained(features: Float[np.ndarray, "samples _"], samples: _Samples) -> Mapping[str, Interval]:
    """1 - squared error / variance over the validation samples, by target; NaN where nothing varies."""
    is_train, episodes = samples.is_train, samples.episodes
    trained, held_out = np.unique(episodes[is_train]), np.unique(episodes[~is_train])
    # With a single training episode, the strength is chosen on what was fitted.
    fitted = is_train & np.isin(episodes, trained[: max(1, int(len(trained) * (1 - _TUNING_SHARE)))])
    tuned = is_train & ~fitted if len(trained) > 1 else is_train
    trial, final = _Ridge(features[fitted]), _Ridge(features[is_train])
    draws = group_draws(len(held_out))
    found = {}
    for name, values in samples.targets.items():
        errors = [
            np.square(trial.predict(features[tuned], values[fitted], strength) - values[tuned]).sum()
            for strength in _STRENGTHS
        ]
        predicted = final.predict(features, values[is_train], _STRENGTHS[int(np.argmin(errors))])
        sums = np.stack([_sums(values[episodes == one], predicted[episodes == one]) for one in held_out])
        found[name] = bootstrap(sums[None], _share, draws)
    return found


class _Ridge:
    """Linear regression on these features for any values and any strength, at the price of one decomposition."""

    def __init__(self, features: Float[np.ndarray, "samples _"]) -> None:
        self._mean = features.mean(axis=0)
        self._centred = features - self._mean
        self._sizes, self._axes = np.linalg.eigh(self._centred.T @ self._centred / len(features))

    def predict(
        self, features: Float[np.ndarray, "others _"], values: Float[np.ndarray, "samples _"], strength: float
    ) -> Float[np.ndarray, "others _"]:
        """What other features mean, if these ones mean `values`."""
        mean = values.mean(axis=0)
        along = self._axes.T @ (self._centred.T @ (values - mean)) / len(values)
        weights = self._axes @ (along / (self._sizes + strength)[:, None])
        return (features - self._mean) @ weights + mean


def _sums(values: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " sums"]:
    """Squared error, number of samples, sum of squares, and the sum of each column."""
    error, squares = np.square(values - predicted).sum(), np.square(values).sum()
    return np.array([error, len(values), squares, *values.sum(axis=0)])


def _share(sums: Float[np.ndarray, "*draws sums"]) -> Float[np.ndarray, "*draws"]:
    error, count, squares = np.moveaxis(sums[..., :3], -1, 0)
    variance = squares - np.square(sums[..., 3:]).sum(axis=-1) / count
    return 1 - error / np.where(variance > 1e-9 * squares, variance, np.nan)
