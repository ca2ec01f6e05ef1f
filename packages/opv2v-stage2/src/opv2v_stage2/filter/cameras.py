"""Cameras of frame YAMLs, in the frame of a cloud."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from opv2v_stage2 import geometry
from opv2v_stage2.clouds.cloud import CloudFrame
from opv2v_stage2.clouds.crops import PlacedCamera
from opv2v_stage2.data.agent_yaml import read_agent_yaml


class WorldCamera(NamedTuple):
    """A camera, and the lidar of its vehicle."""

    intrinsics: Float64[np.ndarray, "3 3"]
    lidar_from_camera: Float64[np.ndarray, "4 4"]
    world_from_lidar: Float64[np.ndarray, "4 4"]


def read_cameras(paths: Sequence[Path]) -> list[WorldCamera]:
    """All cameras of all files.

    Raises:
        UserError: a file is missing or broken, or has no camera.
    """
    cameras = []
    for path in paths:
        document = read_agent_yaml(path)
        if not document.cameras:
            raise UserError(f"{path}: expected cameras, got none")
        world_from_lidar = geometry.world_from_body(document.lidar_pose)
        for camera in document.cameras.values():
            lidar_from_camera = geometry.lidar_from_camera(camera.extrinsic)
            cameras.append(WorldCamera(camera.intrinsic, lidar_from_camera, world_from_lidar))
    return cameras


def placed(cameras: Sequence[WorldCamera], frame: CloudFrame) -> tuple[PlacedCamera, ...]:
    """The cameras where the cloud is. A cloud that does not know its place is around the lidar of the first file."""
    if not cameras:
        return ()
    world_from_cloud = frame.world_from_cloud
    cloud_from_world = np.linalg.inv(cameras[0].world_from_lidar if world_from_cloud is None else world_from_cloud)
    return tuple(
        PlacedCamera(camera.intrinsics, cloud_from_world @ camera.world_from_lidar @ camera.lidar_from_camera)
        for camera in cameras
    )
