"""What a model takes and gives: MapAnything's keys, one dict per picture, and the same stacked over pictures.

A view that goes in. B samples; every view of a list has the same B, height and width:

| key | value |
|---|---|
| `img` | (B, 3, H, W), normalised as `data_norm_type` says |
| `data_norm_type` | `["dinov2"]`: ImageNet's mean and deviation |
| `intrinsics` | (B, 3, 3) pixels, optional; the edge of the picture is 0, the first pixel's centre (0.5, 0.5) |
| `camera_poses` | (B, 4, 4) world_from_camera, OpenCV axes, optional; the world may be any |
| `depth_z` | (B, H, W) metres along the camera's axis, 0 for none, optional |
| `is_metric_scale` | (B,) bool |
| `agent_index`, `camera_index` | (B,) whose camera, and which; ours, no key of MapAnything's |
| `rig_poses` | (B, 4, 4) lidar_from_camera, optional; ours |
| `pose_std` | (B, 2) standard deviation of `camera_poses` between vehicles, metres and degrees, optional; ours |

A prediction that comes out: `pts3d` (B, H, W, 3) in the camera frame of the first view, `pts3d_cam` in its own,
`ray_directions` (B, H, W, 3) of length 1, `depth_along_ray` (B, H, W, 1), `cam_trans` (B, 3), `cam_quats` (B, 4) xyzw,
`metric_scaling_factor` (B, 1), `conf` (B, H, W) >= 1, `non_ambiguous_mask` (B, H, W) bool, `non_ambiguous_mask_logits`.
`infer` adds `img_no_norm` (B, H, W, 3), `depth_z` (B, H, W, 1), `intrinsics`, `camera_poses` (B, 4, 4) and, only with
`apply_mask`, `mask` (B, H, W, 1). All lengths are metres: the scale factor has been multiplied in.

Source: facebookresearch/map-anything 1.1, commit f7ebafb.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from opv2v_stage2.rotations import matrix_of_pose

View = Mapping[str, Any]
Prediction = dict[str, Tensor]

OUR_KEYS = ("agent_index", "camera_index", "rig_poses", "pose_std")
"""What MapAnything does not take."""


class ReconstructionModel(Protocol):
    """What training, evaluation and prediction need of a model."""

    def forward(self, views: Sequence[View]) -> list[Prediction]:
        """With gradients."""
        ...

    def infer(self, views: Sequence[View], *, apply_mask: bool = True) -> list[Prediction]:
        """Without gradients, in eval mode; the views stay as they are."""
        ...


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The predictions of all views of some samples, stacked."""

    rays: Float[Tensor, "samples views height width 3"]
    """Unit vectors in each camera's frame."""
    depth: Float[Tensor, "samples views height width"]
    """Metres along the ray."""
    camera_pose: Float[Tensor, "samples views 4 4"]
    """first_camera_from_camera."""
    scale: Float[Tensor, " samples"]
    """The scale factor, which is part of `depth` and `camera_pose` already."""
    confidence: Float[Tensor, "samples views height width"]
    validity_logits: Float[Tensor, "samples views height width"]

    @property
    def depth_z(self) -> Float[Tensor, "samples views height width"]:
        """Metres along the camera's axis."""
        return self.depth * self.rays[..., 2]

    @property
    def points_camera(self) -> Float[Tensor, "samples views height width 3"]:
        """In each camera's frame."""
        return self.depth[..., None] * self.rays

    @property
    def points(self) -> Float[Tensor, "samples views height width 3"]:
        """In the frame of the first camera."""
        rotation, translation = self.camera_pose[..., :3, :3], self.camera_pose[..., :3, 3]
        return torch.einsum("svij,svhwj->svhwi", rotation, self.points_camera) + translation[:, :, None, None]

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Reconstruction":
        """Stack what a model gave for each view."""

        def stacked(key: str) -> Tensor:
            return torch.stack([view[key] for view in predictions], dim=1)

        return cls(
            rays=stacked("ray_directions"),
            depth=stacked("depth_along_ray")[..., 0],
            camera_pose=matrix_of_pose(stacked("cam_quats"), stacked("cam_trans")),
            scale=predictions[0]["metric_scaling_factor"][:, 0],
            confidence=stacked("conf"),
            validity_logits=stacked("non_ambiguous_mask_logits"),
        )
