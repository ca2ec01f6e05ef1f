"""How far predicted trajectories are from the driven ones, and how much they differ from one another.

Ego frame at t0, metres. Step k = 1, 2 ... is k / 10 s after t0. A future step that is not known is NaN in the truth: it
counts in no mean, and no mean takes it for 0 m.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from v2x_teacher.data.labels import RATE_HZ

MISS_M = 2.0
HOLD_M = 0.05
"""A shorter step (0.5 m/s) is too slow to show a direction: the last one is held."""


def displacement(
    predicted: Float[np.ndarray, "*batch steps 2"], truth: Float[np.ndarray, "*#batch steps 2"]
) -> Float[np.ndarray, "*batch steps"]:
    """Euclidean distance per step. Its mean is the ADE, that of its last column the FDE."""
    return np.linalg.norm(predicted.astype(np.float64) - truth, axis=-1)


def step_at(horizon_s: float, num_steps: int) -> int:
    """Index of the step at a horizon.

    Raises:
        ValueError: no step is that far ahead.
    """
    step = round(horizon_s * RATE_HZ)
    if not 1 <= step <= num_steps:
        raise ValueError(f"horizons_s: expected {1 / RATE_HZ:g} to {num_steps / RATE_HZ:g} s, got {horizon_s:g}")
    return step - 1


def at_horizon(errors: Float[np.ndarray, "samples steps"], horizon_s: float) -> Float[np.ndarray, " samples"]:
    """Errors at one moment: their mean is the *point* L2 at the horizon."""
    return errors[:, step_at(horizon_s, errors.shape[1])]


def up_to_horizon(errors: Float[np.ndarray, "samples steps"], horizon_s: float) -> Float[np.ndarray, "samples some"]:
    """Errors until then: their mean is the *mean-to-horizon* L2, about half the point L2."""
    return errors[:, : step_at(horizon_s, errors.shape[1]) + 1]


def missed(final_errors: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """1 where the end is more than 2 m off, else 0; NaN where it is not known."""
    return np.where(np.isnan(final_errors), np.nan, final_errors > MISS_M)


# --- direction --------------------------------------------------------------------------------------------------------


def headings(trajectories: Float[np.ndarray, "*batch steps 2"]) -> Float[np.ndarray, "*batch steps"]:
    """Direction of the step that leads to each point, radians from x.

    Held where a step is below 0.05 m; until the first that is not, it is the ego frame's own x axis.
    """
    steps = np.diff(trajectories.astype(np.float64), axis=-2, prepend=0.0)
    # 0 is the direction at t0, k that of step k: the last step that was long enough.
    last = np.where(np.linalg.norm(steps, axis=-1) >= HOLD_M, np.arange(1, steps.shape[-2] + 1), 0)
    angles = np.arctan2(steps[..., 1], steps[..., 0])
    with_start = np.concatenate([np.zeros_like(angles[..., :1]), angles], axis=-1)
    return np.take_along_axis(with_start, np.maximum.accumulate(last, axis=-1), axis=-1)


@dataclass(frozen=True, eq=False)
class Errors:
    """Of one method, step by step; NaN where the truth is."""

    l2: Float[np.ndarray, "samples steps"]
    longitudinal: Float[np.ndarray, "samples steps"]
    """Metres along the truth's direction; positive: too far ahead."""
    lateral: Float[np.ndarray, "samples steps"]
    """Metres across it; positive: too far left."""
    heading: Float[np.ndarray, "samples steps"]
    """Angle between the two directions, radians, 0 to pi."""

    @classmethod
    def of(
        cls, predicted: Float[np.ndarray, "samples steps 2"], truth: Float[np.ndarray, "samples steps 2"]
    ) -> "Errors":
        """Compare two sets of trajectories."""
        dx, dy = np.moveaxis(predicted.astype(np.float64) - truth, -1, 0)
        direction = headings(truth)
        c, s = np.cos(direction), np.sin(direction)
        turn = headings(predicted) - direction
        return cls(
            l2=displacement(predicted, truth),
            longitudinal=c * dx + s * dy,
            lateral=c * dy - s * dx,
            heading=np.where(np.isnan(dx), np.nan, np.abs(np.arctan2(np.sin(turn), np.cos(turn)))),
        )


