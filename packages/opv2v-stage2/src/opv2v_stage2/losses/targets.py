"""What is compared: a reconstruction, of which losses know no more than this, and what it should be."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from opv2v_stage2.geometry import LIDAR_HEIGHT_M


@runtime_checkable
class Predicted(Protocol):
    """`models.interface.Reconstruction`, which says what each of these is."""

    @property
    def rays(self) -> Float[Tensor, "samples views height width 3"]: ...  # noqa: D102
    @property
    def depth(self) -> Float[Tensor, "samples views height width"]: ...  # noqa: D102
    @property
    def depth_z(self) -> Float[Tensor, "samples views height width"]: ...  # noqa: D102
    @property
    def points_camera(self) -> Float[Tensor, "samples views height width 3"]: ...  # noqa: D102
    @property
    def camera_pose(self) -> Float[Tensor, "samples views 4 4"]: ...  # noqa: D102
    @property
    def scale(self) -> Float[Tensor, " samples"]: ...  # noqa: D102
    @property
    def confidence(self) -> Float[Tensor, "samples views height width"]: ...  # noqa: D102
    @property
    def validity_logits(self) -> Float[Tensor, "samples views height width"]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class TeacherTargets:
    """What a teacher says of each vehicle alone. `views` counts the pictures of all vehicles of a sample."""

    depth: Float[Tensor, "samples views height width"]
    """Metres along the ray."""
    validity: Float[Tensor, "samples views height width"]
    """Probability."""
    confidence: Float[Tensor, "samples views height width"]
    camera_pose: Float[Tensor, "samples views 4 4"]
    """camera 0 of the same vehicle from the camera."""
    scale: Float[Tensor, "samples agents"]
    """Its scale factor for each vehicle."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels and geometry of some samples; views as in `models.interface.Reconstruction`."""

    depth_z: Float[Tensor, "samples views height width"]
    """Metres along the camera's axis, 0 where there is no label."""
    rays: Float[Tensor, "samples views height width 3"]
    """True unit vectors of the pixels in each camera's frame."""
    negative: Bool[Tensor, "samples views height width"]
    """Known to be sky."""
    camera_pose: Float[Tensor, "samples views 4 4"]
    """first_camera_from_camera."""
    prior_pose: Float[Tensor, "samples views 4 4"] | None
    """The same as GPS has it."""
    pose_std: Float[Tensor, "samples views 2"] | None
    """Standard deviation of each vehicle's GPS: metres, degrees."""
    rig_pose: Float[Tensor, "samples views 4 4"]
    """lidar_from_camera of the camera's own vehicle."""
    agent_index: Int[Tensor, "samples views"]
    """Whose camera; 0 is the main vehicle."""
    first_lidar_from_box: Float[Tensor, "samples boxes 4 4"]
    """In the frame of the main vehicle's lidar."""
    half_size: Float[Tensor, "samples boxes 3"]
    """Metres along the axes of the box."""
    box_exists: Bool[Tensor, "samples boxes"]
    teacher: TeacherTargets | None = None

    @cached_property
    def labelled(self) -> Bool[Tensor, "samples views height width"]:
        """Where depth is known."""
        return (self.depth_z > 0) & self.depth_z.isfinite()

    @cached_property
    def depth_ray(self) -> Float[Tensor, "samples views height width"]:
        """Metres along the ray, 0 where there is no label."""
        return torch.where(self.labelled, self.depth_z / self.rays[..., 2], 0.0)

    @property
    def camera_up(self) -> Float[Tensor, "samples views 3"]:
        """Away from the ground, in each camera's frame."""
        return self.rig_pose[..., 2, :3]

    @property
    def camera_height(self) -> Float[Tensor, "samples views"]:
        """Metres above the ground, of cameras on vehicles as OPV2V has them."""
        return self.rig_pose[..., 2, 3] + LIDAR_HEIGHT_M

    @cached_property
    def vehicles(self) -> list[list[int]]:
        """The views of each vehicle, the main one's first; the same in all samples."""
        owners = self.agent_index[0].tolist()
        return [[view for view, owner in enumerate(owners) if owner == agent] for agent in dict.fromkeys(owners)]
