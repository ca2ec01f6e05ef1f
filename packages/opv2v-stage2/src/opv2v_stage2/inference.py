"""Reconstructions of single moments, as numpy arrays in the frame of the main vehicle's lidar."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import nn

from opv2v_stage2.config import Modality, Split
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.samples import Sample, sample_of
from opv2v_stage2.data.store import Store
from opv2v_stage2.metrics.rays import pixel_rays
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.trained import TrainedRun
from opv2v_stage2.views import Noise, make_views

PER_AGENT = 4


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a method says of one moment; the views of the main vehicle come first."""

    depth_z: Float32[np.ndarray, "views height width"]
    """Metres along each camera's axis."""
    validity: Float32[np.ndarray, "views height width"]
    """Probability."""
    camera_pose: Float64[np.ndarray, "views 4 4"]
    """first_camera_from_camera."""
    scale: float
    """The scale factor; NaN for a method without one."""


@dataclass(frozen=True, eq=False)
class AgentReconstruction:
    """What one vehicle contributes."""

    agent: str
    points: Float32[np.ndarray, "views height width 3"]
    """In the frame of the main vehicle's lidar, metres."""
    colours: UInt8[np.ndarray, "views height width 3"]
    validity: Float32[np.ndarray, "views height width"]
    main_from_lidar: Float64[np.ndarray, "4 4"]
    """Predicted."""
    lidar_from_camera: Float64[np.ndarray, "4 4 4"]


def predict_samples(
    model: nn.Module,
    store: Store,
    samples: Sequence[Sample],
    modality: Modality,
    noise: Noise,
    key: tuple[int, ...],
    device: torch.device,
) -> list[Prediction]:
    """What a model says of some moments, all with the same number of vehicles."""
    views = make_views(store, samples, modality, noise, key, device)
    seen = Reconstruction.of(model.infer(views, apply_mask=False))
    depth, validity = seen.depth_z.float().cpu().numpy(), seen.validity_logits.float().sigmoid().cpu().numpy()
    poses, scale = seen.camera_pose.double().cpu().numpy(), seen.scale.float().cpu().numpy()
    return [Prediction(depth[i], validity[i], poses[i], float(scale[i])) for i in range(len(samples))]


def reconstruct(
    trained: TrainedRun,
    split: Split,
    key: FrameKey,
    agents: Sequence[str],
    stage: str,
    *,
    gps_noise_m: float = 0.0,
    seed: int = 0,
) -> list[AgentReconstruction]:
    """One moment as the model of a stage sees it.

    Args:
        trained: the run.
        split: of the moment.
        key: the moment.
        agents: who takes part, the main vehicle first.
        stage: `stage1` or `stage2`.
        gps_noise_m: standard deviation added to GPS; degrees of yaw noise equal metres.
        seed: of the noise.
    """
    store = trained.store(split)
    sample = sample_of(store, key, tuple(agents))
    noise = Noise(gps_noise_m, gps_noise_m)
    arguments = (store, [sample], trained.settings.modality, noise, (seed, *sample.rows), trained.device)
    (prediction,) = predict_samples(trained.model(stage), *arguments)
    points = points_in_main_lidar(prediction, store, sample)
    rig = np.asarray(store.arrays["rig"][list(sample.rows)], np.float64)
    by_agent = []
    for number, (agent, row) in enumerate(zip(agents, sample.rows, strict=True)):
        own = slice(PER_AGENT * number, PER_AGENT * (number + 1))
        first_camera_from_lidar = prediction.camera_pose[own.start] @ np.linalg.inv(rig[number, 0])
        by_agent.append(
            AgentReconstruction(
                agent=agent,
                points=points[own],
                colours=np.asarray(store.arrays["images"][row]),
                validity=prediction.validity[own],
                main_from_lidar=rig[0, 0] @ first_camera_from_lidar,
                lidar_from_camera=rig[number],
            )
        )
    return by_agent


def points_in_main_lidar(
    prediction: Prediction, store: Store, sample: Sample
) -> Float32[np.ndarray, "views height width 3"]:
    """The points of all views, through the known place of camera 0 on the main vehicle."""
    intrinsics = np.asarray(store.arrays["intrinsics"][list(sample.rows)], np.float64).reshape(-1, 3, 3)
    height, width = prediction.depth_z.shape[1:]
    main_from_camera = np.asarray(store.arrays["rig"][sample.rows[0], 0]) @ prediction.camera_pose
    rotation, translation = main_from_camera[:, :3, :3], main_from_camera[:, :3, 3]
    rays = pixel_rays(intrinsics, height, width).reshape(len(rotation), -1, 3) @ rotation.swapaxes(-1, -2)
    points = prediction.depth_z.reshape(len(rotation), -1, 1) * rays + translation[:, None]
    return points.reshape(*prediction.depth_z.shape, 3).astype(np.float32)
