"""What a loss must not depend on: the world that poses are told in, how scale and shape are split, unlabelled pixels.

The request's own forms stand beside the corrected ones, for comparison. Everything is computed in double precision.
"""

import dataclasses
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from opv2v_stage2.diagnose.check import Check, at_most, compared, more_than
from opv2v_stage2.diagnose.subject import Case
from opv2v_stage2.losses.depth_loss import l1_depth_loss, log_ray_depth_loss
from opv2v_stage2.losses.pose_consistency import PairwisePoseConsistencyLoss, pose_errors
from opv2v_stage2.losses.scale_distill_loss import literal_scale_distill_loss, scale_distill_loss
from opv2v_stage2.losses.targets import Targets, TeacherTargets
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.rotations import inverse_rigid, relative_pose, rigid, yaw_matrix
from opv2v_stage2.teacher import EXACT, Teacher
from opv2v_stage2.train import by_sample
from opv2v_stage2.trained import TrainedRun
from opv2v_stage2.views import make_targets, make_views

LOSSES = "losses"
SAME = 1e-6
"""Relative difference that double precision may leave."""
FAR_M, TURN_DEG = 600.0, 1.0
"""The common motion: as far from the origin as the motorway of the request's worst frame, turned a little."""
FACTOR = 1.7
"""Between two ways to split scale and shape."""


def gauge_checks(trained: TrainedRun, case: Case, seed: int) -> Iterator[Check]:
    """On what the newest model says of a moment with two vehicles, and what it should say."""
    predicted, targets = predicted_and_targets(trained, case)
    yield from motion_checks(predicted, targets)
    yield from split_checks(predicted, targets)
    yield from mask_checks(predicted, targets, seed)


def predicted_and_targets(trained: TrainedRun, case: Case) -> tuple[Reconstruction, Targets]:
    """Of the newest model; the oldest is the teacher."""
    store, sample, modality, device = case.moment.store, case.moment.sample, trained.settings.modality, trained.device
    arguments = (store, [sample], modality, EXACT, (), device)
    found = Reconstruction.of(trained.model(trained.stages[-1]).infer(make_views(*arguments), apply_mask=False))
    answers = Teacher(trained.model(trained.stages[0]), modality).answers(store, list(sample.rows), device)
    targets = make_targets(*arguments, dense=False, teacher=by_sample(answers, [sample]))
    return _double(found), _double(dataclasses.replace(targets, teacher=_double(targets.teacher)))


def motion_checks(predicted: Reconstruction, targets: Targets) -> Iterator[Check]:
    """All predicted poses moved alike: vehicles are where they were relative to one another."""
    yaw = torch.tensor(math.radians(TURN_DEG), dtype=torch.float64, device=predicted.depth.device)
    motion = rigid(yaw_matrix(yaw), yaw.new_tensor([FAR_M, -FAR_M / 10, 0.0]))
    # Some way off the truth, so that the loss has something to say.
    poses = predicted.camera_pose.clone()
    poses[:, targets.vehicles[1], 0, 3] += 1.0
    loss = PairwisePoseConsistencyLoss()
    before, after = loss.cross(poses, targets), loss.cross(motion @ poses, targets)
    said = f"all poses moved by {FAR_M:g} m and {TURN_DEG:g} deg"
    yield more_than(LOSSES, "consistency of vehicles that are 1 m off", float(before), 0.0)
    yield at_most(LOSSES, f"consistency, {said}: relative change", _relative(after, before), SAME)
    right_m, literal_m = (_change_m(poses, motion @ poses, literal=literal) for literal in (False, True))
    yield at_most(LOSSES, f"inverse(P_i) P_j, {said}: change", right_m, SAME, "m")
    yield compared(LOSSES, f"the request's P_i inverse(P_j), {said}: change", literal_m, "m")


