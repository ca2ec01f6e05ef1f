"""Scale distillation: by hand, its gauge, what its gradient reaches, and the lidar's correction."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from opv2v_stage2.losses.robust import barron
from opv2v_stage2.losses.scale_distill_loss import literal_scale_distill_loss, scale_distill_loss, scale_loss
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.rotations import rigid

DOUBLE = torch.float64


def rescaled(reconstruction, factor):
    """The same scene, larger; the scale factor follows."""
    return dataclasses.replace(
        reconstruction,
        depth=factor * reconstruction.depth,
        camera_pose=rigid(reconstruction.camera_pose[..., :3, :3], factor * reconstruction.camera_pose[..., :3, 3]),
        scale=factor * reconstruction.scale,
    )


def with_gradients(reconstruction):
    """The reconstruction as scale factor times shape, and its leaves: scale, shape of depth, shape of poses."""
    scale = reconstruction.scale.clone().requires_grad_()
    depth = (reconstruction.depth / reconstruction.scale[:, None, None, None]).requires_grad_()
    trans = (reconstruction.camera_pose[..., :3, 3] / reconstruction.scale[:, None, None]).requires_grad_()
    made = dataclasses.replace(
        reconstruction,
        depth=scale[:, None, None, None] * depth,
        camera_pose=rigid(reconstruction.camera_pose[..., :3, :3], scale[:, None, None] * trans),
        scale=scale,
    )
    return made, (scale, depth, trans)


def changed_teacher(targets, **changes):
    return dataclasses.replace(targets, teacher=dataclasses.replace(targets.teacher, **changes))


def test_a_student_that_equals_its_teacher_has_no_loss(perfect_scene):
    reconstruction, targets = perfect_scene(samples=2, dtype=DOUBLE)
    losses = torch.stack(scale_distill_loss(reconstruction, targets, targets.teacher))
    assert_close(losses, torch.zeros(3, dtype=DOUBLE), atol=1e-7, rtol=0)


def test_the_log_size_is_square_up_to_the_temperature_and_linear_beyond(perfect_scene):
    reconstruction, targets = perfect_scene(dtype=DOUBLE)
    for factor, temperature in ((1.05, 0.1), (3.0, 0.1)):
        error = math.log(factor)
        by_hand = error**2 / 2 if error < temperature else temperature * (error - temperature / 2)
        scale, local, pose = scale_distill_loss(
            rescaled(reconstruction, factor), targets, targets.teacher, temperature=temperature, lidar_anchor=False
        )
        assert_close(scale, torch.tensor(by_hand, dtype=DOUBLE))
        assert_close(torch.stack([local, pose]), torch.zeros(2, dtype=DOUBLE), atol=1e-7, rtol=0)


def test_only_the_scale_factor_is_pushed(perfect_scene):
    reconstruction, targets = perfect_scene()
    made, (scale, depth, trans) = with_gradients(rescaled(reconstruction, 1.5))
    scale_distill_loss(made, targets, targets.teacher, lidar_anchor=False).scale.backward()
    # tau * Huber's slope of 1, over the scale factor of 22.5
    assert_close(scale.grad, torch.tensor([0.1 / 22.5]))
    assert (depth.grad is None) or (depth.grad == 0).all()
    assert (trans.grad is None) or (trans.grad == 0).all()


def test_without_detach_the_shape_is_pushed_too(perfect_scene):
    reconstruction, targets = perfect_scene()
    made, (_, depth, _) = with_gradients(rescaled(reconstruction, 1.5))
    scale_distill_loss(made, targets, targets.teacher, detach=False, lidar_anchor=False).scale.backward()
    assert (depth.grad > 0).any()


def test_the_loss_does_not_depend_on_how_size_is_split_into_scale_and_shape(perfect_scene):
    reconstruction, targets = perfect_scene(dtype=DOUBLE)
    reconstruction = rescaled(reconstruction, 1.3)
    other_gauge = dataclasses.replace(reconstruction, scale=7 * reconstruction.scale)
    here, there = (
        torch.stack(scale_distill_loss(made, targets, targets.teacher)) for made in (reconstruction, other_gauge)
    )
    assert_close(here, there)
    literal = [literal_scale_distill_loss(made.scale, targets.teacher.scale) for made in (reconstruction, other_gauge)]
    assert_close(torch.stack(literal), torch.tensor([0.3 * 15, 7 * 1.3 * 15 - 15], dtype=DOUBLE))


def test_local_and_pose_parts_say_nothing_about_the_size(perfect_scene):
    reconstruction, targets = perfect_scene(dtype=DOUBLE)
    bent = dataclasses.replace(reconstruction, depth=reconstruction.depth**1.1)
    made, (scale, depth, _) = with_gradients(bent)
    _, local, pose = scale_distill_loss(made, targets, targets.teacher)
    (local + pose).backward()
    assert local > 0
    assert depth.grad.abs().sum() > 0
    assert_close(scale.grad, torch.zeros(1, dtype=DOUBLE), atol=1e-9, rtol=0)


def test_the_local_part_by_hand(perfect_scene):
    reconstruction, targets = perfect_scene(agents=1, dtype=DOUBLE)
    depth = reconstruction.depth.clone()
    depth[..., 0] *= 1.2
    confidence = torch.ones_like(depth)
    confidence[..., 0] = 3.0
    confidence[..., 1] = 100.0  # counts as 20
    targets = changed_teacher(targets, confidence=confidence)
    bent = dataclasses.replace(reconstruction, depth=depth)
    sizes = [
        torch.linalg.vector_norm(made.points, dim=-1).mean((1, 2, 3))[:, None, None, None]
        for made in (bent, reconstruction)
    ]
    error = ((depth / sizes[0]).log() - (reconstruction.depth / sizes[1]).log()).abs()
    weight = confidence.clamp(max=20)
    assert_close(scale_distill_loss(bent, targets, targets.teacher).local, (weight * error).sum() / weight.sum())


def test_the_pose_part_knows_angles_and_directions(perfect_scene):
    reconstruction, targets = perfect_scene(agents=1, dtype=DOUBLE)
    poses = targets.teacher.camera_pose.clone()
    poses[:, 1, :3, :3] = poses[:, 1, :3, :3] @ torch.linalg.matrix_exp(
        torch.tensor([[0, -0.2, 0], [0.2, 0, 0], [0, 0, 0]], dtype=DOUBLE)
    )
    targets = changed_teacher(targets, camera_pose=poses)
    loss = scale_distill_loss(reconstruction, targets, targets.teacher).pose
    # Three of six pairs are off by 0.2 rad; turned translations of camera 1's own pairs come on top.
    assert loss > 0.2 * 3 / 6
    assert loss < 0.2


def test_the_lidar_corrects_a_teacher_that_is_far_off(perfect_scene):
    reconstruction, targets = perfect_scene(coverage=0.5, dtype=DOUBLE)
    teacher = targets.teacher
    poses = rigid(teacher.camera_pose[..., :3, :3], 3 * teacher.camera_pose[..., :3, 3])
    targets = changed_teacher(targets, depth=3 * teacher.depth, camera_pose=poses)
    anchored, raw = (
        scale_distill_loss(reconstruction, targets, targets.teacher, lidar_anchor=anchor).scale
        for anchor in (True, False)
    )
    assert_close(anchored, torch.tensor(0.0, dtype=DOUBLE), atol=1e-12, rtol=0)
    assert_close(raw, torch.tensor(0.1 * (math.log(3) - 0.05), dtype=DOUBLE))


def test_a_few_labels_do_not_correct_the_teacher(perfect_scene):
    reconstruction, targets = perfect_scene(agents=1, dtype=DOUBLE)
    few = torch.zeros_like(targets.depth_z)
    few[..., 0, :2] = 2 * targets.depth_z[..., 0, :2]
    targets = dataclasses.replace(targets, depth_z=few)
    assert_close(scale_distill_loss(reconstruction, targets, targets.teacher).scale, torch.tensor(0.0, dtype=DOUBLE))


def test_each_vehicle_is_compared_on_its_own(perfect_scene):
    reconstruction, targets = perfect_scene(dtype=DOUBLE)
    poses, depth = reconstruction.camera_pose.clone(), reconstruction.depth.clone()
    depth[:, 4:] *= 2
    poses[:, 4:, :3, 3] = poses[:, 4:5, :3, 3] + 2 * (poses[:, 4:, :3, 3] - poses[:, 4:5, :3, 3])
    grown = dataclasses.replace(reconstruction, depth=depth, camera_pose=poses)
    loss = scale_distill_loss(grown, targets, targets.teacher, lidar_anchor=False).scale
    assert_close(loss, torch.tensor(0.1 * (math.log(2) - 0.05) / 2, dtype=DOUBLE))


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_pixels_that_one_of_them_holds_invalid_do_not_count(perfect_scene, who):
    reconstruction, targets = perfect_scene()
    depth, logits, validity = (
        reconstruction.depth.clone(),
        reconstruction.validity_logits.clone(),
        torch.ones(1, 8, 6, 8),
    )
    depth[..., :3] = math.nan
    if who == "teacher":
        validity[..., :3] = 0.4
    else:
        logits[..., :3] = -1.0
    targets = changed_teacher(targets, validity=validity)
    made, leaves = with_gradients(dataclasses.replace(reconstruction, depth=depth, validity_logits=logits))
    loss = sum(scale_distill_loss(made, targets, targets.teacher, lidar_anchor=False))
    loss.backward()
    assert_close(loss, torch.tensor(0.0), atol=1e-5, rtol=0)
    assert (leaves[1].grad[..., :3] == 0).all()


def test_a_vehicle_of_which_nothing_is_valid_is_left_out(perfect_scene):
    reconstruction, targets = perfect_scene()
    reconstruction.validity_logits[:, 4:] = -1.0
    reconstruction.depth[:, 4:] *= 5
    losses = torch.stack(scale_distill_loss(reconstruction, targets, targets.teacher, lidar_anchor=False))
    assert_close(losses, torch.zeros(3), atol=1e-5, rtol=0)


def test_upstreams_term_compares_the_scale_with_the_labels_and_moves_nothing_else(perfect_scene):
    reconstruction, targets = perfect_scene(coverage=0.5)
    made, (scale, depth, _) = with_gradients(rescaled(reconstruction, 2.0))
    loss = scale_loss(made, targets)
    assert_close(loss, barron(torch.tensor(math.log(2))))
    loss.backward()
    assert scale.grad > 0
    assert depth.grad is None


def test_a_teachers_inference_tensors_cannot_break_backward(perfect_scene):
    reconstruction, targets = perfect_scene(coverage=0.5)
    with torch.inference_mode():
        teacher = TeacherTargets(**{name: value.clone() for name, value in vars(targets.teacher).items()})
    made, (scale, depth, trans) = with_gradients(rescaled(reconstruction, 1.5))
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        made.depth * teacher.depth
    loss = sum(scale_distill_loss(made, targets, teacher)) + literal_scale_distill_loss(made.scale, teacher.scale)
    loss.backward()
    assert all(leaf.grad.isfinite().all() for leaf in (scale, depth, trans))
