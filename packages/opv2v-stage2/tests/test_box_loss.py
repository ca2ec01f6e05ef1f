"""Boxes: distance to their surface, which pixels show them, and how they tie vehicles together."""

import dataclasses

import torch
from torch.testing import assert_close

from opv2v_stage2.losses.box_loss import KNEE_M, assigned_boxes, box_loss, signed_distance
from opv2v_stage2.models.compact import pixel_rays
from opv2v_stage2.rotations import inverse_rigid, rigid

SIZE = (24, 32)


def box_scene(perfect_scene, *, label_every=2, depth_m=None):
    """A box of 4 x 2 x 1.6 m, its front 10 m before camera 0; all that is seen of it is its front."""
    height, width = SIZE
    reconstruction, targets = perfect_scene(agents=2, height=height, width=width)
    first_lidar_from_box = torch.eye(4)
    first_lidar_from_box[:3, 3] = torch.tensor([3.0 + 10 + 2, 0.0, -0.9])
    half_size = torch.tensor([2.0, 1.0, 0.8])
    rays = targets.rays[:, :1]
    front_ray = 10 / rays[..., 2]
    hits = (front_ray[..., None] * rays)[..., :2].abs()
    on_front = (hits[..., 0] <= 1.0) & (hits[..., 1] <= 0.8)
    depth_z = torch.zeros_like(targets.depth_z)
    depth_z[:, :1] = torch.where(on_front, 10.0 if depth_m is None else depth_m, 0.0)
    depth_z[..., ::label_every] = 0
    targets = dataclasses.replace(
        targets,
        depth_z=depth_z,
        first_lidar_from_box=first_lidar_from_box.expand(1, 1, 4, 4),
        half_size=half_size.expand(1, 1, 3),
        box_exists=torch.ones(1, 1, dtype=torch.bool),
    )
    depth = reconstruction.depth.clone()
    depth[:, :1] = front_ray
    return dataclasses.replace(reconstruction, depth=depth), targets, on_front


def test_distances_to_the_surface_are_signed():
    points = torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [2.0, 3.0, 0], [5.0, 6.0, 0]])
    distances = signed_distance(points, torch.tensor([2.0, 2.0, 2.0]))
    assert_close(distances, torch.tensor([-2.0, -0.5, 1.0, 5.0]))


def test_labels_in_a_box_and_rays_that_meet_its_front_show_it(perfect_scene):
    _, targets, on_front = box_scene(perfect_scene)
    box = assigned_boxes(targets)
    labelled = targets.labelled[:, :1] & on_front
    assert labelled.any()
    assert (box[:, :1][labelled] == 0).all()
    unlabelled = on_front & ~targets.labelled[:, :1]
    assert (box[:, :1][unlabelled] == 0).float().mean() > 0.4
    assert (box[:, :1][~on_front] == -1).all()
    assert (box[:, 1:4] == -1).all()


def test_a_box_behind_something_is_not_shown(perfect_scene):
    _, targets, _ = box_scene(perfect_scene, depth_m=5.0)
    assert (assigned_boxes(targets) == -1).all()


def test_a_box_that_is_mostly_hidden_is_shown_by_its_labels_alone(perfect_scene):
    _, targets, _ = box_scene(perfect_scene, depth_m=5.0)
    row, column = targets.labelled[0, 0].nonzero()[0].tolist()
    targets.depth_z[0, 0, row, column] = 10.0
    box = assigned_boxes(targets)
    assert box[0, 0, row, column] == 0
    assert (box >= 0).sum() == 1


def test_a_box_that_no_label_hits_is_not_shown(perfect_scene):
    _, targets, _ = box_scene(perfect_scene, label_every=1)
    assert (assigned_boxes(targets) == -1).all()


def test_points_on_the_surface_cost_nothing_and_others_what_they_are_off(perfect_scene):
    reconstruction, targets, _ = box_scene(perfect_scene)
    assert_close(box_loss(reconstruction, targets), torch.tensor(0.0), atol=1e-6, rtol=0)
    behind = dataclasses.replace(reconstruction, depth=reconstruction.depth + 0.7 / reconstruction.rays[..., 2])
    near_axis = assigned_boxes(targets)[0, 0] == 0
    deep = 0.7 * torch.ones(int(near_axis.sum()))
    sides = (10.7 / reconstruction.rays[0, 0, ..., 2:] * reconstruction.rays[0, 0])[near_axis][:, :2].abs()
    deep = torch.minimum(deep, (torch.tensor([1.0, 0.8]) - sides).amin(-1).abs())
    assert_close(box_loss(behind, targets), (deep - KNEE_M / 2).where(deep > KNEE_M, deep**2 / (2 * KNEE_M)).mean())


def test_the_gradient_reaches_only_pixels_on_boxes_and_brings_them_back(perfect_scene):
    reconstruction, targets, _ = box_scene(perfect_scene)
    depth = (reconstruction.depth - 0.5).requires_grad_()
    box_loss(dataclasses.replace(reconstruction, depth=depth), targets).backward()
    on_box = assigned_boxes(targets) >= 0
    assert (depth.grad[on_box] < 0).all()
    assert (depth.grad[~on_box] == 0).all()


def test_a_car_that_another_vehicle_sees_moves_that_vehicle(perfect_scene):
    reconstruction, targets, _ = box_scene(perfect_scene)
    # The same box, seen by camera 0 of vehicle 1 from where it stands.
    front_from_box = inverse_rigid(targets.rig_pose[:, :1] @ targets.camera_pose[:, :1]) @ targets.first_lidar_from_box
    seen_by_other = targets.rig_pose[:, :1] @ targets.camera_pose[:, 4:5] @ front_from_box
    depth_z = torch.zeros_like(targets.depth_z)
    depth_z[:, 4:5] = targets.depth_z[:, :1]
    depth = reconstruction.depth.clone()
    depth[:, 4:5] = reconstruction.depth[:, :1]
    targets = dataclasses.replace(targets, first_lidar_from_box=seen_by_other, depth_z=depth_z)
    poses = targets.camera_pose.clone()
    poses[:, 4] = poses[:, 4] @ rigid(torch.eye(3), torch.tensor([0.0, 0.0, -1.0]))
    poses.requires_grad_()
    loss = box_loss(dataclasses.replace(reconstruction, depth=depth, camera_pose=poses), targets)
    loss.backward()
    assert loss > 0.5
    assert poses.grad[0, 4].abs().sum() > 0
    assert (poses.grad[0, :4] == 0).all()


def test_without_boxes_loss_and_gradient_are_zero(perfect_scene):
    reconstruction, targets, _ = box_scene(perfect_scene)
    targets = dataclasses.replace(targets, box_exists=torch.zeros(1, 1, dtype=torch.bool))
    depth = reconstruction.depth.clone().requires_grad_()
    loss = box_loss(dataclasses.replace(reconstruction, depth=depth), targets)
    loss.backward()
    assert loss == 0
    assert (depth.grad == 0).all()


def test_rays_of_the_fixture_are_those_of_the_pixels(perfect_scene):
    _, targets = perfect_scene(agents=1, height=2, width=2)
    focal = 1 / torch.tan(torch.deg2rad(torch.tensor(50.0)))
    intrinsics = torch.tensor([[focal, 0, 1.0], [0, focal, 1.0], [0, 0, 1]])
    assert_close(targets.rays[0, :1], pixel_rays(intrinsics.expand(1, 1, 3, 3), 2, 2)[0])
