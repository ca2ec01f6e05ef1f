"""The files of one agent at one moment, and what they say in right-handed frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from drivelab_shared.errors import UserError
from opv2v_stage2.data.agent_yaml import AgentDocument, CameraCalibration, VehicleState, read_agent_yaml
from opv2v_stage2.data.pcd import read_pcd
from opv2v_stage2.data.pictures import picture_size
from opv2v_stage2.data.projection import native_size
from opv2v_stage2.data.recording import AgentFrame, Boxes, CameraView, FrameKey
from opv2v_stage2.geometry import is_rotation, lidar_from_camera, world_from_body

KMH_PER_MPS = 3.6


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """Which of them there are."""

    key: FrameKey
    folder: Path
    """Of the agent; its name is the agent's."""
    has_yaml: bool
    has_lidar: bool
    cameras: tuple[int, ...]
    """Those with a picture."""
    truth_path: Path | None
    """Dense depth, which only made-up data have."""

    @property
    def yaml_path(self) -> Path:
        """Poses and calibrations."""
        return self.folder / f"{self.key.frame}.yaml"

    @property
    def lidar_path(self) -> Path:
        """The sweep."""
        return self.folder / f"{self.key.frame}.pcd"

    def image_path(self, camera: int) -> Path:
        """The picture of that camera."""
        return self.folder / f"{self.key.frame}_camera{camera}.png"


def read_agent(files: AgentFiles) -> AgentFrame:
    """What the files say. Pictures and lidar stay on disk; of the pictures only the size is read.

    Raises:
        UserError: the YAML is missing or broken, or does not fit the pictures.
    """
    document = read_agent_yaml(files.yaml_path)
    world_from_lidar = world_from_body(document.lidar_pose)
    ego_from_lidar = np.linalg.inv(world_from_body(document.true_ego_pos)) @ world_from_lidar
    return AgentFrame(
        key=files.key,
        agent=files.folder.name,
        world_from_lidar=world_from_lidar,
        gps_world_from_lidar=world_from_body(document.predicted_ego_pos) @ ego_from_lidar,
        speed_mps=document.ego_speed / KMH_PER_MPS,
        cameras=_cameras(files, document),
        lidar_path=files.lidar_path if files.has_lidar else None,
        boxes=boxes_of(document.vehicles),
        truth_path=files.truth_path,
    )


def read_lidar(frame: AgentFrame) -> tuple[Float32[np.ndarray, "points 3"], Float32[np.ndarray, " points"] | None]:
    """Points in the agent's right-handed lidar frame, metres, and their intensity from 0 to 1.

    None at all where there is no sweep.

    Raises:
        UserError: the file is broken.
    """
    if frame.lidar_path is None:
        return np.zeros((0, 3), np.float32), None
    cloud = read_pcd(frame.lidar_path)
    return cloud.points * np.array([1, -1, 1], np.float32), cloud.intensity


def boxes_of(vehicles: Mapping[int, VehicleState]) -> Boxes:
    """Right-handed boxes. OpenCOOD adds the offset of the middle without turning it, and so does this."""
    poses = np.array([[*(v.location + v.center), *v.angle] for v in vehicles.values()]).reshape(-1, 6)
    return Boxes(
        ids=np.array(list(vehicles), np.int64),
        world_from_box=world_from_body(poses),
        half_size=np.array([vehicle.extent for vehicle in vehicles.values()]).reshape(-1, 3),
    )


def _cameras(files: AgentFiles, document: AgentDocument) -> dict[int, CameraView]:
    """Those with a picture and a calibration."""
    return {
        number: _camera(files, number, document.cameras[number])
        for number in files.cameras
        if number in document.cameras
    }


def _camera(files: AgentFiles, number: int, calibration: CameraCalibration) -> CameraView:
    source = f"{files.yaml_path}: camera{number}"
    with np.errstate(over="ignore", invalid="ignore"):
        if not is_rotation(calibration.extrinsic):
            found = "one that mirrors" if np.linalg.det(calibration.extrinsic) < 0 else "something else"
            raise UserError(f"{source}.extrinsic: expected a rotation and a translation, got {found}")
    rig = lidar_from_camera(calibration.extrinsic)
    camera = CameraView(files.image_path(number), calibration.intrinsic, rig)
    (width, height), expected = picture_size(camera.image_path), native_size(camera)
    if (width, height) != expected:
        text = f"expected a picture of {expected[0]}x{expected[1]}, twice the principal point, got {width}x{height}"
        raise UserError(f"{source}.intrinsic: {text}")
    return camera
