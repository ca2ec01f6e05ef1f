"""What tests of several subjects share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drivelab_shared.testing import at_step, fresh_engine  # noqa: F401 - fixtures
from opv2v_stage2.config import MakeDataSettings, ModelSettings, TrainSettings
from opv2v_stage2.data.agent_yaml import AgentDocument, CameraCalibration, VehicleState, write_agent_yaml
from opv2v_stage2.data.make_data import make_data
from opv2v_stage2.data.pcd import write_pcd
from opv2v_stage2.geometry import ue_matrix, ue_pose, world_from_camera
from opv2v_stage2.losses.targets import Targets, TeacherTargets
from opv2v_stage2.models.compact import pixel_rays
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.rotations import inverse_rigid, rigid, yaw_matrix
from opv2v_stage2.train import train

torch.set_num_threads(1)

RIG_CORDS = np.array(
    [
        [3.0, 0.0, -0.9, 0, 0, 0],
        [0.5, 0.3, -0.1, 0, 100, 0],
        [0.5, -0.3, -0.1, 0, -100, 0],
        [-1.5, 0.0, -0.4, 0, 180, 0],
    ]
)
"""OPV2V's cameras in the lidar's UE frame."""


def _perfect_scene(agents=2, samples=1, height=6, width=8, coverage=1.0, dtype=torch.float32, seed=0):
    """A reconstruction without an error, and the targets it meets: vehicles 20 m apart, depths from 4 to 40 m."""
    rng = torch.Generator().manual_seed(seed)
    views = 4 * agents
    rig = torch.from_numpy(world_from_camera(RIG_CORDS)).to(dtype).repeat(agents, 1, 1).expand(samples, views, 4, 4)
    yaw = 0.4 * torch.arange(agents, dtype=dtype).repeat_interleave(4)
    place = torch.stack([20 * yaw / 0.4, 3 * yaw / 0.4, 0 * yaw], dim=-1)
    first_lidar_from_camera = rigid(yaw_matrix(yaw), place) @ rig
    camera_pose = inverse_rigid(first_lidar_from_camera[:, :1]) @ first_lidar_from_camera
    focal = width / 2 / np.tan(np.radians(50))
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=dtype)
    rays = pixel_rays(intrinsics.expand(samples, views, 3, 3), height, width).to(dtype)
    depth = 4 + 36 * torch.rand(samples, views, height, width, generator=rng, dtype=dtype)
    labelled = torch.rand(depth.shape, generator=rng) < coverage
    reconstruction = Reconstruction(
        rays=rays,
        depth=depth,
        camera_pose=camera_pose,
        scale=torch.full((samples,), 15.0, dtype=dtype),
        confidence=torch.ones_like(depth),
        validity_logits=torch.full_like(depth, 2.0),
    )
    vehicle_pose = camera_pose.view(samples, agents, 4, 4, 4)
    targets = Targets(
        depth_z=torch.where(labelled, depth * rays[..., 2], 0.0),
        rays=rays,
        negative=torch.zeros_like(labelled),
        camera_pose=camera_pose,
        prior_pose=camera_pose,
        pose_std=torch.tensor([0.5, 1.0], dtype=dtype).expand(samples, views, 2),
        rig_pose=rig,
        agent_index=(torch.arange(views) // 4).expand(samples, views),
        first_lidar_from_box=torch.eye(4, dtype=dtype).expand(samples, 1, 4, 4),
        half_size=torch.ones(samples, 1, 3, dtype=dtype),
        box_exists=torch.zeros(samples, 1, dtype=torch.bool),
        teacher=TeacherTargets(
            depth=depth,
            validity=torch.ones_like(depth),
            confidence=torch.ones_like(depth),
            camera_pose=(inverse_rigid(vehicle_pose[:, :, :1]) @ vehicle_pose).flatten(1, 2),
            scale=torch.full((samples, agents), 15.0, dtype=dtype),
        ),
    )
    return reconstruction, targets


@pytest.fixture(scope="session")
def perfect_scene():
    """The function that makes one."""
    return _perfect_scene


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A finished data set: 3 + 1 + 2 scenarios, 2 frames, 96x72. Nobody may write into it."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    make_data(MakeDataSettings(data_dir=folder, num_scenarios=(3, 1, 2), num_frames=2, size="96x72", workers=1))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_workers():
    """A store of a few rows is made here: processes that start afresh would take longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opv2v_stage2.data.store.in_processes", map)
        yield


