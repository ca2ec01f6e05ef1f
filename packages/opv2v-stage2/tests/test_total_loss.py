"""The sum of the terms: which ones there are, their weights, and what a step of it does."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from opv2v_stage2.config import HeightSettings, LossSettings, TrainSettings
from opv2v_stage2.losses import total_loss
from opv2v_stage2.rotations import rigid, rotation_from_vector

ALL_ON = LossSettings(box_weight=0.1)
BOTH_STAGES = {"depth", "mask", "height", "scale", "box", "pose"}
STAGE2 = {"scale_distill", "distill_local", "distill_pose", "consistency"}


def wrong(reconstruction, seed=0):
    """The reconstruction with errors everywhere, its leaves requiring gradients."""
    rng = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return 0.2 * torch.randn(*shape, generator=rng)

    poses = reconstruction.camera_pose
    turned = poses[..., :3, :3] @ rotation_from_vector(noise(*poses.shape[:2], 3))
    leaves = {
        "depth": reconstruction.depth * noise(*reconstruction.depth.shape).exp(),
        "camera_pose": rigid(turned, poses[..., :3, 3] + noise(*poses.shape[:2], 3)),
        "scale": reconstruction.scale * 1.3,
        "validity_logits": reconstruction.validity_logits + noise(*reconstruction.depth.shape),
    }
    return dataclasses.replace(reconstruction, **{name: leaf.requires_grad_() for name, leaf in leaves.items()})


@pytest.mark.parametrize(
    ("stage", "agents", "has_teacher", "expected"),
    [
        ("stage1", 2, True, BOTH_STAGES),
        ("stage2", 2, True, BOTH_STAGES | STAGE2),
        ("stage2", 2, False, BOTH_STAGES | {"consistency"}),
        ("stage2", 1, True, BOTH_STAGES | STAGE2 - {"consistency"}),
    ],
)
def test_terms_between_vehicles_and_of_a_teacher_are_there_where_they_belong(
    perfect_scene, stage, agents, has_teacher, expected
):
    reconstruction, targets = perfect_scene(agents=agents, coverage=0.5)
    targets = targets if has_teacher else dataclasses.replace(targets, teacher=None)
    assert set(total_loss(reconstruction, targets, ALL_ON, stage)) == expected | {"loss"}


def test_the_loss_is_the_weighted_sum_of_its_terms(perfect_scene):
    reconstruction, targets = perfect_scene(coverage=0.5)
    terms = total_loss(wrong(reconstruction), targets, ALL_ON, "stage2")
    weights = {
        "depth": 1.0,
        "mask": 0.3,
        "height": 0.03,
        "scale": 0.1,
        "box": 0.1,
        "pose": 0.3,
        "consistency": 0.3,
        "scale_distill": 0.1,
        "distill_local": 0.1 * 0.3,
        "distill_pose": 0.1 * 0.1,
    }
    assert_close(terms["loss"], sum(weight * terms[name] for name, weight in weights.items()))
    assert all(value > 0 for name, value in terms.items() if name != "box")


def test_terms_of_weight_zero_are_not_computed(perfect_scene):
    reconstruction, targets = perfect_scene()
    none = LossSettings(
        depth_weight=0.0,
        mask="off",
        height=HeightSettings(mode="off"),
        scale_weight=0.0,
        scale_distill_weight=0.0,
        pose_weight=0.0,
        coop_consistency_weight=0.0,
    )
    assert total_loss(reconstruction, targets, none, "stage2") == {"loss": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depth_form": "l1", "mask_aware": False, "mask": "upstream"},
        {"height": HeightSettings(mode="depth")},
        {"scale_distill_form": "literal"},
        {"scale_distill_detach": False, "lidar_anchor": False},
        {"pose_pairs": "views", "pose_relative": "i_inv_j"},
        {"pose_target": "prior"},
        {"confidence_weight": 0.2, "range_balance": False},
    ],
)
def test_every_switch_has_a_finite_loss_and_gradient(perfect_scene, changes):
    reconstruction, targets = perfect_scene(samples=2, coverage=0.3)
    made = wrong(reconstruction)
    terms = total_loss(made, targets, dataclasses.replace(ALL_ON, **changes), "stage2")
    terms["loss"].backward()
    assert all(value.isfinite() for value in terms.values())
    for leaf in (made.depth, made.camera_pose, made.validity_logits, made.scale):
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0


def test_a_prior_is_no_target_where_there_is_none():
    loss = LossSettings(pose_target="prior")
    assert TrainSettings(modality="gps", loss=loss).loss == loss
    with pytest.raises(ValueError, match=r"loss\.pose_target: expected truth where the modality has no poses"):
        TrainSettings(modality="rig", loss=loss)


def test_a_batch_without_a_label_has_finite_gradients(perfect_scene):
    reconstruction, targets = perfect_scene(coverage=0.0)
    made = wrong(reconstruction)
    terms = total_loss(made, targets, ALL_ON, "stage2")
    terms["loss"].backward()
    assert terms["depth"] == terms["scale"] == terms["box"] == 0
    assert all(leaf.grad.isfinite().all() for leaf in (made.depth, made.camera_pose, made.validity_logits))


def test_infinite_and_unknown_depths_of_the_truth_are_no_labels(perfect_scene):
    reconstruction, targets = perfect_scene()
    depth_z = targets.depth_z.clone()
    depth_z[..., 0, 0], depth_z[..., 0, 1] = math.inf, math.nan
    targets = dataclasses.replace(targets, depth_z=depth_z)
    assert not targets.labelled[..., 0, :2].any()
    assert (targets.depth_ray[..., 0, :2] == 0).all()
    assert total_loss(reconstruction, targets, ALL_ON, "stage2")["loss"].isfinite()


def test_descending_the_loss_brings_depth_and_poses_to_the_truth(perfect_scene):
    reconstruction, targets = perfect_scene(height=3, width=4)
    rng = torch.Generator().manual_seed(0)
    log_error = (0.3 * torch.randn(reconstruction.depth.shape, generator=rng)).requires_grad_()
    turn = (0.2 * torch.randn(1, 8, 3, generator=rng)).requires_grad_()
    shift = torch.randn(1, 8, 3, generator=rng).requires_grad_()
    optimizer = torch.optim.Adam([log_error, turn, shift], lr=0.05)
    settings = LossSettings(height=HeightSettings(mode="off"), mask="off", scale_weight=0.0, pose_pairs="views")
    for _ in range(60):
        poses = reconstruction.camera_pose
        posed = rigid(poses[..., :3, :3] @ rotation_from_vector(turn), poses[..., :3, 3] + shift)
        made = dataclasses.replace(reconstruction, depth=reconstruction.depth * log_error.exp(), camera_pose=posed)
        optimizer.zero_grad()
        total_loss(made, targets, settings, "stage2")["loss"].backward()
        optimizer.step()
    terms = total_loss(made, targets, settings, "stage2")
    assert log_error.abs().mean() < 0.05
    assert max(terms["pose"], terms["consistency"]) < 0.02
