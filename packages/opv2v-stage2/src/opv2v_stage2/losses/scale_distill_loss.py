"""How large the scene is: what a teacher says of each vehicle, corrected by the lidar; and MapAnything's own term.

The scale factor alone means nothing, for only its product with the shape does. So the size of a cloud is compared: the
mean distance of its points from the vehicle's first camera.
"""

from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from opv2v_stage2.losses.pose_consistency import pose_errors
from opv2v_stage2.losses.robust import barron, masked_mean
from opv2v_stage2.losses.targets import Predicted, Targets, TeacherTargets
from opv2v_stage2.rotations import relative_pose

FEWEST_PIXELS = 16
"""A cloud of fewer points has no size."""
ANCHOR_HITS = 32
"""Fewer labels of a vehicle do not correct the teacher."""
MOST_CONFIDENT = 20.0
SMALLEST_M = 1e-3


class Distillation(NamedTuple):
    """Its three parts, each a mean over vehicles."""

    scale: Float[Tensor, ""]
    local: Float[Tensor, ""]
    pose: Float[Tensor, ""]


def scale_distill_loss(
    predicted: Predicted,
    targets: Targets,
    teacher: TeacherTargets,
    *,
    temperature: float = 0.1,
    detach: bool = True,
    lidar_anchor: bool = True,
) -> Distillation:
    """Log size of each vehicle's cloud, depths relative to it, and poses relative to it, against the teacher's.

    Pixels count that both hold valid. A vehicle with too few of them is left out.

    Args:
        predicted: the student's.
        targets: whose labels anchor the teacher.
        teacher: ordinary tensors, no inference tensors.
        temperature: where the Huber loss of the log size goes from square to linear.
        detach: only the scale factor gets a gradient from the log size.
        lidar_anchor: correct the teacher by the median of what the lidar says, where there is enough of it.
    """
    parts = [
        _of_vehicle(predicted, targets, teacher, views, temperature, detach, lidar_anchor) for views in targets.vehicles
    ]
    has_size = torch.stack([part.has_size for part in parts])
    return Distillation(*(masked_mean(torch.stack(losses), has_size) for losses in list(zip(*parts, strict=True))[1:]))


def literal_scale_distill_loss(
    scale: Float[Tensor, " samples"], teacher_scale: Float[Tensor, "samples agents"]
) -> Float[Tensor, ""]:
    """|scale factor - teacher's|, as the request has it: it moves a model that is right and splits scale otherwise."""
    return (scale[:, None] - teacher_scale).abs().mean()


def scale_loss(predicted: Predicted, targets: Targets) -> Float[Tensor, ""]:
    """Log size of the whole cloud against that of the labels; only the scale factor gets a gradient.

    Samples with fewer labels than a cloud needs are left out.

    Source: facebookresearch/map-anything:mapanything/train/losses.py, the factored loss with a metric scale.
    """
    labelled = targets.labelled
    with torch.no_grad():
        size = _size(predicted.depth, predicted.rays, predicted.camera_pose, labelled)
        true_size = _size(targets.depth_ray, targets.rays, targets.camera_pose, labelled)
        shape = size / predicted.scale
    error = (predicted.scale * shape).log() - true_size.log()
    return masked_mean(barron(error), labelled.sum((1, 2, 3)) >= FEWEST_PIXELS)


class _Vehicle(NamedTuple):
    has_size: Bool[Tensor, " samples"]
    scale: Float[Tensor, " samples"]
    local: Float[Tensor, " samples"]
    pose: Float[Tensor, " samples"]