@pytest.fixture(scope="session")
def tiny_settings(tiny_data) -> TrainSettings:
    """Settings that train on it in a few seconds."""
    return TrainSettings(
        data_dir=tiny_data,
        cache_dir=tiny_data.parent / "cache",
        model=ModelSettings(height=24, width=32, channels=16, layers=2, heads=2),
        stage1_steps=3,
        stage2_steps=2,
        log_every=1,
        evaluate=False,
        device="cpu",
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_settings) -> Path:
    """The folder of a finished run of both stages, not evaluated. Nobody may write into it."""
    folder = tiny_settings.data_dir.parent / "run"
    train(dataclasses.replace(tiny_settings, run_dir=folder))
    return folder


NUM_POINTS = 1500


def _agent_document(x=0.0, yaw=30.0, y=0.0, roll=2.0, pitch=3.0, vehicles=(), width=64):
    """What a vehicle at (x, y) writes down: its lidar above it, four cameras around it, GNSS 0.3 m off."""
    ego = np.array([x, y, 0.2, roll, yaw, pitch])
    lidar = ue_matrix(ego) @ ue_matrix(np.array([-0.5, 0, 1.9, 0, 0, 0]))
    focal = width / 2 / np.tan(np.radians(50))
    intrinsic = np.array([[focal, 0, width / 2], [0, focal, width * 3 / 8], [0, 0, 1]])
    cameras = {}
    for number, cords in enumerate(RIG_CORDS):
        world_from_camera = lidar @ ue_matrix(cords)
        cameras[number] = CameraCalibration(
            ue_pose(world_from_camera), np.linalg.inv(world_from_camera) @ lidar, intrinsic
        )
    return AgentDocument(
        lidar_pose=ue_pose(lidar),
        true_ego_pos=ego,
        predicted_ego_pos=ego + np.array([0.3, 0, 0, 0, 0.5, 0]),
        ego_speed=36.0,
        plan_trajectory=np.array([[x, y, 10.0]]),
        cameras=cameras,
        vehicles=dict(vehicles),
        is_roadside=False,
    )


def _box_at(location, yaw=0.0, roll=0.0, pitch=0.0):
    """A car of 4 x 2 x 1.6 m."""
    return VehicleState(
        angle=np.array([roll, yaw, pitch], np.float64),
        center=np.array([0.1, 0, 0.8]),
        extent=np.array([2.0, 1.0, 0.8]),
        location=np.array(location, np.float64),
        speed=18.0,
    )


def _write_scenario(folder, agents=None, frames=("000069", "000071"), width=64):
    """A scenario as OPV2V writes it: agents by name with their documents, a sweep of the ground, pictures of noise."""
    documents = agents or {"7": _agent_document(), "12": _agent_document(20), "101": _agent_document(8, y=4)}
    rng = np.random.default_rng(0)
    for agent, document in documents.items():
        for frame in frames:
            stem = Path(folder) / agent / frame
            write_agent_yaml(stem.with_suffix(".yaml"), document)
            away, around = rng.uniform(4.2, 60, NUM_POINTS), rng.uniform(-np.pi, np.pi, NUM_POINTS)
            sweep = np.stack([away * np.cos(around), away * np.sin(around), np.full(NUM_POINTS, -1.93)], axis=-1)
            write_pcd(stem.with_suffix(".pcd"), sweep, rng.uniform(0.6, 1, NUM_POINTS))
            for number in document.cameras:
                noise = rng.integers(0, 255, (width * 3 // 4, width, 3), dtype=np.uint8)
                Image.fromarray(noise).save(f"{stem}_camera{number}.png")
    return Path(folder)


@pytest.fixture(scope="session")
def agent_document():
    """The function that makes one."""
    return _agent_document


@pytest.fixture(scope="session")
def box_at():
    """The function that makes one."""
    return _box_at


@pytest.fixture(scope="session")
def write_scenario():
    """The function that writes one."""
    return _write_scenario
