"""Samples of a store as what a model is given and what it should answer. All geometry is done in float64 first.

The modality decides what a view holds beside its picture; everything else that is known stays out of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from drivelab_shared.seeding import keyed_rng
from opv2v_stage2.config import Modality
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import MOST_BOXES, Store
from opv2v_stage2.geometry import world_from_body
from opv2v_stage2.losses.targets import Targets, TeacherTargets
from opv2v_stage2.models.compact import normalised, pixel_rays
from opv2v_stage2.models.interface import View

GPS_FLOOR_M, GPS_FLOOR_DEG = 0.06, 0.1
"""Standard deviation of a GPS to which no noise was added."""
INCLUDES: dict[Modality, tuple[str, ...]] = {
    "images_only": (),
    "calibrated_sfm": ("intrinsics",),
    "rig": ("intrinsics", "rig_poses"),
    "gps": ("intrinsics", "rig_poses", "camera_poses"),
    "posed_sfm": ("intrinsics", "rig_poses", "camera_poses"),
}


@dataclass(frozen=True)
class Noise:
    """Standard deviations that are added to GPS: metres along x and y, degrees of yaw."""

    metres: float
    degrees: float


def make_views(
    store: Store,
    samples: Sequence[Sample],
    modality: Modality,
    noise: Noise,
    key: tuple[int, ...],
    device: torch.device,
    *,
    with_depth: bool = False,
) -> list[View]:
    """One dict per picture, four pictures per agent, the main vehicle's first; see `models.interface`.

    Args:
        store: where the samples' rows are.
        samples: all with the same number of agents.
        modality: what is told beside pictures.
        noise: of the GPS, every agent and sample on its own.
        key: of the random numbers behind it.
        device: where the tensors go.
        with_depth: also give the labels, as `depth_z`.
    """
    rows = np.array([sample.rows for sample in samples])
    included = INCLUDES[modality]
    pictures = torch.from_numpy(store.arrays["images"][rows]).to(device)
    images = normalised(pictures.flatten(1, 2).movedim(-1, 2).float() / 255)
    intrinsics, rig = (flat_views(store.arrays[name][rows], device) for name in ("intrinsics", "rig"))
    poses = flat_views(given_poses(store, rows, modality, noise, key), device)
    labels = flat_views(store.arrays["labels_z"][rows], device)
    std = torch.tensor(_told_std(modality, noise), device=device).expand(len(samples), 2)
    ones = torch.ones(len(samples), dtype=torch.long, device=device)
    views: list[View] = []
    for number in range(images.shape[1]):
        view = {
            "img": images[:, number],
            "data_norm_type": ["dinov2"],
            "is_metric_scale": ones.bool(),
            "agent_index": ones * (number // 4),
            "camera_index": ones * (number % 4),
        }
        if "intrinsics" in included:
            view["intrinsics"] = intrinsics[:, number]
        if "rig_poses" in included:
            view["rig_poses"] = rig[:, number]
        if "camera_poses" in included:
            view |= {"camera_poses": poses[:, number], "pose_std": std}
        if with_depth:
            view["depth_z"] = labels[:, number]
        views.append(view)
    return views


def make_targets(
    store: Store,
    samples: Sequence[Sample],
    modality: Modality,
    noise: Noise,
    key: tuple[int, ...],
    device: torch.device,
    *,
    dense: bool,
    negative: Tensor | None = None,
    teacher: TeacherTargets | None = None,
) -> Targets:
    """What the views of `make_views` with the same arguments should lead to.

    Args:
        store: where the samples' rows are.
        samples: all with the same number of agents.
        modality: what is told beside pictures.
        noise: of the GPS.
        key: of the random numbers behind it.
        device: where the tensors go.
        dense: labels are the dense truth and its sky, not the lidar.
        negative: what is known to be sky, where that is not the dense truth.
        teacher: what the teacher says of the samples' vehicles.
    """
    rows = np.array([sample.rows for sample in samples])
    truth = flat_views(camera_poses(store, rows), device)
    rig = flat_views(store.arrays["rig"][rows], device)
    labels = flat_views(store.arrays["dense_z" if dense else "labels_z"][rows], device)
    if dense:
        negative = torch.isinf(labels)
        labels = torch.where(torch.isfinite(labels), labels, 0.0)
    prior = std = None
    if modality in ("gps", "posed_sfm"):
        given = flat_views(given_poses(store, rows, modality, noise, key), device)
        prior = torch.linalg.inv(given[:, :1]) @ given
        std = torch.tensor(_told_std(modality, noise), device=device).expand(*rig.shape[:2], 2)
    height, width = labels.shape[-2:]
    return Targets(
        depth_z=labels,
        rays=pixel_rays(flat_views(store.arrays["intrinsics"][rows], device), height, width),
        negative=torch.zeros_like(labels, dtype=torch.bool) if negative is None else negative,
        camera_pose=truth,
        prior_pose=prior,
        pose_std=std,
        rig_pose=rig,
        agent_index=(torch.arange(rig.shape[1], device=device) // 4).expand(rig.shape[:2]),
        teacher=teacher,
        **_boxes(store, rows, device),
    )


def camera_poses(store: Store, rows: np.ndarray) -> Float64[np.ndarray, "samples agents 4 4 4"]:
    """True first_camera_from_camera."""
    world_from_camera = store.arrays["world_from_lidar"][rows][:, :, None] @ store.arrays["rig"][rows]
    return np.linalg.inv(world_from_camera[:, :1, :1]) @ world_from_camera


def given_poses(
    store: Store, rows: np.ndarray, modality: Modality, noise: Noise, key: tuple[int, ...]
) -> Float64[np.ndarray, "samples agents 4 4 4"]:
    """main_lidar_from_camera as a model is told: GPS with noise, or the truth where the modality leaks it."""
    world_from_lidar = store.arrays["world_from_lidar" if modality == "posed_sfm" else "gps_world_from_lidar"][rows]
    if modality == "gps":
        world_from_lidar = noisy(world_from_lidar, noise, key)
    return (np.linalg.inv(world_from_lidar[:, :1]) @ world_from_lidar)[:, :, None] @ store.arrays["rig"][rows]


def noisy(
    world_from_lidar: Float64[np.ndarray, "samples agents 4 4"], noise: Noise, key: tuple[int, ...]
) -> Float64[np.ndarray, "samples agents 4 4"]:
    """Poses with Gaussian noise in x, y and yaw, each agent and sample on its own."""
    if noise == Noise(0.0, 0.0):
        return world_from_lidar
    drawn = keyed_rng(*key).normal(size=(*world_from_lidar.shape[:2], 3))
    turn = np.zeros((*drawn.shape[:2], 6))
    turn[..., 4] = noise.degrees * drawn[..., 2]
    moved = world_from_lidar @ world_from_body(turn)
    moved[..., :2, 3] += noise.metres * drawn[..., :2]
    return moved


def _told_std(modality: Modality, noise: Noise) -> tuple[float, float]:
    if modality == "posed_sfm":
        return (1e-3, 1e-3)
    return math.hypot(noise.metres, GPS_FLOOR_M), math.hypot(noise.degrees, GPS_FLOOR_DEG)


def _boxes(store: Store, rows: np.ndarray, device: torch.device) -> dict[str, Tensor]:
    """The boxes of all agents of each sample, every vehicle once."""
    count = rows.shape[1] * MOST_BOXES
    ids = store.arrays["box_ids"][rows].reshape(len(rows), count)
    exists = ids >= 0
    for sample, numbers in enumerate(ids):
        _, first = np.unique(numbers, return_index=True)
        exists[sample] &= np.isin(np.arange(count), first)
    world_from_box = store.arrays["world_from_box"][rows].reshape(len(rows), count, 4, 4)
    lidar_from_world = np.linalg.inv(store.arrays["world_from_lidar"][rows[:, 0]])
    half_size = store.arrays["half_size"][rows].reshape(len(rows), count, 3)
    return {
        "first_lidar_from_box": _float32(lidar_from_world[:, None] @ world_from_box, device),
        "half_size": torch.from_numpy(half_size).to(device),
        "box_exists": torch.from_numpy(exists).to(device),
    }


def flat_views(array: np.ndarray, device: torch.device) -> Tensor:
    """[samples, agents, 4, ...] as float32 [samples, views, ...]."""
    return _float32(array.reshape(len(array), -1, *array.shape[3:]), device)


def _float32(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).to(device)