def _of_vehicle(
    predicted: Predicted,
    targets: Targets,
    teacher: TeacherTargets,
    views: list[int],
    temperature: float,
    detach: bool,
    lidar_anchor: bool,
) -> _Vehicle:
    depth, teacher_depth = predicted.depth[:, views], teacher.depth[:, views]
    pose, teacher_pose = predicted.camera_pose[:, views], teacher.camera_pose[:, views]
    valid = (predicted.validity_logits[:, views] > 0) & (teacher.validity[:, views] > 0.5)
    has_size = valid.sum((1, 2, 3)) >= FEWEST_PIXELS
    size = _size(depth, predicted.rays[:, views], relative_pose(pose[:, :1], pose), valid)
    teacher_size = _size(teacher_depth, targets.rays[:, views], teacher_pose, valid)

    pushed = predicted.scale * (size / predicted.scale).detach() if detach else size
    anchor = _anchor(targets, views, teacher_depth) if lidar_anchor else 0.0
    error = (pushed.log() - teacher_size.log() - anchor) / temperature
    scale = temperature**2 * torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none")

    confidence = torch.where(valid, teacher.confidence[:, views].clamp(1, MOST_CONFIDENT), 0.0)
    difference = _relative_log(depth, size, valid) - _relative_log(teacher_depth, teacher_size, valid)
    local = (confidence * difference.abs()).sum((1, 2, 3)) / confidence.sum((1, 2, 3)).clamp(min=1)
    return _Vehicle(has_size, scale, local, _pose_part(pose, size, teacher_pose, teacher_size))


def _size(
    depth: Float[Tensor, "samples views height width"],
    rays: Float[Tensor, "samples views height width 3"],
    camera_pose: Float[Tensor, "samples views 4 4"],
    mask: Bool[Tensor, "samples views height width"],
) -> Float[Tensor, " samples"]:
    """Mean distance of the points from the origin of the poses, metres.

    By |d R r + t|^2 = d^2 + 2 d r . R^T t + |t|^2: the points themselves, three times as many numbers, are not needed.
    """
    rotation, translation = camera_pose[..., :3, :3], camera_pose[..., :3, 3]
    depth = torch.where(mask, depth, 0.0)
    along = (rays.flatten(2, 3) @ (rotation.mT @ translation[..., None])).view_as(depth)
    squared = depth * (depth + 2 * along) + translation.square().sum(-1)[..., None, None]
    distance = squared.clamp(min=SMALLEST_M**2).sqrt()
    return masked_mean(distance, mask, (1, 2, 3)).clamp(min=SMALLEST_M)


def _anchor(
    targets: Targets, views: list[int], teacher_depth: Float[Tensor, "samples views height width"]
) -> Float[Tensor, " samples"]:
    """Median of log true depth over the teacher's; 0 where there are too few labels."""
    with torch.no_grad():
        labelled = targets.labelled[:, views]
        ratio = targets.depth_ray[:, views].clamp(min=SMALLEST_M).log() - teacher_depth.clamp(min=SMALLEST_M).log()
        median = torch.where(labelled, ratio, torch.nan).flatten(1).nanmedian(dim=1).values
        return torch.where(labelled.sum((1, 2, 3)) >= ANCHOR_HITS, median, 0.0)


def _relative_log(
    depth: Float[Tensor, "samples views height width"],
    size: Float[Tensor, " samples"],
    valid: Bool[Tensor, "samples views height width"],
) -> Float[Tensor, "samples views height width"]:
    return torch.where(valid, depth, 1.0).clamp(min=SMALLEST_M).log() - size.log()[:, None, None, None]


def _pose_part(
    pose: Float[Tensor, "samples views 4 4"],
    size: Float[Tensor, " samples"],
    teacher_pose: Float[Tensor, "samples views 4 4"],
    teacher_size: Float[Tensor, " samples"],
) -> Float[Tensor, " samples"]:
    """Angle, and distance between translations in units of the clouds, over pairs of the vehicle's cameras."""
    pairs = list(combinations(range(pose.shape[1]), 2))
    if not pairs:
        return torch.zeros_like(size)
    i, j = (list(indices) for indices in zip(*pairs, strict=True))
    relative, teacher_relative = (relative_pose(poses[:, i], poses[:, j]) for poses in (pose, teacher_pose))
    angle, _ = pose_errors(relative, teacher_relative)
    apart = relative[..., :3, 3] / size[:, None, None] - teacher_relative[..., :3, 3] / teacher_size[:, None, None]
    return (angle + torch.linalg.vector_norm(apart, dim=-1)).mean(1)
