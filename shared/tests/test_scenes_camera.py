import numpy as np
import pytest

from drivelab_shared.scenes import Camera, look_at


def test_field_of_view_reaches_from_edge_to_edge():
    camera = Camera.from_fov(200, 100, 90)
    assert camera.fx == camera.fy == pytest.approx(100)
    edges, _ = camera.project(np.array([[-1.0, 0, 1], [1, 0, 1], [0, 0.5, 1]]))  # 45 degrees to the left and right
    np.testing.assert_allclose(edges, [[-0.5, 49.5], [199.5, 49.5], [99.5, 99.5]], atol=1e-12)


def test_matrix_projects_like_project():
    camera = Camera(fx=120, fy=90, cx=30, cy=20, width=64, height=48)
    point = np.array([0.4, -0.3, 2.5])
    pixels, depth_z = camera.project(point[None])
    u, v, w = camera.matrix @ point
    np.testing.assert_allclose(pixels, [[u / w, v / w]])
    np.testing.assert_allclose(depth_z, [2.5])


def test_unproject_undoes_project():
    camera = Camera(fx=120, fy=90, cx=30, cy=20, width=64, height=48)
    points = np.random.default_rng(0).uniform([-5, -5, 0.1], [5, 5, 80], (50, 3))
    np.testing.assert_allclose(camera.unproject(*camera.project(points)), points, atol=1e-12)


def test_points_that_are_not_in_front_have_no_pixel():
    pixels, depth_z = Camera.from_fov(64, 48, 90).project(np.array([[0.0, 0, -2], [0, 0, 0], [0, 0, 2]]))
    np.testing.assert_array_equal(np.isnan(pixels).any(axis=1), [True, True, False])
    np.testing.assert_array_equal(depth_z, [-2, 0, 2])


def test_scaled_camera_is_the_camera_made_at_that_size():
    small, made = Camera.from_fov(320, 240, 70).scaled(80, 60), Camera.from_fov(80, 60, 70)
    np.testing.assert_allclose(small.matrix, made.matrix, atol=1e-12)
    assert (small.width, small.height) == (80, 60)


def test_scaling_to_half_puts_a_pixel_in_the_middle_of_the_four_it_replaces():
    camera = Camera(fx=100, fy=110, cx=40, cy=20, width=80, height=60)
    point = camera.unproject(np.array([[20.5, 10.5]]), np.array([7.0]))  # between pixels 20 and 21, 10 and 11
    np.testing.assert_allclose(camera.scaled(40, 30).project(point)[0], [[10, 5]], atol=1e-12)


def test_rays_meet_their_own_pixels_at_depth_one():
    camera = Camera(fx=100, fy=110, cx=40, cy=20, width=8, height=6)
    rays = camera.rays_world(np.eye(4))
    pixels, depth_z = camera.project(rays.reshape(-1, 3))
    np.testing.assert_allclose(pixels.reshape(6, 8, 2)[4, 3], [3, 4], atol=1e-12)
    np.testing.assert_allclose(depth_z, 1)


def test_look_at_turns_the_axes_right_down_and_forward():
    world_from_camera = look_at((1, 2, 3), (1, 12, 3))  # looks along y: right is x, down is -z
    np.testing.assert_allclose(world_from_camera[:3, :3], [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(world_from_camera[:, 3], [1, 2, 3, 1])


def test_look_at_sees_its_target_in_the_middle_and_what_is_above_above():
    camera, world_from_camera = Camera.from_fov(101, 101, 60), look_at((3, -2, 6), (20, 5, 1))
    points = np.array([[20.0, 5, 1, 1], [20, 5, 2, 1]]) @ np.linalg.inv(world_from_camera).T
    (target, above), _ = camera.project(points[:, :3])
    np.testing.assert_allclose(target, [50, 50], atol=1e-9)
    assert above[0] == pytest.approx(50)
    assert above[1] < 50
    assert np.linalg.det(world_from_camera) == pytest.approx(1)


@pytest.mark.parametrize("target", [(0, 0, 9), (0, 0, 1)])
def test_look_at_refuses_to_guess_where_the_top_is(target):
    with pytest.raises(ValueError, match="not straight above or below"):
        look_at((0, 0, 1), target)


@pytest.mark.parametrize(("setting", "value"), [("fx", 0), ("fy", float("nan")), ("width", 0), ("height", -1)])
def test_camera_names_the_number_that_is_wrong(setting, value):
    numbers = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0, "width": 2, "height": 2} | {setting: value}
    with pytest.raises(ValueError, match=f"camera: {setting}: expected a number > 0, got {value}"):
        Camera(**numbers)


@pytest.mark.parametrize("degrees", [0, 180, -20])
def test_field_of_view_is_less_than_a_half_turn(degrees):
    with pytest.raises(ValueError, match="horizontal_fov_deg: expected 0 to 180"):
        Camera.from_fov(64, 48, degrees)