def split_checks(predicted: Reconstruction, targets: Targets) -> Iterator[Check]:
    """The scale factor k times as large and the shape k times as small: the same metric points."""
    # Not the teacher's own points, whose distillation would be 0 whatever became of them; and all of them valid.
    teacher = dataclasses.replace(targets.teacher, validity=torch.ones_like(targets.teacher.validity))
    student = dataclasses.replace(
        predicted, depth=1.3 * predicted.depth, validity_logits=torch.ones_like(predicted.validity_logits)
    )
    split = dataclasses.replace(student, scale=FACTOR * student.scale)
    before, after = (scale_distill_loss(one, targets, teacher).scale for one in (student, split))
    said = f"scale factor x {FACTOR:g}, shape / {FACTOR:g}"
    yield at_most(LOSSES, f"scale distillation, {said}: relative change", _relative(after, before), SAME)
    literal = [literal_scale_distill_loss(one.scale, teacher.scale) for one in (student, split)]
    yield compared(
        LOSSES, f"the request's |m - m_teacher|, {said}: change", float((literal[1] - literal[0]).abs()), "m"
    )

    leaves = {name: getattr(student, name).detach().requires_grad_() for name in ("depth", "camera_pose", "scale")}
    loss = scale_distill_loss(dataclasses.replace(student, **leaves), targets, teacher).scale
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True))
    yield at_most(LOSSES, "scale distillation: gradient on depth", _size(gradients["depth"]), 0.0)
    yield at_most(LOSSES, "scale distillation: gradient on poses", _size(gradients["camera_pose"]), 0.0)
    yield more_than(LOSSES, "scale distillation: gradient on the scale factor", _size(gradients["scale"]), 0.0)


def mask_checks(predicted: Reconstruction, targets: Targets, seed: int) -> Iterator[Check]:
    """Anything at all where there is no label."""
    generator = torch.Generator().manual_seed(seed)
    noise = 100 * torch.rand(predicted.depth.shape, generator=generator, dtype=torch.float64).to(predicted.depth.device)
    depths = [predicted.depth, torch.where(targets.labelled, predicted.depth, noise)]
    found = [_depth_loss(depth, targets, predicted.confidence) for depth in depths]
    said = "other depths at unlabelled pixels"
    yield at_most(LOSSES, f"mask-aware depth, {said}: change", float((found[1][0] - found[0][0]).abs()), 0.0)
    yield at_most(LOSSES, f"mask-aware depth, {said}: change of its gradient", _size(found[1][1] - found[0][1]), 0.0)
    yield at_most(LOSSES, "mask-aware depth: gradient at unlabelled pixels", _size(found[1][1][~targets.labelled]), 0.0)
    yield more_than(LOSSES, "mask-aware depth: gradient at labels", _size(found[1][1][targets.labelled]), 0.0)
    axis = predicted.rays[..., 2]
    zeros = [l1_depth_loss(depth * axis, targets.depth_z, mask_aware=False) for depth in depths]
    yield compared(LOSSES, f"zeros in the L1 loss, {said}: change", float((zeros[1] - zeros[0]).abs()), "m")


def _depth_loss(depth: Tensor, targets: Targets, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient."""
    leaf = depth.detach().requires_grad_()
    loss = log_ray_depth_loss(leaf, targets.depth_ray, confidence)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient


def _change_m(before: Tensor, after: Tensor, *, literal: bool) -> float:
    """By how much the translation between the front cameras of the first two vehicles changes."""

    def between(poses: Float[Tensor, "samples views 4 4"]) -> Tensor:
        i, j = poses[:, 0], poses[:, 4]
        return i @ inverse_rigid(j) if literal else relative_pose(i, j)

    return float(pose_errors(between(before), between(after))[1].max())


def _relative(after: Tensor, before: Tensor) -> float:
    return float((after - before).abs() / before.abs())


def _size(gradient: Tensor | None) -> float:
    """Largest absolute value; 0 of nothing."""
    return 0.0 if gradient is None or gradient.numel() == 0 else float(gradient.abs().max())


def _double(values: Reconstruction | Targets | TeacherTargets) -> Reconstruction | Targets | TeacherTargets:
    """The same with every float32 tensor in double precision."""
    tensors = {
        name: value.double()
        for name, value in vars(values).items()
        if isinstance(value, Tensor) and value.dtype == torch.float32
    }
    return dataclasses.replace(values, **tensors)
