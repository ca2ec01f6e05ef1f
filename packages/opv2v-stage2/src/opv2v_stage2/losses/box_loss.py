"""Points on vehicles lie on the surfaces of the vehicles' boxes, whoever sees them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from opv2v_stage2.losses.robust import knee, masked_mean
from opv2v_stage2.losses.targets import Predicted, Targets
from opv2v_stage2.rotations import inverse_rigid

MARGIN_M = 0.15
"""A label is on a vehicle up to so far outside its box."""
RAY_SHARE = 0.8
"""Rays meet a box shrunk to this: above bonnets and beside mirrors a box is empty."""
KNEE_M = 0.2
"""Where the distance goes from square to linear."""


def box_loss(predicted: Predicted, targets: Targets) -> Float[Tensor, ""]:
    """Mean over pixels on vehicles of how far their points are from the surface of the vehicle's box.

    Points go to the main vehicle's lidar frame by the predicted poses, so that one car seen by two vehicles ties them
    together. Without a pixel on a vehicle the loss and its gradient are 0.
    """
    with torch.no_grad():
        box = assigned_boxes(targets)
    on_box = box >= 0
    sample, view, row, column = on_box.nonzero(as_tuple=True)
    lidar_from_camera = targets.rig_pose[:, :1] @ predicted.camera_pose
    box_from_lidar = inverse_rigid(targets.first_lidar_from_box)
    number = box[on_box]
    box_from_camera = box_from_lidar[sample, number] @ lidar_from_camera[sample, view]
    point = predicted.points_camera[sample, view, row, column]
    in_box = (box_from_camera[:, :3, :3] @ point[..., None])[..., 0] + box_from_camera[:, :3, 3]
    distance = knee(signed_distance(in_box, targets.half_size[sample, number]).abs(), KNEE_M)
    return masked_mean(distance, torch.ones_like(distance, dtype=torch.bool))


def signed_distance(
    points: Float[Tensor, "*batch 3"], half_size: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch"]:
    """Metres from the surface of a box around the origin, negative inside."""
    beyond = points.abs() - half_size
    return torch.linalg.vector_norm(beyond.relu(), dim=-1) + beyond.amax(-1).clamp(max=0)


def assigned_boxes(targets: Targets) -> Int[Tensor, "samples views height width"]:
    """The box that each pixel shows, -1 for none.

    A labelled pixel shows the box that its label is in. One without a label shows the first box that its ray meets, if
    the picture has labels in that box, and more of them than labels before it: otherwise something may stand before it.
    """
    lidar_from_camera = targets.rig_pose[:, :1] @ targets.camera_pose
    by_label = torch.full(targets.depth_z.shape, -1, device=targets.depth_z.device)
    by_ray, nearest_m = by_label.clone(), torch.full_like(targets.depth_z, torch.inf)
    for number in targets.box_exists.any(0).nonzero()[:, 0].tolist():
        box_from_camera = inverse_rigid(targets.first_lidar_from_box[:, None, number]) @ lidar_from_camera
        half_size = targets.half_size[:, number, None, None, None]
        exists = targets.box_exists[:, number, None, None, None]
        rays = torch.einsum("svij,svhwj->svhwi", box_from_camera[..., :3, :3], targets.rays)
        origin = box_from_camera[:, :, None, None, :3, 3].expand_as(rays)
        points = origin + targets.depth_ray[..., None] * rays
        is_inside = exists & targets.labelled & (signed_distance(points, half_size) <= MARGIN_M)
        by_label[is_inside] = number

        entry_m = _entry(origin, rays, RAY_SHARE * half_size)
        is_before = targets.labelled & ~is_inside & (targets.depth_ray < entry_m) & entry_m.isfinite()
        is_seen = _count(is_inside) > _count(is_before)
        is_nearest = exists & is_seen & (entry_m < nearest_m)
        by_ray[is_nearest] = number
        nearest_m = torch.where(is_nearest, entry_m, nearest_m)
    return torch.where(targets.labelled, by_label, by_ray)


def _entry(
    origin: Float[Tensor, "*batch 3"], rays: Float[Tensor, "*batch 3"], half_size: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch"]:
    """Metres along the ray to the front of a box around 0, inf where the ray misses it or begins in it."""
    slope = torch.where(rays.abs() < 1e-9, 1e-9, rays)
    first, last = (-half_size - origin) / slope, (half_size - origin) / slope
    enters = torch.minimum(first, last).amax(-1)
    leaves = torch.maximum(first, last).amin(-1)
    return torch.where((enters > 0) & (enters <= leaves), enters, torch.inf)


def _count(mask: Bool[Tensor, "samples views height width"]) -> Int[Tensor, "samples views 1 1"]:
    return mask.sum((-1, -2), keepdim=True)
