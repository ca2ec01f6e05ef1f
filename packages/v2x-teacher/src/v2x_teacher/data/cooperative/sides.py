"""What single pairs ask of the two sides: pictures, cameras and other road users."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from v2x_teacher.data.cooperative.calibration import inverse, read_intrinsics, read_transform
from v2x_teacher.data.cooperative.form import Form
from v2x_teacher.data.cooperative.frames import Frame
from v2x_teacher.data.cooperative.road_users import read_boxes
from v2x_teacher.data.cooperative.tree import Tree
from v2x_teacher.data.recording import Box, Calibration, Pair, Poses

Side = Literal["vehicle", "infrastructure"]
SIDES: tuple[Side, ...] = ("vehicle", "infrastructure")
CALIBRATIONS = {
    "vehicle": ("lidar_to_camera", "lidar_to_novatel", "novatel_to_world"),
    "infrastructure": ("virtuallidar_to_camera", "virtuallidar_to_world"),
}
"""From the lidar to the camera, then from the lidar to the world."""
INTRINSICS = "camera_intrinsic"
Transform = Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides of a data set, with their frames by id."""

    form: Form
    tree: Tree
    vehicle: Mapping[str, Frame]
    infrastructure: Mapping[str, Frame]
    poses: Mapping[str, Poses]
    reference_point: str

    def frame(self, pair: Pair, side: Side) -> Frame | None:
        """Of the pair's vehicle or infrastructure."""
        if side == "vehicle":
            return self.vehicle.get(pair.vehicle_id)
        return self.infrastructure.get(pair.infrastructure_id)

    def picture(self, side: Side, frame: Frame | None, named: str | None) -> Path | None:
        """The picture that the pair names, or else the frame's. None where neither is known.

        Raises:
            FileNotFoundError: as `path: expected X, got Y`.
            ValueError: the frame names none; same form.
        """
        if named is not None:
            return self.tree.picture(named)
        if frame is None:
            return None
        try:
            inside = frame.path("image_path")
        except ValueError as error:
            raise ValueError(f"{self.tree.root}/{side}-side/data_info.json: frame {frame.id}: {error}") from None
        return self.tree.picture(f"{side}-side/{inside}")

    def has_calibration(self, side: Side, frame: Frame, name: str) -> bool:
        """Whether the file is there. A path that leads out of the data set is not followed."""
        try:
            return self.tree.has(self._calibration_path(side, frame, name))
        except ValueError:
            return False

    def calibration(self, pair: Pair, side: Side) -> Calibration | None:
        """Reads the camera of a pair; None where one of its files is missing.

        The vehicle's is placed at the time of the pose, although its picture is some milliseconds older or younger.

        Raises:
            UserError: a file is broken.
        """
        frame = self.frame(pair, side)
        if frame is None:
            return None
        try:
            camera_from_lidar, *chain = (
                read_transform(self._calibration_path(side, frame, name)) for name in CALIBRATIONS[side]
            )
            intrinsics = read_intrinsics(self._calibration_path(side, frame, INTRINSICS))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(str(error)) from None
        world_from_lidar = chain[1] @ chain[0] if side == "vehicle" else chain[0]
        return Calibration(intrinsics, camera_from_lidar @ inverse(world_from_lidar))

    def _calibration_path(self, side: Side, frame: Frame, name: str) -> str:
        inside = f"{side}-side/{frame.path(f'calib_{name}_path')}"
        path = self.tree.path(inside)
        if name != INTRINSICS or self.tree.has(path):
            return path
        # One official README calls this folder camera, another camera_intrinsic.
        folders = ("/calib/camera/", f"/calib/{INTRINSICS}/")
        others = (self.tree.path(inside.replace(*pair)) for pair in (folders, folders[::-1]))
        return next(filter(self.tree.has, others), path)

    def boxes(self, labels: Mapping[str, str], sequence: str, vehicle_id: str) -> list[Box] | None:
        """Road users at a vehicle frame; None without a label file, or without a pose to place them.

        Raises:
            UserError: a file is broken.
        """
        poses = self.poses.get(sequence)
        if vehicle_id not in labels or poses is None or vehicle_id not in poses.ids:
            return None
        world_from_vehicle = poses.world_from_vehicle[poses.ids.index(vehicle_id)]
        try:
            world_from_label = self._world_from_label(vehicle_id, world_from_vehicle)
            return read_boxes(self.tree.path(labels[vehicle_id]), world_from_label, world_from_vehicle[:3, 3])
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(str(error)) from None

    def _world_from_label(self, vehicle_id: str, world_from_vehicle: Transform) -> Transform:
        if self.form.labels_in == "world":
            return np.eye(4)
        if self.reference_point == "lidar":
            return world_from_vehicle
        path = self._calibration_path("vehicle", self.vehicle[vehicle_id], "lidar_to_novatel")
        return world_from_vehicle @ read_transform(path)
