"""Lidar points to pixels."""

import numpy as np
from jaxtyping import Float, Float64

from opv2v_stage2.data.recording import CameraView


def native_size(camera: CameraView) -> tuple[int, int]:
    """Width and height of the pictures that the intrinsics speak of: the principal point is their middle."""
    return round(2 * camera.intrinsics[0, 2]), round(2 * camera.intrinsics[1, 2])


def scaled_intrinsics(camera: CameraView, size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
    """Intrinsics at another width and height. The edge of the picture is 0, so all of K scales alike."""
    width, height = native_size(camera)
    return np.diag([size[0] / width, size[1] / height, 1.0]) @ camera.intrinsics


def project(
    points: Float[np.ndarray, "points 3"], camera: CameraView, size: tuple[int, int]
) -> tuple[Float64[np.ndarray, "points 2"], Float64[np.ndarray, " points"]]:
    """Where points appear in a picture of that size, inside or outside of it.

    Args:
        points: in the right-handed lidar frame, metres.
        camera: what looks at them.
        size: width and height of the picture, pixels.

    Returns:
        Column and row, where the edge of the picture is 0 and the first pixel's centre (0.5, 0.5), NaN behind the
        camera; and the depth along the camera's axis, metres.
    """
    camera_from_lidar = np.linalg.inv(camera.lidar_from_camera)
    in_camera = points @ camera_from_lidar[:3, :3].T + camera_from_lidar[:3, 3]
    depth_z = in_camera[:, 2]
    ahead = np.where(depth_z > 0, depth_z, np.nan)
    pixels = in_camera / ahead[:, None] @ scaled_intrinsics(camera, size).T
    return pixels[:, :2], depth_z
