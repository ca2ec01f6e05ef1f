"""Lidar points as labels of pixels: the nearest wins, what the camera cannot see goes, and no more stay than asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from opv2v_stage2.config import LabelSettings
from opv2v_stage2.data.depth_labels import depth_labels, is_visible, shrunk, thinned, z_buffer
from opv2v_stage2.data.projection import project
from opv2v_stage2.data.recording import CameraView
from opv2v_stage2.geometry import world_from_camera

ALL = LabelSettings(coverage=1.0)
FOCAL = 400 / np.tan(np.radians(50))
CAMERA = CameraView(
    image_path=Path("unused.png"),
    intrinsics=np.array([[FOCAL, 0, 400], [0, FOCAL, 300], [0, 0, 1]]),
    lidar_from_camera=world_from_camera(np.array([3.0, 0, -0.9, 0, 0, 0])),
)
"""OPV2V's front camera: 3 m ahead of the lidar and 0.9 m below it."""


def ahead(depth_z: float, left: float = 0.0, up: float = 0.0) -> list[float]:
    """A point so far ahead of the camera, in the lidar frame."""
    return [3.0 + depth_z, left, -0.9 + up]


def test_the_nearest_point_of_a_pixel_is_its_label():
    pixels = np.array([[0.0, 0.0], [0.9, 0.9], [3.0, 1.5], [3.5, 1.0]])
    found = z_buffer(pixels, np.array([5.0, 4.0, 7.0, 9.0]), (4, 2))
    assert found.tolist() == [[4, 0, 0, 0], [0, 0, 0, 7]]


def test_points_outside_the_picture_or_behind_the_camera_label_nothing():
    pixels = np.array([[-0.01, 0.5], [4.0, 0.5], [0.5, 2.0], [1.5, 0.5], [np.nan, np.nan]])
    assert not z_buffer(pixels, np.array([5.0, 5, 5, -5, -5]), (4, 2)).any()


def test_a_label_is_the_depth_along_the_axis_at_the_pixel_it_falls_into():
    found = depth_labels(np.array([ahead(10.0, left=2.0, up=1.0)]), CAMERA, (8, 6), ALL, (0,))
    ((row, column),) = np.argwhere(found)
    # 335.6 px at 800 are 3.356 at 8: 0.67 to the left and 0.34 above the middle (4, 3).
    assert (row, column) == (2, 3)
    assert found[row, column] == pytest.approx(10.0)


def test_a_point_behind_a_nearer_one_of_its_neighbourhood_is_not_visible():
    points = np.array([ahead(5.0), ahead(30.0, left=0.1), ahead(5.5, left=0.02), ahead(30.0, left=8.0)])
    # 30 m lies 1.1 px beside the nearest, and beyond 1.15 x 5 + 0.3 m; 5.5 m lies within that; 8 m left is 90 px away.
    assert is_visible(points, CAMERA, ALL).tolist() == [True, False, True, True]


def test_the_neighbourhood_is_as_large_as_the_settings_say():
    points = np.array([ahead(5.0), ahead(30.0, left=0.5)])  # 5.6 px apart
    assert is_visible(points, CAMERA, ALL).tolist() == [True, True]
    assert is_visible(points, CAMERA, replace(ALL, occlusion_window_px=13)).tolist() == [True, False]


def test_what_is_hidden_at_the_native_size_stays_hidden_at_every_size():
    wall = [ahead(5.0, left=y / 10, up=z / 10) for y in range(-20, 21) for z in range(-10, 11)]
    seen_over_it = [ahead(40.0, left=y) for y in (-4.0, 0.0, 4.0)]
    found = depth_labels(np.array(wall + seen_over_it), CAMERA, (96, 72), ALL, (0,))
    assert found[found > 0].max() == pytest.approx(5.0)


def test_the_own_body_is_no_label():
    near = replace(CAMERA, lidar_from_camera=world_from_camera(np.array([0.0, 0, 0, 0, 0, 0])))
    points = np.array([[2.4, 0.0, 0.0], [2.6, 1.0, 0.0]])
    found = depth_labels(points, near, (80, 60), ALL, (0,))
    assert found[found > 0].tolist() == pytest.approx([2.6])


def test_as_many_labels_stay_as_the_coverage_allows_and_each_keeps_its_value():
    labels = np.arange(1, 201, dtype=np.float32).reshape(10, 20)
    few = thinned(labels, 0.05, (3, 1))
    kept = few > 0
    assert kept.sum() == 10
    assert (few[kept] == labels[kept]).all()
    assert (thinned(labels, 0.05, (3, 1)) == few).all()
    assert (thinned(labels, 0.05, (3, 2)) != few).any()


def test_fewer_labels_than_that_stay_as_they_are():
    labels = np.zeros((10, 20), np.float32)
    labels[3, 4] = 7
    assert (thinned(labels, 0.01, (0,)) == labels).all()
    assert (thinned(np.ones((2, 2), np.float32), 0.01, (0,)) > 0).sum() == 1  # never none of some


def test_a_shrunk_map_keeps_the_nearest_of_what_falls_into_a_pixel():
    full = np.zeros((4, 6))
    full[0, 0], full[1, 1], full[3, 5], full[2, 4] = 9, 4, 6, 0
    assert shrunk(full, (3, 2)).tolist() == [[4, 0, 0], [0, 0, 6]]


def test_projecting_at_the_small_size_keeps_far_more_labels_than_shrinking_by_nearest_neighbour():
    rng = np.random.default_rng(0)
    points = np.array([ahead(z, y, u) for z, y, u in rng.uniform((5, -20, -1), (40, 20, 6), (20000, 3))])
    open_view = replace(ALL, occlusion_window_px=1)
    projected = depth_labels(points, CAMERA, (96, 72), open_view, (0,)) > 0
    native = depth_labels(points, CAMERA, (800, 600), open_view, (0,))
    picked = native[4::8, 4::8][:72, :96] > 0
    assert projected.mean() > 5 * picked.mean()
    assert (shrunk(native, (96, 72)) > 0).mean() == pytest.approx(projected.mean(), rel=0.02)


def test_the_nearest_of_a_window_is_found_at_the_edges_too():
    """Compared with a plain loop."""
    rng = np.random.default_rng(1)
    points = np.array([ahead(z, y, u) for z, y, u in rng.uniform((4, -30, -1), (40, 30, 20), (400, 3))])
    settings = replace(ALL, occlusion_window_px=41)
    pixels, depth_z = project(points, CAMERA, (800, 600))
    inside = (pixels >= 0).all(1) & (pixels < (800, 600)).all(1)
    cells = np.floor(pixels)
    for number, found in enumerate(is_visible(points, CAMERA, settings)):
        beside = inside & (np.abs(cells - cells[number]).max(1) <= 20)
        expected = inside[number] and depth_z[number] <= 1.15 * depth_z[beside].min(initial=np.inf) + 0.3
        assert found == expected
