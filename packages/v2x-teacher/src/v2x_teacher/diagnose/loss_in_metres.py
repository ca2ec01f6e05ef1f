"""What the value of a loss means in metres: losses are not comparable with each other, metres are."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.sample import Part, Sample, Section
from v2x_teacher.losses import huber, l2, mse, smooth_l1
from v2x_teacher.metrics import displacement

BETA_M, DELTA_M = 1.0, 10.0
"""Of smooth-L1 and Huber, as the request used them."""
REQUEST = {
    "smooth_l1 at the start of the request's log": ("smooth_l1", 66.77, BETA_M),
    "smooth_l1 at its end": ("smooth_l1", 66.19, BETA_M),
    "mse expected in epoch 1": ("mse", 450.0, 0.0),
    "mse expected in epoch 3": ("mse", 180.0, 0.0),
    "mse hoped for, at most": ("mse", 20.0, 0.0),
    "mse hoped for, at least": ("mse", 10.0, 0.0),
}
VALUE, LOW, HIGH, MEASURED = "loss", "mean L2 at least [m]", "mean L2 at most [m]", "mean L2, measured [m]"


def l2_bounds(loss: str, value: float, beta: float) -> tuple[float, float]:
    """Between what the mean distance lies when a loss in metres has this value.

    A coordinate error e is at most smooth-L1 + beta / 2, and a distance lies between sqrt(2) and 2 times the mean of
    the absolute errors of its two coordinates. Of squares only the root mean square is known, which the mean never
    exceeds.

    Args:
        loss: smooth_l1, huber, mse or l2.
        value: of the loss; metres, or square metres for mse and huber.
        beta: where smooth_l1 and huber go from square to linear, metres.

    Raises:
        ValueError: another loss.
    """
    match loss:
        case "smooth_l1":
            return math.sqrt(2) * value, 2 * (value + beta / 2)
        case "huber":
            return l2_bounds("smooth_l1", value / beta, beta)
        case "mse":
            return 0.0, math.sqrt(2 * value)
        case "l2":
            return value, value
    raise ValueError(f"loss: expected smooth_l1, huber, mse or l2, got {loss!r}")


def measure_loss_in_metres(sample: Sample) -> Section:
    """The request's figures in metres."""
    rows = [row for name, (loss, value, beta) in REQUEST.items() for row in _rows(name, loss, value, beta)]
    table = sample.table("loss_in_metres", "What a loss means in metres", rows, _conclusions())

    def show(report: Report) -> None:
        report.text("An empty cell is a bound that there is not: of squares, only the root is known to be enough.")

    return Section(table, show)


def measure_own_losses(sample: Sample) -> Section:
    """Every loss of this run's own errors, in metres whatever it was trained with."""
    rows = []
    for part in sample.parts:
        for name, (loss, value, beta) in _losses(part).items():
            rows += _rows(name, loss, value, beta, at=part.split)
        rows.append(Row("l2", MEASURED, _mean_l2(part), at=part.split))
    sentence = "The same errors have another value in every loss: only metres can be compared."
    table = sample.table("own_losses", "This run's errors in every loss", rows, [sentence])

    def show(report: Report) -> None:
        report.text("Worked out in metres, whatever the run was trained with.")

    return Section(table, show)


def _rows(name: str, loss: str, value: float, beta: float, at: str | None = None) -> Iterator[Row]:
    low, high = l2_bounds(loss, value, beta)
    yield Row(name, VALUE, value, at=at)
    if low > 0:
        yield Row(name, LOW, low, at=at)
    yield Row(name, HIGH, high, at=at)


def _losses(part: Part) -> dict[str, tuple[str, float, float]]:
    known = ~np.isnan(part.truth).any(axis=(1, 2))
    predicted, truth = (torch.from_numpy(np.asarray(v[known], np.float64)) for v in (part.predicted, part.truth))
    return {
        f"smooth_l1 ({BETA_M:g} m)": ("smooth_l1", float(smooth_l1(predicted, truth, BETA_M)), BETA_M),
        f"huber ({DELTA_M:g} m)": ("huber", float(huber(predicted, truth, DELTA_M)), DELTA_M),
        "mse": ("mse", float(mse(predicted, truth)), 0.0),
        "l2": ("l2", float(l2(predicted, truth)), 0.0),
    }


def _mean_l2(part: Part) -> float:
    known = ~np.isnan(part.truth).any(axis=(1, 2))
    return float(displacement(part.predicted[known], part.truth[known]).mean())


def _conclusions() -> list[str]:
    (_, first, _), (_, last, _) = list(REQUEST.values())[:2]
    low, _ = l2_bounds("smooth_l1", last, BETA_M)
    hoped = [l2_bounds("mse", value, 0.0)[1] for value in (10.0, 20.0)]
    better = last / math.sqrt(450.0)
    error = math.hypot(59.74 - 45.23, 13.77 - 10.15)
    return [
        f"A smooth-L1 of {last} m means at least {low:.0f} m of mean distance, and the request's validation said 67.36 "
        "m: the two were not the same average, or its training labels are far wilder.",
        f"An mse of 10 to 20 m2 means at most {hoped[0]:.1f} to {hoped[1]:.1f} m: it cannot hold together with 30 to "
        "50 m on validation, unless training and validation are far apart.",
        f"Errors behind a smooth-L1 of {first} have an mse of at least {first**2:,.0f} m2, so that 450 after one epoch "
        f"would already mean errors {better:.1f} times smaller.",
        f"The two points of the request's expected line (4.5 s) are {error:.2f} m apart, not 18.50 m; and +-137 m over "
        "100 is +-1.4, not +-5.",
    ]
