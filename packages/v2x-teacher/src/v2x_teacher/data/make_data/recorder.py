"""What the two recording units of one sequence know: poses, calibrations and who was around.

World: metres, z up. Vehicle frame (`novatel`): origin at the reference point, 0.5 m above the road; x points forward
unless the settings say otherwise. Lidars: x forward, y left, z up; the one of the infrastructure is virtual: level, at
the place of the camera. Camera frames: x right, y down, z forward.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from drivelab_shared.scenes import Camera, standing
from drivelab_shared.seeding import keyed_rng
from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data.boxes import Boxes, boxes
from v2x_teacher.data.make_data.sequences import Frame, SequencePlan
from v2x_teacher.data.make_data.street import corner_houses
from v2x_teacher.data.make_data.traffic import VEHICLE_BODY, VEHICLE_MIDDLE_M, Actor, Drive
from v2x_teacher.data.make_data.views import REFERENCE_HEIGHT_M, VEHICLE_FROM_LIDAR, Views

VEHICLE, INFRASTRUCTURE = "vehicle-side", "infrastructure-side"
HEADING_NOISE_RAD = np.radians(0.05)
VIRTUAL_LIDAR_HEIGHT_M = 2.0
FORWARD_AT_RAD = {"x": 0.0, "y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}
"""Where in its frame the vehicle's front is."""


@dataclass(frozen=True, eq=False)
class Unit:
    """A camera and a lidar, and who is around them."""

    side: str
    frames: tuple[Frame, ...]
    camera: Camera
    camera_from_lidar: Float64[np.ndarray, "4 4"]
    actors: tuple[Actor, ...]
    at_clouds: Boxes
    """At the times of the frames' point clouds."""
    at_images: Boxes

    def at(self, kind: str) -> Boxes:
        """Boxes for a folder of labels: `camera`, or one of the lidar."""
        return self.at_images if kind == "camera" else self.at_clouds


class Recorder:
    """Both units during one drive."""

    def __init__(self, settings: MakeDataSettings, plan: SequencePlan, drive: Drive, views: Views) -> None:
        self.settings, self.plan, self.drive, self.views = settings, plan, drive, views
        self.novatel_from_lidar = novatel_from_vehicle(settings) @ VEHICLE_FROM_LIDAR
        self.world_from_novatel = world_from_novatel(settings, plan, drive)
        pole = views.junction_from_infrastructure_camera
        heading = np.arctan2(pole[1, 2], pole[0, 2])
        self.junction_from_virtuallidar = standing(*pole[:2, 3], heading, z=VIRTUAL_LIDAR_HEIGHT_M)
        self.world_from_virtuallidar = plan.world_from_junction @ self.junction_from_virtuallidar

    @cached_property
    def vehicle(self) -> Unit:
        """On the roof of the vehicle, which does not see itself."""
        camera_from_lidar = np.linalg.inv(self.views.vehicle_from_camera) @ VEHICLE_FROM_LIDAR

        def lidar_from_junction(times_s: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, "times 4 4"]:
            return np.linalg.inv(junction_from_vehicle(self.drive, times_s) @ VEHICLE_FROM_LIDAR)

        camera, frames = self.views.vehicle_camera, self.plan.vehicle
        return self._unit(VEHICLE, frames, self.drive.actors, camera, camera_from_lidar, lidar_from_junction)

    @cached_property
    def infrastructure(self) -> Unit:
        """On its pole; sees the vehicle too, as the last of its actors."""
        camera_from_junction = np.linalg.inv(self.views.junction_from_infrastructure_camera)
        camera_from_lidar = camera_from_junction @ self.junction_from_virtuallidar

        def lidar_from_junction(times_s: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, "times 4 4"]:
            return np.tile(np.linalg.inv(self.junction_from_virtuallidar), (len(times_s), 1, 1))

        drive = self.drive
        itself = Actor(VEHICLE_BODY, drive.path, drive.s + VEHICLE_MIDDLE_M, np.zeros(len(drive.times_s), dtype=bool))
        camera, frames = self.views.infrastructure_camera, self.plan.infrastructure
        return self._unit(
            INFRASTRUCTURE, frames, (*drive.actors, itself), camera, camera_from_lidar, lidar_from_junction
        )

    def _unit(
        self,
        side: str,
        frames: tuple[Frame, ...],
        actors: tuple[Actor, ...],
        camera: Camera,
        camera_from_lidar: Float64[np.ndarray, "4 4"],
        lidar_from_junction: Callable[[Float64[np.ndarray, " times"]], Float64[np.ndarray, "times 4 4"]],
    ) -> Unit:
        houses = [house.rectangle for house in corner_houses(self.plan.scenario)]
        at_clouds, at_images = (
            boxes(self.drive, actors, times_s, lidar_from_junction(times_s), camera_from_lidar, camera, houses)
            for stamps_us in ([frame.cloud_us for frame in frames], [frame.image_us for frame in frames])
            for times_s in [np.array([self.plan.drive_s(stamp_us) for stamp_us in stamps_us])]
        )
        return Unit(side, frames, camera, camera_from_lidar, actors, at_clouds, at_images)


def novatel_from_vehicle(settings: MakeDataSettings) -> Float64[np.ndarray, "4 4"]:
    """From the frame with x forward to the one that is written."""
    return standing(0.0, 0.0, FORWARD_AT_RAD[settings.forward_axis])


def junction_from_vehicle(drive: Drive, times_s: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, "times 4 4"]:
    """True poses of the frame with x forward."""
    positions, headings = drive.path.at(np.interp(times_s, drive.times_s, drive.s))
    poses = [standing(x, y, angle, REFERENCE_HEIGHT_M) for (x, y), angle in zip(positions, headings, strict=True)]
    return np.array(poses).reshape(-1, 4, 4)


def world_from_novatel(
    settings: MakeDataSettings, plan: SequencePlan, drive: Drive
) -> Float64[np.ndarray, "frames 4 4"]:
    """Poses of the vehicle as it reports them, with the noise of its receiver, at the times of its clouds."""
    times_s = np.array([plan.drive_s(frame.cloud_us) for frame in plan.vehicle])
    rng = keyed_rng(settings.seed, plan.index, 4)
    headings = rng.normal(0.0, HEADING_NOISE_RAD, len(times_s))
    world_from_vehicle = plan.world_from_junction @ junction_from_vehicle(drive, times_s)
    world_from_vehicle[:, :3, 3] += rng.normal(0.0, 1.0, (len(times_s), 3)) * settings.position_noise_m
    noise = np.array([standing(0.0, 0.0, angle) for angle in headings]).reshape(-1, 4, 4)
    return world_from_vehicle @ noise @ np.linalg.inv(novatel_from_vehicle(settings))
