"""Where points float, and how high points are, against what is there."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from opv2v_stage2.clouds.cloud import Cloud, CloudFrame, moved
from opv2v_stage2.data.tree import read_lidar
from opv2v_stage2.diagnose.subject import Case
from opv2v_stage2.evaluate.cloud_metrics import predicted_cloud
from opv2v_stage2.evaluate.frame_metrics import VALID
from opv2v_stage2.inference import Prediction, points_in_main_lidar
from opv2v_stage2.metrics.floaters import Sweep, floaters, lidar_floaters, percent

LOWEST_M, HIGHEST_M = -2, 15
"""Bands below and above take all that is further down or up."""


def floater_map(case: Case) -> tuple[Bool[np.ndarray, "views height width"], float]:
    """Pixels whose point floats, and their share of the valid ones in percent.

    By dense truth, or by the lidars of the vehicles that take part where there is none: then the share is of the points
    that some ray can tell about.
    """
    moment, depth = case.moment, case.prediction.depth_z
    valid = is_valid(case)
    if moment.has_dense:
        found = np.zeros_like(valid)
        seen = moment.has_image
        found[seen] = floaters(depth[seen], valid[seen], moment.dense_z[seen], moment.intrinsics[seen])
        return found, percent(found, valid)
    points = points_in_main_lidar(case.prediction, moment.store, moment.sample)
    floats, judged = lidar_floaters(points[valid], _sweeps(case))
    found = np.zeros_like(valid)
    found[valid] = floats
    return found, percent(floats, judged)


def is_valid(case: Case) -> Bool[np.ndarray, "views height width"]:
    """Pixels that count as points."""
    return (case.prediction.validity >= VALID) & case.moment.has_image[:, None, None]


def _sweeps(case: Case) -> list[Sweep]:
    """Of all vehicles, in the frame of the main one's lidar."""
    frames = list(case.frames.values())
    main_from_world = np.linalg.inv(frames[0].world_from_lidar)
    sweeps = []
    for frame in frames:
        main_from_lidar = main_from_world @ frame.world_from_lidar
        sweeps.append(Sweep(main_from_lidar[:3, 3], moved(read_lidar(frame)[0], main_from_lidar)))
    return sweeps


def true_cloud(case: Case) -> Cloud:
    """Every pixel where it really is; where nobody knows all of them, those with a label."""
    moment = case.moment
    depth = moment.dense_z if moment.has_dense else moment.labels_z
    known = np.isfinite(depth) & (depth > 0)
    truth = Prediction(
        np.where(known, depth, 1.0).astype(np.float32), known.astype(np.float32), moment.camera_pose, np.nan
    )
    return predicted_cloud(moment, truth, CloudFrame())


def heights_of(cases: Sequence[Case]) -> dict[str, Float[np.ndarray, " points"]]:
    """Metres above the ground of all valid points and of all true ones."""
    predicted = [predicted_cloud(case.moment, case.prediction, CloudFrame()).heights for case in cases]
    return {
        "predicted": np.concatenate(predicted),
        "true": np.concatenate([true_cloud(case).heights for case in cases]),
    }


def band_shares(heights: Float[np.ndarray, " points"]) -> dict[int, float]:
    """Percent of the points in each metre of height; 3 stands for 3 up to 4 m. NaN of no points."""
    bands = np.clip(np.floor(heights), LOWEST_M, HIGHEST_M).astype(np.int64)
    counts = np.bincount(bands - LOWEST_M, minlength=HIGHEST_M - LOWEST_M + 1)
    shares = 100 * counts / len(heights) if len(heights) else np.full(len(counts), np.nan)
    return dict(zip(range(LOWEST_M, HIGHEST_M + 1), shares.tolist(), strict=True))


def band_name(band: int) -> str:
    """For a table."""
    if band in (LOWEST_M, HIGHEST_M):
        return f"below {band + 1} m" if band == LOWEST_M else f"{band} m and more"
    return f"{band} to {band + 1} m"
