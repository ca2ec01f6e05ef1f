"""Where the pixels of a picture look. The edge of a picture is 0, so the first pixel's centre is at (0.5, 0.5)."""

import numpy as np
from jaxtyping import Float, Float64

from opv2v_stage2.geometry import LIDAR_HEIGHT_M


def pixel_rays(
    intrinsics: Float[np.ndarray, "*batch 3 3"], height: int, width: int
) -> Float64[np.ndarray, "*batch height width 3"]:
    """Direction of each pixel in its camera's frame, as long as it takes to get 1 m forward."""
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    inverse = np.linalg.inv(np.asarray(intrinsics, np.float64))
    # Matrix products are ten times as fast as einsum here.
    rays = pixels.reshape(-1, 3) @ np.swapaxes(inverse, -1, -2)
    return rays.reshape(*rays.shape[:-2], height, width, 3)


def pixel_points(
    depth_z: Float[np.ndarray, "*batch height width"], intrinsics: Float[np.ndarray, "*batch 3 3"]
) -> Float64[np.ndarray, "*batch height width 3"]:
    """The point of each pixel in its camera's frame, metres."""
    return np.asarray(depth_z, np.float64)[..., None] * pixel_rays(intrinsics, *depth_z.shape[-2:])


def pixel_heights(
    depth_z: Float[np.ndarray, "*batch height width"],
    intrinsics: Float[np.ndarray, "*batch 3 3"],
    lidar_from_camera: Float[np.ndarray, "*batch 4 4"],
    ground_z: float = -LIDAR_HEIGHT_M,
) -> Float64[np.ndarray, "*batch height width"]:
    """Metres above the ground of the point of each pixel; NaN or infinite where the depth is."""
    points = pixel_points(depth_z, intrinsics)
    with np.errstate(invalid="ignore"):  # sky: infinitely far, times an axis that is level
        upward = np.asarray(lidar_from_camera, np.float64)[..., None, 2, :3, None]
        up = (points @ upward)[..., 0]
    return up + np.asarray(lidar_from_camera)[..., 2, 3, None, None] - ground_z
