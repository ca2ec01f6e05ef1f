"""Frames and conversions, in numpy. CARLA writes left-handed poses; here everything else is right-handed.

| frame | axes |
|---|---|
| UE world, UE lidar | x forward, y right, z up, left-handed: what the files hold |
| world, lidar | x forward, y left, z up, right-handed: `MIRROR` of the UE one |
| camera | x right, y down, z forward (OpenCV) |

A name such as `world_from_lidar` is the matrix that takes points of the lidar frame to the world; metres throughout. A
UE pose is [x, y, z, roll, yaw, pitch], in metres and degrees. Source: OpenCOOD, opencood/utils/transformation_utils.py.
"""

import numpy as np
from jaxtyping import Float, Float64

MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
"""UE lidar or world to the right-handed one, and back."""
CAMERA_AXES = np.array([[0.0, 1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""UE camera axes to OpenCV's. Its determinant is -1: it mirrors, too."""
LIDAR_HEIGHT_M = 1.93
"""Of a vehicle's lidar above the ground below it."""


def ue_matrix(pose: Float[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """UE pose to the left-handed `ue_world_from_body`."""
    pose = np.asarray(pose, np.float64)
    roll, yaw, pitch = np.moveaxis(np.radians(pose[..., 3:]), -1, 0)
    cr, sr, cy, sy, cp, sp = np.cos(roll), np.sin(roll), np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    matrix = np.zeros((*pose.shape[:-1], 4, 4))
    matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2] = cp * cy, cy * sp * sr - sy * cr, -cy * sp * cr - sy * sr
    matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2] = cp * sy, sy * sp * sr + cy * cr, -sy * sp * cr + cy * sr
    matrix[..., 2, 0], matrix[..., 2, 1], matrix[..., 2, 2] = sp, -cp * sr, cp * cr
    matrix[..., :3, 3] = pose[..., :3]
    matrix[..., 3, 3] = 1
    return matrix


def ue_pose(ue_world_from_body: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 6"]:
    """The UE pose of a left-handed matrix; angles in (-180, 180]."""
    matrix = np.asarray(ue_world_from_body, np.float64)
    angles = [
        np.arctan2(-matrix[..., 2, 1], matrix[..., 2, 2]),
        np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]),
        np.arcsin(np.clip(matrix[..., 2, 0], -1, 1)),
    ]
    return np.concatenate([matrix[..., :3, 3], np.degrees(np.stack(angles, axis=-1))], axis=-1)


def mirrored(transform: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """A transform between UE lidar or world frames as one between right-handed frames, and back."""
    return MIRROR @ np.asarray(transform, np.float64) @ MIRROR


def world_from_body(pose: Float[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """UE pose of a vehicle or lidar to its right-handed pose."""
    return mirrored(ue_matrix(pose))


def pose_of_body(world_from_body: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 6"]:
    """The UE pose of a right-handed one, as the files hold it."""
    return ue_pose(mirrored(world_from_body))


def world_from_camera(cords: Float[np.ndarray, "*batch 6"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """UE pose of a camera (`cords`) to the right-handed pose of the OpenCV camera."""
    return MIRROR @ ue_matrix(cords) @ CAMERA_AXES.T


def cords_of_camera(world_from_camera: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 6"]:
    """The UE pose of an OpenCV camera, as the files hold it."""
    return ue_pose(MIRROR @ np.asarray(world_from_camera, np.float64) @ CAMERA_AXES)


def lidar_from_camera(extrinsic: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """The right-handed rig pose from `extrinsic`, which takes UE lidar points to UE camera axes, not back."""
    return np.linalg.inv(CAMERA_AXES @ np.asarray(extrinsic, np.float64) @ MIRROR)


def extrinsic_of(lidar_from_camera: Float[np.ndarray, "*batch 4 4"]) -> Float64[np.ndarray, "*batch 4 4"]:
    """`extrinsic` as the files hold it, from the right-handed rig pose."""
    return CAMERA_AXES.T @ np.linalg.inv(np.asarray(lidar_from_camera, np.float64)) @ MIRROR


def wrapped_deg(angle: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """The same angle from -180 up to 180 degrees."""
    return (np.asarray(angle, np.float64) + 180) % 360 - 180


def is_rotation(transform: Float[np.ndarray, "*batch 4 4"], tolerance: float = 1e-3) -> bool:
    """Whether all are rigid and right-handed: a handedness flip too few has determinant -1 and fails silently later."""
    rotation = np.asarray(transform, np.float64)[..., :3, :3]
    is_orthonormal = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(initial=0) < tolerance
    return bool(is_orthonormal and (np.linalg.det(rotation) > 0.99).all())
