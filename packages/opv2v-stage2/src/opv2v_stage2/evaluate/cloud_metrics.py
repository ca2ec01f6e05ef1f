"""Clouds of a method at a moment against the lidar of all vehicles that take part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opv2v_stage2.clouds.cloud import Cloud, CloudFrame, moved
from opv2v_stage2.clouds.crops import Crop, thinned
from opv2v_stage2.clouds.files import write_cloud
from opv2v_stage2.config import CloudSettings
from opv2v_stage2.data.recording import AgentFrame
from opv2v_stage2.data.tree import read_lidar
from opv2v_stage2.evaluate.frame_metrics import VALID, Moment
from opv2v_stage2.geometry import LIDAR_HEIGHT_M
from opv2v_stage2.inference import Prediction, points_in_main_lidar
from opv2v_stage2.metrics.clouds import bev_iou, cloud_errors
from opv2v_stage2.metrics.columns import Value
from opv2v_stage2.metrics.detection import box_recall, points_on_boxes
from opv2v_stage2.metrics.floaters import Sweep, lidar_floaters, percent

MOST_POINTS = 20_000
"""Whose nearest neighbours are looked for, per direction."""


def predicted_cloud(moment: Moment, prediction: Prediction, frame: CloudFrame) -> Cloud:
    """The valid points, in the frame of the main lidar."""
    valid = (prediction.validity >= VALID) & moment.has_image[:, None, None]
    points = points_in_main_lidar(prediction, moment.store, moment.sample)[valid]
    images = moment.store.arrays["images"][list(moment.sample.rows)]
    colours = images.reshape(-1, *images.shape[2:])[valid]
    agent = np.broadcast_to(moment.agent_index[:, None, None], valid.shape)[valid]
    return Cloud(points, frame, colours, agent)


@dataclass(frozen=True, eq=False)
class Measured:
    """The sweeps of all agents of a moment, in the frame of the first one's lidar."""

    cloud: Cloud
    sweeps: list[Sweep]


def measured_cloud(frames: list[AgentFrame]) -> Measured:
    """Read the sweeps."""
    sweeps = []
    for frame in frames:
        points, _ = read_lidar(frame)
        main_from_lidar = np.linalg.inv(frames[0].world_from_lidar) @ frame.world_from_lidar
        sweeps.append(Sweep(main_from_lidar[:3, 3], moved(points, main_from_lidar).astype(np.float32)))
    return Measured(Cloud(np.concatenate([sweep.returns for sweep in sweeps]), cloud_frame(frames[0])), sweeps)


def cloud_frame(frame: AgentFrame) -> CloudFrame:
    """Where the lidar of an agent is."""
    return CloudFrame(f"{frame.key}/{frame.agent}", -LIDAR_HEIGHT_M, frame.world_from_lidar)


def cloud_columns(
    predicted: Cloud, measured: Measured, frames: list[AgentFrame], settings: CloudSettings, seed: int
) -> dict[str, Value]:
    """Chamfer, F-score, BEV and what lies on vehicles; both clouds go through the same crop.

    Args:
        predicted: In the frame of the first agent's lidar.
        measured: Lidar of the agents.
        frames: Of the agents, for their lidars and boxes.
        settings: The crop.
        seed: Of the subsample.
    """
    lidars = tuple(np.linalg.inv(frames[0].world_from_lidar) @ frame.world_from_lidar for frame in frames)
    crop = Crop(settings.pc_filter_z_min, settings.pc_filter_z_max, settings.pc_filter_radius, lidars)
    raw = [thinned(cloud, settings.pc_voxel).points for cloud in (predicted, measured.cloud)]
    filtered = [thinned(crop.of(cloud), settings.pc_voxel).points for cloud in (predicted, measured.cloud)]
    first, second = (cloud_errors(*pair, max_points=MOST_POINTS, seed=seed) for pair in (raw, filtered))
    floating, judged = lidar_floaters(thinned(predicted, settings.pc_voxel).points, measured.sweeps)
    reach = settings.pc_bev_range, settings.pc_bev_resolution
    return {
        "chamfer_pred_to_gt": first.chamfer_pred_to_gt,
        "chamfer_gt_to_pred": first.chamfer_gt_to_pred,
        "chamfer_filtered_pred_to_gt": second.chamfer_pred_to_gt,
        "chamfer_filtered_gt_to_pred": second.chamfer_gt_to_pred,
        "bev_iou_raw": bev_iou(*raw, *reach),
        "bev_iou_filtered": bev_iou(*filtered, *reach),
        "f_score_0.5m": second.f_score[1],
        "f_score_1m": second.f_score[2],
        "lidar_floaters_pct": percent(floating, judged),
        "box_recall": _box_recall(predicted, frames),
    }


def cloud_path(folder: Path, method: str, mode: str, sequence: str, frame: str) -> Path:
    """Where a cloud is kept."""
    return folder / method / mode / f"{sequence}_{frame}.npy"


def save_cloud(path: Path, cloud: Cloud) -> None:
    """Write a cloud, with its frame and axes beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_cloud(path, cloud)


def _box_recall(predicted: Cloud, frames: list[AgentFrame]) -> float:
    """Share of all vehicles that any of the agents has hit with points on it; one's own is not among them."""
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for frame in frames:
        boxes = frame.boxes
        known |= {
            int(i): (pose, half) for i, pose, half in zip(boxes.ids, boxes.world_from_box, boxes.half_size, strict=True)
        }
    if not known:
        return float("nan")
    lidar_from_world = np.linalg.inv(frames[0].world_from_lidar)
    poses = np.stack([lidar_from_world @ pose for pose, _ in known.values()])
    return box_recall(points_on_boxes(predicted.points, poses, np.stack([half for _, half in known.values()])))
