"""What the two cameras of a drive see, and where they are.

Junction frame as in `traffic`. Vehicle frame: origin at the reference point, 0.5 m above the road, x forward, y left,
z up. Camera frames: x right, y down, z forward. A picture shows one moment: nothing in it depends on what comes next.
"""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from drivelab_shared.scenes import Camera, Lidar, Scene, look_at, standing
from v2x_teacher.data.make_data.street import bodies, pole_position, pole_target, static_street, vehicle_itself
from v2x_teacher.data.make_data.traffic import Drive

REFERENCE_HEIGHT_M = 0.5
VEHICLE_FROM_LIDAR = standing(0.8, 0.0, 0.0, z=1.4)
VEHICLE_FROM_CAMERA = look_at((1.3, 0.0, 1.0), (11.3, 0.0, 0.6))
VEHICLE_FOV_DEG, INFRASTRUCTURE_FOV_DEG = 70.0, 62.0


class Views:
    """The street of one drive, built once, seen by both cameras at any time of it.

    Args:
        drive: who is where.
        width: of both pictures in pixels; their height is 9/16 of it.
    """

    def __init__(self, drive: Drive, width: int) -> None:
        self.drive = drive
        height = width * 9 // 16
        self.vehicle_camera = Camera.from_fov(width, height, VEHICLE_FOV_DEG)
        self.infrastructure_camera = Camera.from_fov(width, height, INFRASTRUCTURE_FOV_DEG)
        self.vehicle_from_camera = VEHICLE_FROM_CAMERA
        plan = drive.scenario
        self.junction_from_infrastructure_camera = look_at(pole_position(plan), pole_target(plan))
        self._scene = Scene(static_street(drive))

    def junction_from_vehicle(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Pose of the vehicle frame."""
        return standing(*self.drive.pose(time_s), z=REFERENCE_HEIGHT_M)

    def vehicle(self, time_s: float) -> UInt8[np.ndarray, "height width 3"]:
        """What the vehicle's camera sees."""
        junction_from_camera = self.junction_from_vehicle(time_s) @ self.vehicle_from_camera
        return self._scene.view(bodies(self.drive, time_s), self.vehicle_camera, junction_from_camera).rgb

    def infrastructure(self, time_s: float) -> UInt8[np.ndarray, "height width 3"]:
        """What the camera on the pole sees, the vehicle included."""
        movable = [*bodies(self.drive, time_s), vehicle_itself(self.drive, time_s)]
        pole = self.junction_from_infrastructure_camera
        return self._scene.view(movable, self.infrastructure_camera, pole).rgb

    def lidar(self, time_s: float, rng: np.random.Generator) -> Float32[np.ndarray, "points 4"]:
        """One sweep: x, y, z [m] in the lidar frame and intensity 0 to 1."""
        junction_from_lidar = self.junction_from_vehicle(time_s) @ VEHICLE_FROM_LIDAR
        sweep = self._scene.scan(bodies(self.drive, time_s), Lidar(), junction_from_lidar, rng)
        return np.concatenate([sweep.points, sweep.intensity[:, None]], axis=1, dtype=np.float32)
