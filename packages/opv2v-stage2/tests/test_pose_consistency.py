"""Relative poses: the convention, what they do not depend on, and finite gradients where they are right."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from opv2v_stage2.losses.pose_consistency import KNEE, PairwisePoseConsistencyLoss, pose_errors, rig_poses
from opv2v_stage2.rotations import inverse_rigid, matrix_of_pose, rigid, yaw_matrix

DOUBLE = torch.float64


def shifted(x_m=0.0, y_m=0.0, yaw_deg=0.0):
    yaw = torch.tensor(math.radians(yaw_deg), dtype=DOUBLE)
    return rigid(yaw_matrix(yaw), torch.tensor([x_m, y_m, 0.0], dtype=DOUBLE))


def moved_vehicle(targets, lidar_from_lidar, vehicle=1):
    """Camera poses with one vehicle moved in its own lidar frame."""
    views = targets.vehicles[vehicle]
    poses, rig = targets.camera_pose.clone(), targets.rig_pose
    poses[:, views] = poses[:, views] @ inverse_rigid(rig[:, views]) @ lidar_from_lidar @ rig[:, views]
    return poses


@pytest.mark.parametrize("pairs", ["rig", "views"])
@pytest.mark.parametrize("target", ["truth", "prior"])
def test_the_loss_is_zero_at_the_truth_with_a_finite_gradient(perfect_scene, pairs, target):
    _, targets = perfect_scene()
    poses = targets.camera_pose.clone().requires_grad_()
    intra, cross = PairwisePoseConsistencyLoss(pairs=pairs, target=target)(poses, targets)
    assert_close(torch.stack([intra, cross]), torch.zeros(2), atol=1e-8, rtol=0)
    (intra + cross).backward()
    assert poses.grad.isfinite().all()


@pytest.mark.parametrize("pairs", ["rig", "views"])
@pytest.mark.parametrize(("relative", "is_invariant"), [("inv_i_j", True), ("i_inv_j", False)])
def test_only_the_right_relative_pose_forgets_the_world(perfect_scene, pairs, relative, is_invariant):
    _, targets = perfect_scene(dtype=DOUBLE)
    loss = PairwisePoseConsistencyLoss(pairs=pairs, relative=relative)
    poses = moved_vehicle(targets, shifted(1.0, -2.0, 5.0))
    quats = torch.tensor([0.1, -0.3, 0.2, 0.9], dtype=DOUBLE)
    world = matrix_of_pose(quats, torch.tensor([600.0, -50.0, 3.0], dtype=DOUBLE))
    here, there = (torch.stack(loss(given, targets)) for given in (poses, world @ poses))
    assert (here - there).abs().max() < 1e-9 if is_invariant else (here - there).abs().max() > 0.1


def test_a_degree_of_yaw_600_m_from_the_origin_adds_metres_only_to_the_literal_formula():
    # The motorway of the worst frame: two vehicles 50 m apart, the second one turned by a degree.
    first, second = shifted(600.89, -16.95)[None, None], shifted(551.42, -24.45)[None, None]
    turned = second @ shifted(yaw_deg=1.0)
    false_m = {}
    for relative in ("inv_i_j", "i_inv_j"):
        loss = PairwisePoseConsistencyLoss(relative=relative)
        poses, truth = (torch.cat([first, other], dim=1) for other in (turned, second))
        angle, false_m[relative] = pose_errors(loss._relative(poses, [(0, 1)]), loss._relative(truth, [(0, 1)]))
        assert_close(angle.rad2deg().squeeze(), torch.tensor(1.0, dtype=DOUBLE))
    assert_close(false_m["inv_i_j"].squeeze(), torch.tensor(0.0, dtype=DOUBLE))
    # 2 sin(0.5 deg) * |(551.42, -24.45)|
    assert_close(false_m["i_inv_j"].squeeze(), torch.tensor(9.63, dtype=DOUBLE), atol=0.01, rtol=0)


def test_an_error_between_vehicles_by_hand(perfect_scene):
    _, targets = perfect_scene(dtype=DOUBLE)
    # Vehicle 1 is at (20, 3) and slips 2 m: 2 / sqrt(409) of the distance, beyond the knee.
    intra, cross = PairwisePoseConsistencyLoss()(moved_vehicle(targets, shifted(2.0)), targets)
    assert_close(cross, torch.tensor(2 / math.hypot(20, 3) - KNEE / 2, dtype=DOUBLE))
    assert_close(intra, torch.tensor(0.0, dtype=DOUBLE), atol=1e-12, rtol=0)
    # Turned by 10 degrees around its lidar.
    _, cross = PairwisePoseConsistencyLoss()(moved_vehicle(targets, shifted(yaw_deg=10.0)), targets)
    assert_close(cross, torch.tensor(math.radians(10) - KNEE / 2, dtype=DOUBLE))


def test_vehicles_close_together_are_compared_in_metres(perfect_scene):
    _, targets = perfect_scene(dtype=DOUBLE)
    _, cross = PairwisePoseConsistencyLoss(normalise_m=40.0)(moved_vehicle(targets, shifted(4.0)), targets)
    assert_close(cross, torch.tensor(4 / 40 - KNEE / 2, dtype=DOUBLE))


@pytest.mark.parametrize("pairs", ["rig", "views"])
def test_a_half_turn_has_a_finite_loss_and_gradient(perfect_scene, pairs):
    _, targets = perfect_scene()
    poses = moved_vehicle(targets, shifted(yaw_deg=180.0).float()).requires_grad_()
    _, cross = PairwisePoseConsistencyLoss(pairs=pairs)(poses, targets)
    cross.backward()
    assert cross > math.pi - KNEE
    assert poses.grad.isfinite().all()


def test_the_pose_of_a_vehicle_is_the_mean_of_what_its_cameras_say(perfect_scene):
    _, targets = perfect_scene(dtype=DOUBLE)
    poses = targets.camera_pose.clone()
    truth = rig_poses(poses, targets)
    poses[:, 4, :3, 3] += 4.0  # one of four cameras is off
    mean = rig_poses(poses, targets)
    assert_close((mean - truth)[0, 1, :3, 3], torch.full((3,), 1.0, dtype=DOUBLE))


def test_errors_within_a_vehicle_and_between_vehicles_are_told_apart(perfect_scene):
    _, targets = perfect_scene(agents=3, dtype=DOUBLE)
    poses = targets.camera_pose.clone()
    poses[:, 5, 0, 3] += 1.0
    intra, cross = PairwisePoseConsistencyLoss(pairs="views")(poses, targets)
    assert intra > 0
    # Three of the 18 pairs of cameras within vehicles are off by 1 m of the 5 m that nearby ones are normalised by.
    assert_close(intra, torch.tensor(3 / 18 * (1 / 5 - KNEE / 2), dtype=DOUBLE))
    assert cross > 0


def test_one_vehicle_has_no_loss_between_vehicles(perfect_scene):
    _, targets = perfect_scene(agents=1)
    _, cross = PairwisePoseConsistencyLoss()(targets.camera_pose, targets)
    assert cross == 0


def test_a_prior_asks_nothing_within_three_standard_deviations(perfect_scene):
    _, targets = perfect_scene(dtype=DOUBLE)
    # Half a metre of both vehicles, and a degree of the first one's yaw over the 20.2 m between them.
    std_m = math.sqrt(2 * 0.5**2 + (math.radians(1) * math.hypot(20, 3)) ** 2)
    loss = PairwisePoseConsistencyLoss(target="prior")
    _, inside = loss(moved_vehicle(targets, shifted(2.9 * std_m)), targets)
    assert_close(inside, torch.tensor(0.0, dtype=DOUBLE), atol=1e-12, rtol=0)
    _, outside = loss(moved_vehicle(targets, shifted(3 * std_m + 1, yaw_deg=10.0)), targets)
    beyond_rad = math.radians(10) - 3 * math.radians(math.sqrt(2))
    assert_close(outside, torch.tensor(1 / math.hypot(20, 3) + beyond_rad, dtype=DOUBLE))


def test_a_prior_that_does_not_exist_is_named(perfect_scene):
    _, targets = perfect_scene()
    targets = dataclasses.replace(targets, prior_pose=None)
    with pytest.raises(ValueError, match="prior_pose: expected poses"):
        PairwisePoseConsistencyLoss(target="prior")(targets.camera_pose, targets)
