"""What a model is told, and what it should answer: noise, leaks, and one geometry for both."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from opv2v_stage2.config import LabelSettings, Modality
from opv2v_stage2.data.samples import coop_samples, single_samples
from opv2v_stage2.data.store import open_store
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.views import GPS_FLOOR_DEG, GPS_FLOOR_M, INCLUDES, Noise, make_targets, make_views, noisy

CPU = torch.device("cpu")
KEY = (0, 5)
NOISE = Noise(1.5, 2.0)


@pytest.fixture(scope="module")
def store(tiny_data):
    return open_store(open_tree(tiny_data), "train", (96, 72), LabelSettings(), tiny_data.parent / "cache")


@pytest.fixture(scope="module")
def pairs(store):
    return coop_samples(store, 2)[:3]


def changed(store, **arrays):
    """The store with other arrays."""
    return replace(store, arrays=store.arrays | arrays)


def nudged(world_from_lidar):
    """Other true poses."""
    rng = np.random.default_rng(3)
    moved = np.array(world_from_lidar)
    moved[:, :3, 3] += rng.normal(size=(len(moved), 3))
    return noisy(moved[:, None], Noise(0.0, 5.0), (1, 2))[:, 0]


# --- views


@pytest.mark.parametrize("modality", get_args(Modality))
def test_a_view_holds_what_its_modality_includes_and_nothing_else(store, pairs, modality):
    views = make_views(store, pairs, modality, NOISE, KEY, CPU)
    always = {"img", "data_norm_type", "is_metric_scale", "agent_index", "camera_index"}
    std = {"pose_std"} if "camera_poses" in INCLUDES[modality] else set()
    assert all(view.keys() == always | std | set(INCLUDES[modality]) for view in views)
    assert [int(view["agent_index"][0]) for view in views] == [0] * 4 + [1] * 4
    assert [int(view["camera_index"][0]) for view in views] == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("modality", ["images_only", "calibrated_sfm", "rig", "gps"])
def test_no_view_knows_true_poses_or_depth(store, pairs, modality):
    """What is measured must not be told, or the results mean nothing."""
    told = make_views(store, pairs, modality, NOISE, KEY, CPU)
    rng = np.random.default_rng(0)
    other = changed(
        store,
        world_from_lidar=nudged(store.arrays["world_from_lidar"]),
        labels_z=rng.random(store.arrays["labels_z"].shape, np.float32),
        dense_z=rng.random(store.arrays["dense_z"].shape, np.float32),
    )
    for view, same in zip(told, make_views(other, pairs, modality, NOISE, KEY, CPU), strict=True):
        assert view.keys() == same.keys()
        assert all(torch.equal(view[key], same[key]) for key in view if torch.is_tensor(view[key]))


def test_the_upper_bound_is_told_the_true_poses(store, pairs):
    told = make_views(store, pairs, "posed_sfm", NOISE, KEY, CPU)
    poses = torch.stack([view["camera_poses"] for view in told], dim=1)
    truth = make_targets(store, pairs, "posed_sfm", NOISE, KEY, CPU, dense=False).camera_pose
    torch.testing.assert_close(torch.linalg.inv(poses[:, :1]) @ poses, truth, atol=1e-3, rtol=0)
    assert told[0]["pose_std"].max() < 0.01


def test_labels_are_shown_only_when_asked_for(store, pairs):
    views = make_views(store, pairs, "gps", NOISE, KEY, CPU, with_depth=True)
    labels = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=False).depth_z
    assert all(torch.equal(view["depth_z"], labels[:, number]) for number, view in enumerate(views))


def test_the_standard_deviation_that_is_told_is_that_of_the_noise(store, pairs):
    noisy_view = make_views(store, pairs, "gps", Noise(3.0, 4.0), KEY, CPU)[5]
    expected = [np.hypot(3.0, GPS_FLOOR_M), np.hypot(4.0, GPS_FLOOR_DEG)]
    np.testing.assert_allclose(noisy_view["pose_std"], [expected] * 3, rtol=1e-6)
    exact_view = make_views(store, pairs, "gps", Noise(0.0, 0.0), KEY, CPU)[0]
    np.testing.assert_allclose(exact_view["pose_std"], [[GPS_FLOOR_M, GPS_FLOOR_DEG]] * 3, rtol=1e-6)


# --- noise


def test_every_agent_and_sample_has_noise_of_its_own_and_of_the_given_size():
    poses = np.tile(np.eye(4), (1000, 2, 1, 1))
    moved = noisy(poses, Noise(0.5, 3.0), KEY)
    yaw = np.degrees(np.arctan2(moved[..., 1, 0], moved[..., 0, 0]))
    draws = np.stack([moved[..., 0, 3], moved[..., 1, 3], yaw / 6], axis=-1).reshape(1000, 6)
    assert draws.std(0) == pytest.approx(np.full(6, 0.5), rel=0.1)
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.15
    assert (moved[..., 2, 3] == 0).all()  # height, roll and pitch stay


def test_noise_is_a_function_of_its_key(store, pairs):
    first, same, other = (
        make_views(store, pairs, "gps", NOISE, key, CPU)[6]["camera_poses"] for key in (KEY, KEY, (0, 6))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_no_noise_is_the_gps_of_the_files(store, pairs):
    views = make_views(store, pairs, "gps", Noise(0.0, 0.0), KEY, CPU)
    main, other = (store.arrays["gps_world_from_lidar"][row] for row in pairs[0].rows)
    expected = np.linalg.inv(main) @ other @ store.arrays["rig"][pairs[0].rows[1], 2]
    np.testing.assert_allclose(views[6]["camera_poses"][0], expected, atol=1e-4)


def test_noise_moves_vehicles_and_not_the_cameras_on_them(store, pairs):
    views = make_views(store, pairs, "gps", NOISE, KEY, CPU)
    poses = torch.stack([view["camera_poses"] for view in views], dim=1)
    for own in (slice(0, 4), slice(4, 8)):
        rig = torch.stack([view["rig_poses"] for view in views[own]], dim=1)
        told = torch.linalg.inv(poses[:, own][:, :1]) @ poses[:, own]
        torch.testing.assert_close(told, torch.linalg.inv(rig[:, :1]) @ rig, atol=1e-3, rtol=0)


# --- targets


def test_targets_have_the_prior_that_the_views_tell(store, pairs):
    views = make_views(store, pairs, "gps", NOISE, KEY, CPU)
    targets = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=False)
    told = torch.stack([view["camera_poses"] for view in views], dim=1)
    torch.testing.assert_close(targets.prior_pose, torch.linalg.inv(told[:, :1]) @ told, atol=1e-3, rtol=0)
    assert make_targets(store, pairs, "rig", NOISE, KEY, CPU, dense=False).prior_pose is None


def share_that_agrees(targets, camera_pose, depth_ray, intrinsics, pixel=0.0) -> float:
    """Of what the other vehicle sees standing on the ground and the main one sees, too: how much has the same depth."""
    points = depth_ray[..., None] * targets.rays
    height = torch.einsum("svj,svhwj->svhw", targets.camera_up, points) + targets.camera_height[..., None, None]
    points = torch.einsum("svij,svhwj->svhwi", camera_pose[..., :3, :3], points) + camera_pose[..., None, None, :3, 3]
    standing = (
        targets.labelled & (targets.depth_z < 40) & (height > 0.5)
    )  # any pose would put flat ground on the ground
    theirs, same = points[0, 4:][standing[0, 4:]], []
    rows, columns = targets.depth_z.shape[-2:]
    for view in range(4):
        camera_from_first = torch.linalg.inv(camera_pose[0, view])
        seen = theirs @ camera_from_first[:3, :3].T + camera_from_first[:3, 3]
        seen = seen[seen[:, 2] > 1]
        column, row = (seen @ intrinsics.T)[:, :2].div(seen[:, 2:]).add(pixel).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        ours = targets.depth_z[0, view][row[inside].long(), column[inside].long()]
        ratio = (seen[inside, 2] / ours)[ours > 0]
        same.append(ratio[ratio < 1.3].log().abs() < 0.05)  # what is further lies behind something
    return torch.cat(same).float().mean().item()


def test_what_two_vehicles_see_is_in_one_place(store, pairs):
    """And is not with ray depth for z depth, a pixel too far, or a relative pose that is inverted."""
    targets = make_targets(store, pairs[:1], "gps", NOISE, KEY, CPU, dense=True)
    pose, depth = targets.camera_pose, targets.depth_ray
    intrinsics = torch.from_numpy(np.array(store.arrays["intrinsics"][pairs[0].rows[0], 0]))
    right = share_that_agrees(targets, pose, depth, intrinsics)
    assert right > 0.8
    assert share_that_agrees(targets, pose, targets.depth_z, intrinsics) < right - 0.2
    assert share_that_agrees(targets, pose, depth, intrinsics, pixel=1.0) < right - 0.2
    assert share_that_agrees(targets, torch.linalg.inv(pose), depth, intrinsics) < right - 0.2


def test_the_ground_is_where_the_rig_says(store, pairs):
    targets = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=True)
    points = targets.depth_ray[..., None] * targets.rays
    height = torch.einsum("svj,svhwj->svhw", targets.camera_up, points) + targets.camera_height[..., None, None]
    nearest_row = height[:, :, -1][targets.labelled[:, :, -1]]
    assert nearest_row.abs().median() < 0.1


def test_sky_is_negative_and_unlabelled(store, pairs):
    targets = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=True)
    assert targets.negative.any()
    assert not (targets.negative & targets.labelled).any()
    lidar = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=False)
    assert not lidar.negative.any()
    assert 0 < lidar.labelled.float().mean() <= 0.031


def test_a_vehicle_that_several_agents_have_hit_is_one_box(store, pairs):
    targets = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=False)
    for number, sample in enumerate(pairs):
        ids = store.arrays["box_ids"][list(sample.rows)].reshape(-1)
        assert targets.box_exists[number].sum() == len(set(ids[ids >= 0].tolist()))
        kept = ids[targets.box_exists[number].numpy()]
        assert len(set(kept.tolist())) == len(kept)


def test_boxes_are_in_the_frame_of_the_main_lidar(store, pairs):
    targets = make_targets(store, pairs, "gps", NOISE, KEY, CPU, dense=False)
    slot = int(targets.box_exists[0].nonzero()[0, 0])
    main = pairs[0].rows[0]
    world_from_box = store.arrays["world_from_box"][list(pairs[0].rows)].reshape(-1, 4, 4)[slot]
    expected = np.linalg.inv(store.arrays["world_from_lidar"][main]) @ world_from_box
    np.testing.assert_allclose(targets.first_lidar_from_box[0, slot], expected, atol=1e-3)


def test_far_from_the_origin_nothing_gets_less_exact(store):
    """A motorway near x = 600 m would lose centimetres in float32."""
    far = np.array(store.arrays["world_from_lidar"])
    far[:, :2, 3] += 1e6
    single = single_samples(store)[:1]
    here, there = (
        make_targets(some, single, "rig", NOISE, KEY, CPU, dense=False).camera_pose
        for some in (store, changed(store, world_from_lidar=far))
    )
    torch.testing.assert_close(here, there, atol=1e-4, rtol=0)
