import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from opv2v_stage2.geometry import (
    CAMERA_AXES,
    MIRROR,
    cords_of_camera,
    extrinsic_of,
    is_rotation,
    lidar_from_camera,
    mirrored,
    pose_of_body,
    ue_matrix,
    ue_pose,
    world_from_body,
    world_from_camera,
    wrapped_deg,
)

TILTED = np.array([600.9, -17.0, 1.2, 3.0, 30.0, 5.0])


def test_a_pose_is_x_y_z_roll_yaw_pitch_and_nothing_else() -> None:
    matrix = ue_matrix(TILTED)
    expected = Rotation.from_euler("ZYX", [30, -5, -3], degrees=True).as_matrix()
    np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 3], TILTED[:3])
    other_order = Rotation.from_euler("zyx", [30, 5, 3], degrees=True).as_matrix()
    off = Rotation.from_matrix(expected.T @ other_order).magnitude()
    assert np.degrees(off) > 5, "the order that a public loader uses is far from it"


def test_ue_yaw_turns_forward_to_the_right_and_pitch_lifts_it() -> None:
    # UE: y points right, z up. Nose at yaw 90 looks along +y, at pitch 90 along +z; roll 90 leans the right side down.
    np.testing.assert_allclose(ue_matrix(np.array([0, 0, 0, 0, 90, 0.0]))[:3, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(ue_matrix(np.array([0, 0, 0, 0, 0, 90.0]))[:3, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(ue_matrix(np.array([0, 0, 0, 90, 0, 0.0]))[:3, 1], [0, 0, -1], atol=1e-12)


def test_poses_survive_the_way_there_and_back() -> None:
    rng = np.random.default_rng(0)
    poses = rng.uniform([-900, -900, -5, -170, -179, -80], [900, 900, 5, 170, 179, 80], (50, 6))
    np.testing.assert_allclose(ue_pose(ue_matrix(poses)), poses, atol=1e-8)
    np.testing.assert_allclose(pose_of_body(world_from_body(poses)), poses, atol=1e-8)
    np.testing.assert_allclose(cords_of_camera(world_from_camera(poses)), poses, atol=1e-8)


def test_the_right_handed_world_has_y_to_the_left() -> None:
    # 10 m forward, 2 m right, turned 90 degrees to the right: y is -2 and the nose points along -y.
    pose = world_from_body(np.array([10, 2, 0, 0, 90, 0.0]))
    np.testing.assert_allclose(pose[:3, 3], [10, -2, 0])
    np.testing.assert_allclose(pose[:3, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 1], [1, 0, 0], atol=1e-12)


def test_every_right_handed_pose_is_a_rotation_and_one_flip_too_few_is_none() -> None:
    assert is_rotation(world_from_body(TILTED))
    assert is_rotation(world_from_camera(TILTED))
    assert is_rotation(lidar_from_camera(np.linalg.inv(ue_matrix(TILTED))))
    assert not is_rotation(ue_matrix(TILTED) @ CAMERA_AXES.T)
    assert not is_rotation(MIRROR @ ue_matrix(TILTED))
    assert not is_rotation(2 * np.eye(4))
    assert not is_rotation(np.full((4, 4), np.nan))


def test_the_up_of_a_level_camera_is_minus_y() -> None:
    for yaw in (0, 100, -100, 180):
        camera = world_from_camera(np.array([1, 2, 3, 0, yaw, 0.0]))
        np.testing.assert_allclose(camera[:3, :3].T @ [0, 0, 1], [0, -1, 0], atol=1e-12)


def test_the_right_rear_camera_looks_back_and_to_the_right() -> None:
    lidar = np.array([50, 7, 2, 1, 40, 2.0])
    world_from_lidar = ue_matrix(lidar)
    camera = world_from_lidar @ ue_matrix(np.array([0.5, 0.3, -0.1, 0, 100, 0]))
    rig = lidar_from_camera(np.linalg.inv(camera) @ world_from_lidar)
    np.testing.assert_allclose(rig[:3, 3], [0.5, -0.3, -0.1], atol=1e-9)
    forward = rig[:3, 2]
    np.testing.assert_allclose(forward, [np.cos(np.radians(100)), -np.sin(np.radians(100)), 0], atol=1e-9)


def test_the_extrinsic_takes_lidar_points_to_the_camera_and_not_back() -> None:
    lidar, cords = TILTED, np.array([603.0, -16.0, 0.4, 3.0, 130.0, 5.0])
    extrinsic = np.linalg.inv(ue_matrix(cords)) @ ue_matrix(lidar)
    rig = lidar_from_camera(extrinsic)
    np.testing.assert_allclose(world_from_body(lidar) @ rig, world_from_camera(cords), atol=1e-9)
    np.testing.assert_allclose(extrinsic_of(rig), extrinsic, atol=1e-9)
    wrong = lidar_from_camera(np.linalg.inv(extrinsic))
    assert np.abs(world_from_body(lidar) @ wrong - world_from_camera(cords)).max() > 1


def test_relative_poses_of_cameras_do_not_depend_on_the_world_that_is_chosen() -> None:
    cords = np.array([TILTED, [590.0, -12.0, 1.0, -2.0, -140.0, 1.0]])
    first, second = world_from_camera(cords)
    opencv_first, opencv_second = CAMERA_AXES @ ue_matrix(cords) @ CAMERA_AXES.T
    np.testing.assert_allclose(np.linalg.inv(first) @ second, np.linalg.inv(opencv_first) @ opencv_second, atol=1e-9)


def test_mirroring_twice_changes_nothing() -> None:
    np.testing.assert_allclose(mirrored(mirrored(ue_matrix(TILTED))), ue_matrix(TILTED))


@pytest.mark.parametrize(("angle", "expected"), [(-359.7, 0.3), (180.0, -180), (190.0, -170), (720.5, 0.5)])
def test_angles_are_wrapped(angle: float, expected: float) -> None:
    assert wrapped_deg(np.array([angle])) == pytest.approx(expected)
