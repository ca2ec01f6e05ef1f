"""An exported model, ready to reconstruct: what vehicles see in, points out. Nothing here knows a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from drivelab_shared.networks import CONFIG
from opv2v_stage2.config import Modality
from opv2v_stage2.models.compact import normalised
from opv2v_stage2.models.interface import Reconstruction, View
from opv2v_stage2.storage import load_model
from opv2v_stage2.views import GPS_FLOOR_DEG, GPS_FLOOR_M, INCLUDES

NEEDS = {"intrinsics": "intrinsics", "rig_poses": "lidar_from_camera", "camera_poses": "world_from_lidar"}
"""What a model is told, and the field of a vehicle behind it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Vehicle:
    """What one vehicle sees and knows at a moment; what the modality of the model does not need may be left out."""

    pictures: UInt8[np.ndarray, "views height width 3"]
    """RGB, of any size: front, right rear, left rear, back."""
    intrinsics: Float[np.ndarray, "views 3 3"] | None = None
    """Pixels of these pictures. The edge of a picture is 0: the first pixel has its centre at (0.5, 0.5)."""
    lidar_from_camera: Float[np.ndarray, "views 4 4"] | None = None
    """OpenCV cameras to the vehicle's lidar frame: x forward, y left, z up, metres, 1.93 m above the ground."""
    world_from_lidar: Float[np.ndarray, "4 4"] | None = None
    """The pose that GPS gives, in any right-handed world that the vehicles share."""


@dataclass(frozen=True, eq=False)
class VehiclePoints:
    """What one vehicle contributes."""

    points: Float32[np.ndarray, "views height width 3"]
    """Metres, in the frame of the first vehicle's lidar, or of its first camera where nobody says how it is mounted."""
    colours: UInt8[np.ndarray, "views height width 3"]
    validity: Float32[np.ndarray, "views height width"]
    """Probability that a point is one: the sky has none."""
    main_from_camera: Float64[np.ndarray, "views 4 4"]
    """Predicted, to the same frame as the points."""


@dataclass(frozen=True, eq=False)
class Reconstructor:
    """A frozen model and how it wants to be asked."""

    model: nn.Module
    modality: Modality
    """What it is told beside pictures, as in its training."""
    size: tuple[int, int]
    """Width and height of a picture as it sees them, and of what it answers."""
    device: torch.device

    def reconstruct(
        self, vehicles: Sequence[Vehicle], *, gps_std: tuple[float, float] = (GPS_FLOOR_M, GPS_FLOOR_DEG)
    ) -> list[VehiclePoints]:
        """The surroundings of one vehicle or of several at the same moment.

        Args:
            vehicles: the main one first; all with the same number of pictures.
            gps_std: how exact their GPS is: metres along x and y, degrees of yaw.

        Raises:
            ValueError: an array has another shape, or one that the modality needs is missing.
        """
        for number, vehicle in enumerate(vehicles):
            self._check(number, vehicle, len(vehicles[0].pictures))
        small = [self._small(vehicle) for vehicle in vehicles]
        found = Reconstruction.of(self.model.infer(self._views(vehicles, small, gps_std), apply_mask=False))
        rig = vehicles[0].lidar_from_camera
        main_from_first = np.eye(4) if rig is None else np.asarray(rig[0], np.float64)
        main_from_camera = main_from_first @ found.camera_pose[0].double().cpu().numpy()
        own = found.points_camera[0].double().cpu().numpy()
        points = np.einsum("vij,vhwj->vhwi", main_from_camera[:, :3, :3], own) + main_from_camera[:, None, None, :3, 3]
        validity = found.validity_logits[0].float().sigmoid().cpu().numpy()
        parts = [np.split(array, len(vehicles)) for array in (points.astype(np.float32), validity, main_from_camera)]
        return [
            VehiclePoints(points, colours, validity, poses)
            for points, validity, poses, colours in zip(*parts, small, strict=True)
        ]

    def _check(self, number: int, vehicle: Vehicle, views: int) -> None:
        pictures = vehicle.pictures
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) != views or pictures.shape[3] != 3:
            found = f"{pictures.dtype} {list(pictures.shape)}"
            raise ValueError(f"vehicle {number}: pictures: expected uint8 [{views}, height, width, 3], got {found}")
        shapes = {"intrinsics": [views, 3, 3], "lidar_from_camera": [views, 4, 4], "world_from_lidar": [4, 4]}
        for key in INCLUDES[self.modality]:
            name, value = NEEDS[key], getattr(vehicle, NEEDS[key])
            found = None if value is None else list(np.shape(value))
            if found != shapes[name]:
                wanted = f"{shapes[name]}, which the modality {self.modality} needs"
                raise ValueError(f"vehicle {number}: {name}: expected {wanted}, got {found}")

    def _small(self, vehicle: Vehicle) -> UInt8[np.ndarray, "views height width 3"]:
        return np.stack([cv2.resize(one, self.size, interpolation=cv2.INTER_AREA) for one in vehicle.pictures])

    def _views(
        self, vehicles: Sequence[Vehicle], small: Sequence[UInt8[np.ndarray, "..."]], gps_std: tuple[float, float]
    ) -> list[View]:
        """One dict per picture; see `models.interface`."""
        included = INCLUDES[self.modality]
        views: list[View] = []
        for number, (vehicle, pictures) in enumerate(zip(vehicles, small, strict=True)):
            images = normalised(torch.from_numpy(pictures).to(self.device).movedim(-1, 1).float() / 255)
            for camera in range(len(pictures)):
                view = {
                    "img": images[camera][None],
                    "data_norm_type": ["dinov2"],
                    "is_metric_scale": torch.ones(1, dtype=torch.bool, device=self.device),
                    "agent_index": torch.tensor([number], device=self.device),
                    "camera_index": torch.tensor([camera], device=self.device),
                }
                if "intrinsics" in included:
                    view["intrinsics"] = self._tensor(self._scale(vehicle) @ vehicle.intrinsics[camera])
                if "rig_poses" in included:
                    view["rig_poses"] = self._tensor(vehicle.lidar_from_camera[camera])
                if "camera_poses" in included:
                    main_from_lidar = np.linalg.inv(vehicles[0].world_from_lidar) @ vehicle.world_from_lidar
                    view["camera_poses"] = self._tensor(main_from_lidar @ vehicle.lidar_from_camera[camera])
                    view["pose_std"] = self._tensor(gps_std)
                views.append(view)
        return views

    def _scale(self, vehicle: Vehicle) -> Float64[np.ndarray, "3 3"]:
        """From pixels of the vehicle's pictures to those of the model's."""
        height, width = vehicle.pictures.shape[1:3]
        return np.diag([self.size[0] / width, self.size[1] / height, 1.0])

    def _tensor(self, values: object) -> Tensor:
        """With an axis of one sample in front."""
        return torch.tensor(np.asarray(values, np.float32), device=self.device)[None]


def load_reconstructor(folder: Path | str, device: str = "cpu") -> Reconstructor:
    """The model of an exported folder.

    Raises:
        UserError: there is none, or something else.
    """
    folder = Path(folder)
    model, settings, facts = load_model(folder)
    modality = facts.get("modality")
    if not isinstance(modality, str) or modality not in INCLUDES:
        expected = "a model that `export` has written, which says its modality"
        raise UserError(f"{folder / CONFIG}: facts.modality: expected {expected}, got {modality!r:.40}")
    chosen = torch.device(device)
    return Reconstructor(freeze(model.to(chosen)), modality, (settings.width, settings.height), chosen)
