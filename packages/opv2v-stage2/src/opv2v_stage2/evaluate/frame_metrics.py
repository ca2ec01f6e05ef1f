"""Everything that is measured of one method at one moment: a row of the CSVs."""

import math

import numpy as np
from jaxtyping import Bool, Float

from opv2v_stage2.data.frame_list import ListedFrame
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.inference import PER_AGENT, Prediction, points_in_main_lidar
from opv2v_stage2.metrics.columns import Value
from opv2v_stage2.metrics.depth import depth_errors, depth_errors_by_range
from opv2v_stage2.metrics.floaters import completeness_above, floaters, percent
from opv2v_stage2.metrics.pose import pose_columns
from opv2v_stage2.metrics.rays import pixel_heights
from opv2v_stage2.metrics.scale import depth_ratio, effective_scale_columns, scale_columns
from opv2v_stage2.views import camera_poses

VALID = 0.5
"""Pixels that a method holds for at least this likely to be valid count as points."""
Z_MAX_M = 4.0
"""Above the ground; what is higher is structure that no lidar label reaches."""


class Moment:
    """What is true at a moment for the agents of a sample; views as in `inference.Prediction`."""

    def __init__(self, store: Store, sample: Sample) -> None:
        rows = list(sample.rows)
        self.store, self.sample = store, sample
        self.has_image: Bool[np.ndarray, " views"] = store.arrays["has_image"][rows].reshape(-1)
        self.labels_z = _views(store.arrays["labels_z"][rows])
        self.dense_z = _views(store.arrays["dense_z"][rows])
        self.intrinsics = _views(store.arrays["intrinsics"][rows]).astype(np.float64)
        self.rig = _views(store.arrays["rig"][rows])
        self.agent_index = np.repeat(np.arange(len(rows)), PER_AGENT)
        self.camera_pose = camera_poses(store, np.array([rows]))[0].reshape(-1, 4, 4)

    @property
    def has_dense(self) -> bool:
        """Whether every pixel's depth is known."""
        return bool(np.isfinite(self.dense_z[self.has_image]).any())

    @property
    def truth(self) -> Prediction:
        """The labels as if somebody had predicted them."""
        return Prediction(self.labels_z, (self.labels_z > 0).astype(np.float32), self.camera_pose, math.nan)


def frame_row(listed: ListedFrame, mode: str, moment: Moment, prediction: Prediction) -> dict[str, Value]:
    """The columns that need no point cloud.

    Args:
        listed: The moment, as the frame list has it.
        mode: `single` or `coop`.
        moment: What is true.
        prediction: What a method says.
    """
    seen = moment.has_image
    return {
        **identity(listed, mode),
        **pose_columns(
            prediction.camera_pose[seen], moment.camera_pose[seen], moment.agent_index[seen], moment.rig[seen]
        ),
        **_depth_columns(moment, prediction),
        **_scale_columns(moment, prediction),
        **(_dense_columns(moment, prediction) if moment.has_dense else {}),
    }


def identity(listed: ListedFrame, mode: str) -> dict[str, Value]:
    """Which moment, and who takes part."""
    is_coop = mode == "coop"
    return {
        "sequence": listed.sequence,
        "frame": listed.frame,
        "main_agent": listed.main_agent,
        "coop_agents": ",".join(listed.coop_agents) if is_coop else "",
        "baseline_distance_m": listed.baseline_distance_m if is_coop else 0.0,
        "baseline_bucket": listed.baseline_bucket if is_coop else "single",
    }


def _depth_columns(moment: Moment, prediction: Prediction) -> dict[str, Value]:
    depth, labels = prediction.depth_z[moment.has_image], moment.labels_z[moment.has_image]
    errors = depth_errors(depth, labels)
    by_range = depth_errors_by_range(depth, labels)
    return {
        "depth_rmse": errors.rmse,
        "depth_mae": errors.mae,
        "depth_rel": errors.rel,
        "depth_delta1": errors.delta1,
        "depth_ratio": depth_ratio(depth, labels, labels > 0),
        **{f"depth_rel_{name.replace(' ', '')}": found.rel for name, found in by_range.items()},
    }


def _scale_columns(moment: Moment, prediction: Prediction) -> dict[str, Value]:
    store, sample = moment.store, moment.sample
    to_camera = np.linalg.inv(moment.rig[0])
    ours, theirs = (
        points_in_main_lidar(one, store, sample) @ to_camera[:3, :3].T + to_camera[:3, 3]
        for one in (prediction, moment.truth)
    )
    labelled = moment.labels_z > 0
    effective = effective_scale_columns(ours, theirs, labelled)
    if math.isnan(prediction.scale):
        return effective
    distance = float(np.linalg.norm(theirs[labelled], axis=-1).mean()) if labelled.any() else math.nan
    return scale_columns(np.array([prediction.scale]), distance) | effective


def _dense_columns(moment: Moment, prediction: Prediction) -> dict[str, Value]:
    seen = moment.has_image
    depth, truth, valid = prediction.depth_z[seen], moment.dense_z[seen], prediction.validity[seen] >= VALID
    intrinsics, rig = moment.intrinsics[seen], moment.rig[seen]
    height = pixel_heights(np.where(np.isfinite(truth), truth, np.nan), intrinsics, rig)
    errors, high = depth_errors(depth, truth), depth_errors(depth, truth, height > Z_MAX_M)
    floating = floaters(depth, valid, truth, intrinsics)
    return {
        "dense_mae": errors.mae,
        "dense_rel": errors.rel,
        "dense_delta1": errors.delta1,
        "high_rel": high.rel,
        "floaters_pct": percent(floating, valid),
        "sky_valid_pct": percent(valid & np.isposinf(truth), np.isposinf(truth)),
        "completeness_high_pct": completeness_above(depth, valid, truth, height, Z_MAX_M),
        "ceiling_pct": percent(
            _is_ceiling(depth, valid, height, intrinsics, rig), np.isfinite(truth) | np.isposinf(truth)
        ),
    }


def _is_ceiling(
    depth: Float[np.ndarray, "views height width"],
    valid: Bool[np.ndarray, "views height width"],
    true_height: Float[np.ndarray, "views height width"],
    intrinsics: Float[np.ndarray, "views 3 3"],
    rig: Float[np.ndarray, "views 4 4"],
) -> Bool[np.ndarray, "views height width"]:
    """Points of a false ceiling just below z_max: what is there is more than 1 m higher, or is the sky."""
    height = pixel_heights(depth, intrinsics, rig)
    is_below = (height > Z_MAX_M - 1) & (height < Z_MAX_M + 0.2)
    with np.errstate(invalid="ignore"):
        return valid & is_below & ~(np.abs(true_height - height) <= 1)


def _views(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[2:])
