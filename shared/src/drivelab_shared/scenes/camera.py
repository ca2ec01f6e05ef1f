"""A pinhole camera. Camera frame: x right, y down, z forward.

The centre of the pixel in column u and row v is the point (u, v), so the picture reaches from -0.5 to width - 0.5
(OpenCV's convention). Subtract 0.5 from the cx and cy of a matrix in which the first pixel has its centre at 0.5.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Focal lengths and principal point in pixels, size of the picture in pixels.

    Raises:
        ValueError: a size or a focal length is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "width", "height"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"camera: {name}: expected a number > 0, got {getattr(self, name)}")

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_deg: float) -> "Camera":
        """Square pixels, the axis through the middle of the picture; the angle is the one from edge to edge.

        Raises:
            ValueError: the angle is not between 0 and 180 degrees.
        """
        if not 0 < horizontal_fov_deg < 180:
            raise ValueError(f"camera: horizontal_fov_deg: expected 0 to 180, got {horizontal_fov_deg}")
        focal_px = width / 2 / np.tan(np.radians(horizontal_fov_deg) / 2)
        return cls(fx=focal_px, fy=focal_px, cx=(width - 1) / 2, cy=(height - 1) / 2, width=width, height=height)

    def scaled(self, width: int, height: int) -> "Camera":
        """The camera that sees the same field of view in a picture of another size."""
        across, down = width / self.width, height / self.height
        return Camera(
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,  # the edge of the picture stays the edge, not the centre of a pixel
            cy=(self.cy + 0.5) * down - 0.5,
            width=width,
            height=height,
        )

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def project(
        self, points_camera: Float[np.ndarray, "points 3"]
    ) -> tuple[Float64[np.ndarray, "points 2"], Float64[np.ndarray, " points"]]:
        """Pixels (u, v) and depth_z. Pixels of points that are not in front of the camera are NaN."""
        x, y, depth_z = np.asarray(points_camera, np.float64).T
        ahead = np.where(depth_z > 0, depth_z, np.nan)
        return np.stack([self.fx * x / ahead + self.cx, self.fy * y / ahead + self.cy], axis=1), depth_z

    def unproject(
        self, pixels: Float[np.ndarray, "points 2"], depth_z: Float[np.ndarray, " points"]
    ) -> Float64[np.ndarray, "points 3"]:
        """Points in the camera frame, the inverse of `project`."""
        u, v = np.asarray(pixels, np.float64).T
        rays = np.stack([(u - self.cx) / self.fx, (v - self.cy) / self.fy, np.ones_like(u)], axis=1)
        return rays * depth_z[:, None]

    def rays_world(self, world_from_camera: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, "height width 3"]:
        """Directions through the centres of all pixels, as long as makes them reach depth_z = 1."""
        right, down, forward = world_from_camera[:3, :3].T
        columns = np.outer((np.arange(self.width) - self.cx) / self.fx, right)
        rows = np.outer((np.arange(self.height) - self.cy) / self.fy, down) + forward
        return rows[:, None] + columns[None, :]


def look_at(
    position: Float[np.ndarray, "3"] | tuple[float, float, float],
    target: Float[np.ndarray, "3"] | tuple[float, float, float],
) -> Float64[np.ndarray, "4 4"]:
    """`world_from_camera` of an upright camera. With both points in a vehicle's frame it is `vehicle_from_camera`.

    Raises:
        ValueError: the camera would look straight up or down, or at itself: then nothing says where its top is.
    """
    position = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - position
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) <= 1e-9 * np.linalg.norm(forward):
        raise ValueError(f"look_at: expected a target that is not straight above or below, got {position} to {target}")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    world_from_camera = np.eye(4)
    world_from_camera[:3] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
    return world_from_camera
