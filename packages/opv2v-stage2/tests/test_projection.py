from pathlib import Path

import numpy as np
import pytest

from opv2v_stage2.data.projection import native_size, project
from opv2v_stage2.data.recording import CameraView
from opv2v_stage2.geometry import extrinsic_of, lidar_from_camera, ue_matrix

FOCAL = 400 / np.tan(np.radians(50))
INTRINSICS = np.array([[FOCAL, 0, 400], [0, FOCAL, 300], [0, 0, 1.0]])
UE_TO_OPENCV = np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]])


def view(cords: tuple[float, ...] = (3.0, 0, -0.9, 0, 0, 0)) -> CameraView:
    """A camera of OPV2V's at a place in the lidar's UE frame."""
    rig = lidar_from_camera(np.linalg.inv(ue_matrix(np.array(cords, np.float64))))
    return CameraView(Path("none.png"), INTRINSICS, rig)


def test_the_size_is_twice_the_principal_point() -> None:
    assert native_size(view()) == (800, 600)


def test_a_point_straight_ahead_is_in_the_middle_of_the_picture() -> None:
    pixels, depth_z = project(np.array([[13.0, 0, -0.9]]), view(), (800, 600))
    np.testing.assert_allclose(pixels, [[400, 300]], atol=1e-9)
    np.testing.assert_allclose(depth_z, [10])


def test_left_of_the_lidar_is_left_in_the_picture_and_up_is_up() -> None:
    (left, up), depth_z = project(np.array([[13.0, 10, -0.9], [13, 0, 9.1]]), view(), (800, 600))
    np.testing.assert_allclose(left, [400 - FOCAL, 300], atol=1e-9)
    np.testing.assert_allclose(up, [400, 300 - FOCAL], atol=1e-9)
    np.testing.assert_allclose(depth_z, 10)


def test_the_edge_of_the_frustum_is_the_edge_of_the_picture_at_every_size() -> None:
    edge = np.array([[3 + 1.0, np.tan(np.radians(50)), -0.9]])
    for size in ((800, 600), (200, 150), (96, 72), (518, 392)):
        pixels, _ = project(edge, view(), size)
        assert pixels[0, 0] == pytest.approx(0, abs=1e-9), "half a pixel off would be a half here"
        np.testing.assert_allclose(project(edge * [1, -1, 1], view(), size)[0][0, 0], size[0])


def test_points_land_where_the_formula_of_the_data_set_puts_them() -> None:
    rng = np.random.default_rng(0)
    camera = view((0.5, 0.3, -0.1, 2, 100, -3))
    ue_points = rng.uniform(-40, 40, (200, 3))
    extrinsic = extrinsic_of(camera.lidar_from_camera)
    in_camera = (ue_points @ extrinsic[:3, :3].T + extrinsic[:3, 3]) @ UE_TO_OPENCV.T
    expected = in_camera @ INTRINSICS.T
    pixels, depth_z = project((ue_points * [1, -1, 1]).astype(np.float32), camera, (800, 600))
    np.testing.assert_allclose(depth_z, in_camera[:, 2], atol=1e-4)
    ahead = in_camera[:, 2] > 1
    np.testing.assert_allclose(pixels[ahead], expected[ahead, :2] / expected[ahead, 2:], atol=0.05)


def test_a_point_behind_the_camera_has_no_pixel() -> None:
    pixels, depth_z = project(np.array([[-10.0, 0, 0], [3, 0, -0.9]]), view(), (800, 600))
    assert np.isnan(pixels).all()
    np.testing.assert_allclose(depth_z, [-13, 0], atol=1e-9)
