"""What training data say about units and ranges: part of checkpoints and exports, so a policy acts without the data."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Real

RETURN_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_CHUNK_ROWS = 4096

Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of the training episodes, in the units of the environment. What a dataset does not have is empty."""

    state_mean: Numbers = ()
    state_std: Numbers = ()
    lidar_mean: tuple[Numbers, ...] = ()
    """[beams, numbers]."""
    lidar_std: tuple[Numbers, ...] = ()
    action_mean: Numbers
    action_std: Numbers
    action_low: Numbers
    """Of the action space; may be infinite."""
    action_high: Numbers
    reward_min: float
    reward_max: float
    reward_mean: float
    reward_std: float
    return_quantiles: Numbers
    """Undiscounted returns of episodes at RETURN_QUANTILES."""

    def to_json(self) -> dict[str, Any]:
        """As plain numbers and lists; infinite bounds as None, because JSON has no word for them."""
        return {name: _listed(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Statistics":
        """The way back.

        Raises:
            ValueError: it is something else.
        """
        bounds = {"action_low": -np.inf, "action_high": np.inf}
        try:
            return cls(**{name: _frozen(value, bounds.get(name)) for name, value in fields.items()})
        except TypeError as error:
            raise ValueError(f"statistics: {error}") from None


def _listed(value: object) -> object:
    if isinstance(value, tuple):
        return [_listed(one) for one in value]
    return value if np.isfinite(value) else None


def _frozen(value: object, unlimited: float | None) -> object:
    if isinstance(value, list):
        return tuple(_frozen(one, unlimited) for one in value)
    return unlimited if value is None else float(value)


def frozen(array: Float[np.ndarray, "..."]) -> Any:
    """An array as tuples of numbers."""
    return _frozen(array.tolist(), None)


def mean_and_std(
    array: Real[np.ndarray, "rows ..."], indices: Sequence[int] | np.ndarray
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Mean and standard deviation over some rows of a mapped array, read in pieces.

    The deviation is taken from the first row's value, so that a large offset does not swallow a small spread.
    """
    total, squares = np.zeros(array.shape[1:]), np.zeros(array.shape[1:])
    offset = array[indices[0]].astype(np.float64)
    for start in range(0, len(indices), _CHUNK_ROWS):
        chunk = array[indices[start : start + _CHUNK_ROWS]].astype(np.float64) - offset
        total += chunk.sum(axis=0)
        squares += np.square(chunk).sum(axis=0)
    mean = total / len(indices)
    return offset + mean, np.sqrt(np.maximum(squares / len(indices) - mean**2, 0.0))
