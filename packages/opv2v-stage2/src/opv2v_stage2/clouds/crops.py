"""Which points count. A crop is for both clouds of a comparison: crop one alone, and a perfect one looks bad."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from opv2v_stage2.clouds.cloud import Cloud, moved
from opv2v_stage2.clouds.voxels import thinned_rows
from opv2v_stage2.data.recording import CameraView

ELEVATION_DEG = (-25.0, 2.0)
"""What OPV2V's lidar sees."""
_SLACK_DEG = 0.1
"""Its 2 cm of noise, so that the outermost rings stay."""


@dataclass(frozen=True, eq=False)
class PlacedCamera:
    """A camera in the frame of a cloud."""

    intrinsics: Float[np.ndarray, "3 3"]
    """Of a picture that ends at twice the principal point, as all of OPV2V do."""
    cloud_from_camera: Float[np.ndarray, "4 4"]

    @classmethod
    def of(cls, camera: CameraView, cloud_from_lidar: Float[np.ndarray, "4 4"]) -> "PlacedCamera":
        """The camera of a vehicle whose lidar is there."""
        return cls(camera.intrinsics, cloud_from_lidar @ camera.lidar_from_camera)


@dataclass(frozen=True, eq=False)
class Crop:
    """A window above the ground and around the lidar. `keeps` is the same function for prediction and truth."""

    z_min: float
    """Metres above the ground, not above the lidar: that would remove the ground and keep a third of the points."""
    z_max: float
    radius: float
    """Metres along the ground."""
    lidars: tuple[Float[np.ndarray, "4 4"], ...] = ()
    """cloud_from_lidar of those that measured: one of them must be able to see so high and low. () does not ask."""
    cameras: tuple[PlacedCamera, ...] = ()
    min_views: int = 0
    """In so many of their pictures a point must be."""

    def keeps(self, cloud: Cloud) -> Bool[np.ndarray, " points"]:
        """Which points are inside."""
        inside = (cloud.heights >= self.z_min) & (cloud.heights <= self.z_max)
        inside &= np.hypot(cloud.points[:, 0], cloud.points[:, 1]) <= self.radius
        if self.lidars:
            inside &= np.any([in_lidar_view(cloud.points, lidar) for lidar in self.lidars], axis=0)
        if self.min_views:
            inside &= num_views(cloud.points, self.cameras) >= self.min_views
        return inside

    def of(self, cloud: Cloud) -> Cloud:
        """The points that are inside."""
        return cloud.at(self.keeps(cloud))


def in_lidar_view(
    points: Float[np.ndarray, "points 3"], cloud_from_lidar: Float[np.ndarray, "4 4"]
) -> Bool[np.ndarray, " points"]:
    """Whether a lidar's rays go that high and low; what stands in between is not asked."""
    x, y, z = moved(points, np.linalg.inv(cloud_from_lidar)).T
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return (elevation >= ELEVATION_DEG[0] - _SLACK_DEG) & (elevation <= ELEVATION_DEG[1] + _SLACK_DEG)


def num_views(points: Float[np.ndarray, "points 3"], cameras: Sequence[PlacedCamera]) -> Int64[np.ndarray, " points"]:
    """In how many pictures each point would be; what stands in between is not asked."""
    count = np.zeros(len(points), np.int64)
    for camera in cameras:
        pixels = moved(points, np.linalg.inv(camera.cloud_from_camera)) @ np.asarray(camera.intrinsics, np.float64).T
        # Compared without dividing: a depth of 0 is in front of nothing.
        depth, size = pixels[:, 2:], 2 * camera.intrinsics[:2, 2]
        count += ((depth > 0) & (pixels[:, :2] >= 0) & (pixels[:, :2] < size * depth)).all(axis=1)
    return count


def thinned(cloud: Cloud, side_m: float) -> Cloud:
    """One point per cube of this side; 0 keeps all."""
    return cloud.at(thinned_rows(cloud.points, side_m)) if side_m > 0 else cloud