# --- several modes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ModeErrors:
    """Of the mode that was chosen with the truth in hand; NaN where the truth's end is."""

    ade: Float[np.ndarray, " samples"]
    fde: Float[np.ndarray, " samples"]
    missed: Float[np.ndarray, " samples"]


def mode_errors(
    modes: Float[np.ndarray, "samples modes steps 2"],
    truth: Float[np.ndarray, "samples steps 2"],
    choice: Literal["final", "independent"] = "final",
) -> ModeErrors:
    """minADE_K, minFDE_K and miss per sample.

    Args:
        modes: K trajectories per sample.
        truth: the driven ones.
        choice: `final` takes the mode with the smallest final error and scores everything on it. `independent` takes
            the smallest ADE and the smallest FDE, perhaps of two modes: never larger, and not comparable.

    Source: `final` as HiVT in AIR-THU/DAIR-V2X-Seq.
    """
    distance = displacement(modes, truth[:, None])
    known = ~np.isnan(truth[:, -1, 0])
    valid = ~np.isnan(distance)
    mean = np.where(valid, distance, 0.0).sum(-1) / np.maximum(valid.sum(-1), 1)
    final = np.where(known[:, None], distance[..., -1], np.inf)
    fde = np.where(known, final.min(axis=1), np.nan)
    ade = mean[np.arange(len(mean)), final.argmin(axis=1)] if choice == "final" else mean.min(axis=1)
    return ModeErrors(np.where(known, ade, np.nan), fde, missed(fde))


# --- collapse ---------------------------------------------------------------------------------------------------------


def spread_ratio(
    predicted: Float[np.ndarray, "samples steps 2"], truth: Float[np.ndarray, "samples steps 2"]
) -> Float[np.ndarray, " 2"]:
    """Spread between samples, x and y, over that of the truth: std per step, then the mean over steps.

    Below 0.05 the model has collapsed to one trajectory; x near 1 with y below 0.2 means that it reads the speed and
    ignores turns; far above 1 its inputs explode. NaN where the truth does not vary.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return spread_of(np.moveaxis(spread_terms(predicted, truth).sum(axis=0), -2, 0))


def spread_terms(
    predicted: Float[np.ndarray, "samples steps *axes"], truth: Float[np.ndarray, "samples steps *axes"]
) -> Float[np.ndarray, "samples steps *axes 5"]:
    """1, p, p^2, y and y^2 of every known coordinate, else 0: what has to be summed over samples."""
    known = ~np.isnan(truth)
    p, y = (np.where(known, values, 0).astype(np.float64) for values in (predicted, truth))
    return np.stack([known, p, p * p, y, y * y], axis=-1)


def spread_of(sums: Float[np.ndarray, "*batch steps 5"]) -> Float[np.ndarray, "*batch"]:
    """Spread ratio of one axis from sums of `spread_terms`; steps that nobody knows are left out."""
    count = sums[..., 0]
    stds = []
    for first, second in ((1, 2), (3, 4)):
        variance = sums[..., second] / count - np.square(sums[..., first] / count)
        stds.append(np.where(count > 0, np.sqrt(np.maximum(variance, 0)), 0).mean(axis=-1))
    return stds[0] / stds[1]


def ranges(trajectories: Float[np.ndarray, "samples steps 2"]) -> Float[np.ndarray, "2 2"]:
    """(lowest, highest) x, and y. A collapse does not show here: one trajectory spans nearly all of it."""
    return np.stack([np.nanmin(trajectories, axis=(0, 1)), np.nanmax(trajectories, axis=(0, 1))], axis=-1)
