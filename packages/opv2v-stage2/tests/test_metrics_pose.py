"""Pose measures by hand and by plain loops."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from opv2v_stage2.metrics.pose import (
    aligned_errors,
    cross_agent_errors,
    intra_agent_errors,
    pose_auc,
    pose_columns,
    relative_errors,
    rig_poses,
    rotation_deg,
)

AGENTS = np.repeat([0, 1], 4)


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0, pitch=0.0, roll=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True).as_matrix()
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.fixture
def rig():
    """lidar_from_camera of two vehicles with four cameras each."""
    one = [pose(3, 0, -0.9), pose(0.5, -0.3, -0.1, -100), pose(0.5, 0.3, -0.1, 100), pose(-1.5, 0, -0.4, 180)]
    return np.stack(one + one)


@pytest.fixture
def truth(rig):
    """Two vehicles 45 m apart, 600 m from the origin of the world."""
    lidars = np.stack([pose(600, 17, 2, yaw=10)] * 4 + [pose(555, 24, 2, yaw=12, pitch=1)] * 4)
    return lidars @ rig


def noisy(poses, seed=0):
    rng = np.random.default_rng(seed)
    noise = [pose(*rng.normal(0, 0.5, 3), *rng.normal(0, 3, 3)) for _ in poses]
    return np.stack([p @ n for p, n in zip(poses, noise, strict=True)])


def angle_by_scipy(a, b):
    return math.degrees((Rotation.from_matrix(a[:3, :3]).inv() * Rotation.from_matrix(b[:3, :3])).magnitude())


@pytest.mark.parametrize("angle", [0.0, 1e-5, 30.0, 90.0, 179.99, 180.0])
def test_the_angle_of_a_rotation_is_exact_from_0_to_180_degrees(angle):
    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    rotation = Rotation.from_rotvec(axis * math.radians(angle)).as_matrix()
    assert rotation_deg(rotation) == pytest.approx(angle, abs=1e-6)


def test_relative_errors_equal_a_plain_loop(truth):
    predicted = noisy(truth)
    distance, angle = relative_errors(predicted, truth)
    for i in range(len(truth)):
        ours, theirs = np.linalg.inv(predicted[0]) @ predicted[i], np.linalg.inv(truth[0]) @ truth[i]
        assert distance[i] == pytest.approx(np.linalg.norm(ours[:3, 3] - theirs[:3, 3]))
        assert angle[i] == pytest.approx(angle_by_scipy(ours, theirs), abs=1e-5)


def test_the_worlds_of_prediction_and_truth_may_differ(truth, rig):
    predicted = noisy(truth)
    other_world = pose(-40, 7, 3, 70, 20, -5)
    first = pose_columns(predicted, truth, AGENTS, rig)
    moved = pose_columns(other_world @ predicted, truth, AGENTS, rig)
    assert moved == pytest.approx(first, abs=1e-6)
    assert pose_columns(other_world @ truth, truth, AGENTS, rig) == pytest.approx(
        {name: 1.0 if "auc" in name else 0.0 for name in first}, abs=1e-6
    )


def test_picture_0_hides_a_quarter_of_the_error_of_four(truth, rig):
    predicted = truth[:4].copy()
    predicted[1:] = predicted[1:] @ pose(0.4)
    columns = pose_columns(predicted, truth[:4], AGENTS[:4], rig[:4])
    assert columns["pose_abs_m"] == pytest.approx(0.3)
    assert columns["pose_abs_others_m"] == pytest.approx(0.4)


def test_poses_that_were_inverted_are_far_off(truth, rig):
    columns = pose_columns(np.linalg.inv(truth), truth, AGENTS, rig)
    assert columns["pose_abs_m"] > 5


def test_the_furthest_vehicle_counts_across_agents_and_the_mean_within():
    truth = np.stack([pose(0), pose(10), pose(20)])
    predicted = np.stack([pose(0), pose(11, yaw=2), pose(20, 3, yaw=1)])
    assert cross_agent_errors(predicted, truth) == pytest.approx((3.0, 2.0))
    assert np.isnan(cross_agent_errors(predicted[:1], truth[:1])).all()
    agents = np.array([0, 0, 1, 1, 1])
    theirs = np.stack([pose(0), pose(1), pose(50), pose(51), pose(52)])
    ours = np.stack([pose(0), pose(2), pose(80), pose(81), pose(85)])  # off by 1; by 0 and 3
    assert intra_agent_errors(ours, theirs, agents) == pytest.approx(((1 + 1.5) / 2, 0.0))


def test_a_vehicle_in_the_wrong_place_is_no_error_of_its_rig(truth, rig):
    predicted = truth.copy()
    predicted[4:] = pose(2, 1, 0, yaw=0.5) @ predicted[4:]
    columns = pose_columns(predicted, truth, AGENTS, rig)
    assert columns["intra_agent_rig_pose_trans_m"] == pytest.approx(0, abs=1e-9)
    assert columns["cross_agent_pose_trans_m"] > 1
    assert columns["cross_agent_rig_rot_deg"] == pytest.approx(0.5)


def test_a_rig_is_where_its_cameras_say_on_average_and_one_bad_camera_moves_it_little(truth, rig):
    lidars = rig_poses(truth, rig, AGENTS)
    assert lidars[0] == pytest.approx(pose(600, 17, 2, yaw=10), abs=1e-9)
    bad = truth.copy()
    bad[4] = bad[4] @ pose(yaw=8)
    columns = pose_columns(bad, truth, AGENTS, rig)
    assert columns["cross_agent_pose_rot_deg"] == pytest.approx(8)
    assert columns["cross_agent_rig_rot_deg"] == pytest.approx(2, abs=0.05)
    assert np.linalg.det(rig_poses(bad, rig, AGENTS)[1]) == pytest.approx(1)


def test_ate_removes_where_and_how_a_trajectory_lies_and_only_sim3_its_size(truth):
    bigger = truth.copy()
    bigger[:, :3, 3] = 1.2 * (truth[:, :3, 3] - truth[0, :3, 3])
    moved = pose(5, -3, 1, 40, 5, 2) @ bigger
    centres = truth[:, :3, 3] - truth[:, :3, 3].mean(axis=0)
    found = aligned_errors(moved, truth)
    assert found.rigid_m == pytest.approx(0.2 * math.sqrt((centres**2).sum(axis=1).mean()))
    assert found.sim3_m == pytest.approx(0, abs=1e-6)
    assert found.rigid_deg == pytest.approx(0, abs=1e-5)


def test_a_mirrored_trajectory_does_not_align(truth):
    mirrored = truth.copy()
    mirrored[:, 1, 3] *= -1
    mirrored[3, 2, 3] += 3  # not flat, or a half turn would do
    upright = truth.copy()
    upright[3, 2, 3] += 3
    assert aligned_errors(mirrored, upright).rigid_m > 0.3
    assert np.isnan(aligned_errors(truth[:2], truth[:2]).rigid_m)


def test_the_area_under_the_pair_curve_is_that_of_a_fine_histogram(truth):
    predicted = noisy(truth)
    errors = []
    for i in range(8):
        for j in range(i + 1, 8):
            ours, theirs = np.linalg.inv(predicted[i]) @ predicted[j], np.linalg.inv(truth[i]) @ truth[j]
            a, b = ours[:3, 3], theirs[:3, 3]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            errors.append(max(angle_by_scipy(ours, theirs), math.degrees(math.acos(np.clip(cosine, -1, 1)))))
    for limit, found in zip((5, 15, 30), pose_auc(predicted, truth), strict=True):
        recall = [np.mean(np.array(errors) <= t) for t in np.linspace(0, limit, 3001)]
        assert found == pytest.approx(np.mean(recall), abs=2e-3)
    assert np.isnan(pose_auc(truth[:1], truth[:1])).all()


def test_cameras_in_one_place_have_no_direction_to_be_wrong_about():
    assert pose_auc(np.stack([pose(), pose(0.1)]), np.stack([pose(), pose()])) == (1.0, 1.0, 1.0)
