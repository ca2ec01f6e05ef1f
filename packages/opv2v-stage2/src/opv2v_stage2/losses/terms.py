"""The loss: its terms by name, and their weighted sum."""

from collections.abc import Iterator
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from opv2v_stage2.config import LossSettings
from opv2v_stage2.losses.box_loss import box_loss
from opv2v_stage2.losses.depth_loss import l1_depth_loss, log_ray_depth_loss
from opv2v_stage2.losses.height_loss import height_above_ground, height_loss
from opv2v_stage2.losses.pose_consistency import PairwisePoseConsistencyLoss
from opv2v_stage2.losses.scale_distill_loss import literal_scale_distill_loss, scale_distill_loss, scale_loss
from opv2v_stage2.losses.targets import Predicted, Targets
from opv2v_stage2.losses.validity_loss import validity_loss

Stage = Literal["stage1", "stage2"]
Scalar = Float[Tensor, ""]
Term = tuple[str, float, Scalar]
"""Name, weight, value."""


def total_loss(predicted: Predicted, targets: Targets, settings: LossSettings, stage: Stage) -> dict[str, Scalar]:
    """The terms, unweighted, and their weighted sum as `loss`. Terms of weight 0 are left out.

    Distillation and what ties vehicles together belong to stage 2; there, too, they are left out without a teacher, or
    with one vehicle.
    """
    terms = [*_pixel_terms(predicted, targets, settings), *_pose_terms(predicted, targets, settings, stage)]
    if stage == "stage2" and targets.teacher is not None and settings.scale_distill_weight > 0:
        terms += _distillation_terms(predicted, targets, settings)
    loss = sum((weight * value for _, weight, value in terms), start=predicted.depth.new_zeros(()))
    return {name: value for name, _, value in terms} | {"loss": loss}


def _pixel_terms(predicted: Predicted, targets: Targets, settings: LossSettings) -> Iterator[Term]:
    if settings.depth_weight > 0:
        yield "depth", settings.depth_weight, _depth(predicted, targets, settings)
    if settings.mask != "off" and settings.mask_weight > 0:
        validity = validity_loss(predicted.validity_logits, targets.labelled, targets.negative, mode=settings.mask)
        yield "mask", settings.mask_weight, validity
    height = settings.height
    if height.mode != "off" and height.weight > 0:
        height_m = height_above_ground(predicted.points_camera, targets.camera_up, targets.camera_height)
        high = height_loss(height_m, predicted.validity_logits, ~targets.labelled, mode=height.mode, z_max=height.z_max)
        yield "height", height.weight, high
    if settings.scale_weight > 0:
        yield "scale", settings.scale_weight, scale_loss(predicted, targets)
    if settings.box_weight > 0:
        yield "box", settings.box_weight, box_loss(predicted, targets)
    if predicted.rays.requires_grad:  # nobody told the model its intrinsics
        yield "rays", 1.0, (1 - (predicted.rays * targets.rays).sum(-1)).mean()


def _depth(predicted: Predicted, targets: Targets, settings: LossSettings) -> Scalar:
    if settings.depth_form == "l1":
        return l1_depth_loss(predicted.depth_z, targets.depth_z, mask_aware=settings.mask_aware)
    return log_ray_depth_loss(
        predicted.depth,
        targets.depth_ray,
        predicted.confidence,
        mask_aware=settings.mask_aware,
        range_balance=settings.range_balance,
        min_labels=settings.min_labels,
        confidence_weight=settings.confidence_weight,
    )


def _pose_terms(predicted: Predicted, targets: Targets, settings: LossSettings, stage: Stage) -> Iterator[Term]:
    consistency = PairwisePoseConsistencyLoss(
        pairs=settings.pose_pairs,
        relative=settings.pose_relative,
        target=settings.pose_target,
        normalise_m=settings.pose_normalise_m,
    )
    if settings.pose_weight > 0:
        yield "pose", settings.pose_weight, consistency.intra(predicted.camera_pose, targets)
    if stage == "stage2" and len(targets.vehicles) > 1 and settings.coop_consistency_weight > 0:
        yield "consistency", settings.coop_consistency_weight, consistency.cross(predicted.camera_pose, targets)


def _distillation_terms(predicted: Predicted, targets: Targets, settings: LossSettings) -> Iterator[Term]:
    teacher, weight = targets.teacher, settings.scale_distill_weight
    if settings.scale_distill_form == "literal":
        yield "scale_distill", weight, literal_scale_distill_loss(predicted.scale, teacher.scale)
        return
    scale, local, pose = scale_distill_loss(
        predicted,
        targets,
        teacher,
        temperature=settings.scale_distill_temperature,
        detach=settings.scale_distill_detach,
        lidar_anchor=settings.lidar_anchor,
    )
    yield "scale_distill", weight, scale
    if settings.distill_local_weight > 0:
        yield "distill_local", weight * settings.distill_local_weight, local
    if settings.distill_pose_weight > 0:
        yield "distill_pose", weight * settings.distill_pose_weight, pose
