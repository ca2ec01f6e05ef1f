"""Rotations against scipy, and gradients where textbook forms have none."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from opv2v_stage2.rotations import (
    chordal_mean,
    geodesic_angle,
    inverse_rigid,
    matrix_of_pose,
    pose_of_matrix,
    relative_pose,
    rigid,
    rotation_from_vector,
    yaw_matrix,
)

torch.set_num_threads(1)
HALF_TURNS = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0.6, 0.8, 0, 0], [0, 0, 0, 1.0]]


def random_poses(*shape, seed=0, reach=10.0):
    rng = np.random.default_rng(seed)
    count = math.prod(shape)
    rotation = torch.from_numpy(Rotation.random(count, rng=rng).as_matrix()).view(*shape, 3, 3)
    return rigid(rotation, reach * torch.from_numpy(rng.normal(size=(*shape, 3))))


def test_quaternions_are_xyzw_as_in_scipy():
    quats = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5, 4)))
    trans = torch.ones(2, 5, 3, dtype=torch.float64)
    matrix = matrix_of_pose(quats, trans)
    by_scipy = Rotation.from_quat(quats.view(-1, 4).numpy()).as_matrix().reshape(2, 5, 3, 3)
    assert_close(matrix[..., :3, :3], torch.from_numpy(by_scipy))
    assert_close(matrix[..., 3, :], torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(2, 5, 4))
    assert_close(matrix[..., :3, 3], trans)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pose_survives_the_way_to_quaternions_and_back(dtype):
    poses = random_poses(3, 50).to(dtype)
    quats, trans = pose_of_matrix(poses)
    assert (quats[..., 3] >= 0).all()
    assert_close(matrix_of_pose(quats, trans), poses, atol=2e-6, rtol=0)


@pytest.mark.parametrize("quats", HALF_TURNS)
def test_half_turns_have_a_quaternion_and_a_finite_gradient(quats):
    expected = torch.tensor(quats, dtype=torch.float64)
    matrix = matrix_of_pose(expected, torch.zeros(3, dtype=torch.float64)).requires_grad_()
    found, _ = pose_of_matrix(matrix)
    assert_close((found @ expected).abs(), torch.tensor(1.0, dtype=torch.float64))
    found.sum().backward()
    assert matrix.grad.isfinite().all()


def test_the_gradient_of_the_quaternion_is_right():
    poses = random_poses(6).requires_grad_()
    torch.autograd.gradcheck(lambda matrix: pose_of_matrix(matrix)[0], poses)


def test_an_inverse_undoes_and_a_relative_pose_forgets_the_world():
    i, j, world = random_poses(4, seed=1), random_poses(4, seed=2), random_poses(1, seed=3, reach=600.0)
    assert_close(inverse_rigid(i) @ i, torch.eye(4, dtype=torch.float64).expand(4, 4, 4))
    assert_close(i @ relative_pose(i, j), j)
    assert_close(relative_pose(world @ i, world @ j), relative_pose(i, j), atol=1e-9, rtol=0)


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 1.0, 90.0, 179.99, 180.0])
def test_the_angle_is_right_and_its_gradient_finite_from_none_to_a_half_turn(degrees):
    axis = torch.tensor([0.6, 0.0, 0.8])
    rotation = rotation_from_vector(math.radians(degrees) * axis).requires_grad_()
    angle = geodesic_angle(rotation)
    assert_close(angle, torch.tensor(math.radians(degrees)), atol=1e-6, rtol=1e-5)
    angle.backward()
    assert rotation.grad.isfinite().all()


def test_the_angle_of_no_rotation_is_exactly_zero():
    assert geodesic_angle(torch.eye(3)) == 0


def test_a_rotation_vector_is_the_exponential_map_with_the_right_gradient_at_zero():
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 3)))
    vectors[0] = 0
    by_scipy = Rotation.from_rotvec(vectors.numpy()).as_matrix()
    assert_close(rotation_from_vector(vectors), torch.from_numpy(by_scipy))
    torch.autograd.gradcheck(rotation_from_vector, vectors.requires_grad_())


def test_yaw_turns_x_towards_y():
    turned = yaw_matrix(torch.tensor([0.0, math.pi / 2])) @ torch.tensor([1.0, 0, 0])
    assert_close(turned, torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), atol=1e-6, rtol=0)


def test_the_chordal_mean_equals_scipys():
    rotations = random_poses(5, 4)[..., :3, :3]
    weights = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 2, size=(5, 4)))
    means = chordal_mean(rotations, weights)
    for mean, group, weight in zip(means, rotations, weights, strict=True):
        by_scipy = Rotation.from_matrix(group.numpy()).mean(weight.numpy()).as_matrix()
        assert_close(mean, torch.from_numpy(by_scipy), atol=1e-8, rtol=0)


def test_the_gradient_of_the_chordal_mean_is_right_also_where_all_agree():
    same = random_poses(1)[..., :3, :3]
    close = same @ rotation_from_vector(0.3 * torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 3))))
    for rotations in (same.expand(2, 4, 3, 3).clone(), close):
        torch.autograd.gradcheck(chordal_mean, rotations.requires_grad_())


def test_rotations_without_a_mean_give_a_rotation_and_a_finite_gradient():
    opposed = torch.stack([torch.eye(3), torch.diag(torch.tensor([-1.0, -1.0, 1.0]))]).requires_grad_()
    mean = chordal_mean(opposed)
    assert_close(mean @ mean.mT, torch.eye(3), atol=1e-5, rtol=0)
    assert_close(torch.linalg.det(mean), torch.tensor(1.0))
    mean.sum().backward()
    assert opposed.grad.isfinite().all()
