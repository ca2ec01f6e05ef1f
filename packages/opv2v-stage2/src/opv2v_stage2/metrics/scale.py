"""How much too large or small a reconstruction is.

The scale factor alone means nothing: only its product with the shape is seen. `scale_eff`, the size of the predicted
points over that of the true ones at the same pixels, needs no scale head and is what to rank by. The others are kept
under the names that the request logs. `scale_err` compares the factor with 1, while its target is the mean distance
of the scene, 11 to 88 m: never rank by it.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float


def mean_distance(points: Float[np.ndarray, "*pixels 3"], chosen: Bool[np.ndarray, "*pixels"]) -> float:
    """Mean norm of the chosen points, in the frame of the first camera: upstream's `avg_dis`. NaN if there are none."""
    norms = np.linalg.norm(points[chosen].astype(np.float64), axis=-1)
    return float(norms.mean()) if len(norms) else float("nan")


def scale_columns(scale_factor: Float[np.ndarray, " views"], true_distance: float) -> dict[str, float]:
    """The literal scale columns of the CSVs.

    Args:
        scale_factor: What the scale head says, for each picture.
        true_distance: `mean_distance` of the labels of all of them.
    """
    factor = np.asarray(scale_factor, np.float64)
    legacy, to_gt = _against(factor), _against(factor / true_distance)
    return {
        **{f"scale_{name}": value for name, value in legacy.items()},
        "scale_gt_factor": float(true_distance),
        **{f"scale_to_gt_{name}": value for name, value in to_gt.items()},
    }


def _against(ratio: Float[np.ndarray, " views"]) -> dict[str, float]:
    """How far ratios are from 1."""
    log_err = float(np.abs(np.log(ratio)).mean())
    return {
        "err": float(np.abs(ratio - 1).mean()),
        "log_err": log_err,
        "eq_rel_err": float(np.expm1(log_err)),
        "ratio_mean": float(ratio.mean()),
        "ratio_median": float(np.median(ratio)),
        "ratio_p90": float(np.percentile(ratio, 90)),
    }


def effective_scale_columns(
    predicted: Float[np.ndarray, "views height width 3"],
    truth: Float[np.ndarray, "views height width 3"],
    chosen: Bool[np.ndarray, "views height width"],
) -> dict[str, float]:
    """`scale_eff` and the size of its logarithm; NaN without labels.

    Args:
        predicted: Points of all pictures in the frame of the first camera.
        truth: The same.
        chosen: Pixels with a label.
    """
    ratio = mean_distance(predicted, chosen) / mean_distance(truth, chosen)
    return {"scale_eff": ratio, "scale_eff_log_err": float(np.abs(np.log(ratio)))}


def depth_ratio(
    predicted: Float[np.ndarray, "*shape"], truth: Float[np.ndarray, "*shape"], chosen: Bool[np.ndarray, "*shape"]
) -> float:
    """Median of predicted over true depth at the chosen pixels, which a few far points do not move; NaN without any."""
    return float(np.median(predicted[chosen] / truth[chosen])) if chosen.any() else float("nan")


def mult_err(log_errs: Float[np.ndarray, " frames"], form: Literal["geometric", "legacy"] = "geometric") -> float:
    """The multiplicative error over frames, 1 is right; the requesters' target is 1.3.

    Args:
        log_errs: Mean |log ratio| of each frame, such as `scale_to_gt_log_err`.
        form: `geometric`: exp of the mean. `legacy`: 1 + the mean of expm1, which one bad frame can carry off.
    """
    if form == "legacy":
        return float(1 + np.expm1(log_errs).mean())
    return float(np.exp(np.mean(log_errs)))
