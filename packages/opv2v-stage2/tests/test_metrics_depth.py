"""Depth, scale and floaters, by hand."""

import math

import numpy as np
import pytest

from opv2v_stage2.metrics.depth import depth_errors, depth_errors_by_range
from opv2v_stage2.metrics.floaters import Sweep, completeness_above, floaters, lidar_floaters, percent
from opv2v_stage2.metrics.rays import pixel_heights, pixel_rays
from opv2v_stage2.metrics.scale import (
    depth_ratio,
    effective_scale_columns,
    mean_distance,
    mult_err,
    scale_columns,
)

INF, NAN = float("inf"), float("nan")
LEVEL_CAMERA = np.array([[0.0, 0, 1, 3.0], [-1, 0, 0, 0], [0, -1, 0, -0.9], [0, 0, 0, 1]])
"""lidar_from_camera of camera 0."""


def camera(width, height, field_of_view_deg=100.0):
    f = width / 2 / math.tan(math.radians(field_of_view_deg / 2))
    return np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]])


# --- depth ---


def test_depth_errors_are_means_over_pictures_not_over_all_labels():
    truth = np.zeros((3, 1, 4))
    truth[0, 0] = [10, 10, 10, 10]
    truth[1, 0, 0] = 20  # one label counts as much as four
    predicted = np.full((3, 1, 4), 11.0)
    predicted[1] = 40.0
    errors = depth_errors(predicted, truth)
    assert errors.mae == pytest.approx((1 + 20) / 2)
    assert errors.rmse == pytest.approx((1 + 20) / 2)
    assert errors.rel == pytest.approx((0.1 + 1) / 2)
    assert errors.delta1 == pytest.approx((1 + 0) / 2)


def test_rmse_within_a_picture_weighs_large_errors_more():
    errors = depth_errors(np.array([[[11.0, 13.0]]]), np.array([[[10.0, 10.0]]]))
    assert errors.rmse == pytest.approx(math.sqrt(5))
    assert errors.mae == pytest.approx(2)
    assert errors.delta1 == pytest.approx(0.5)


def test_what_has_no_label_changes_nothing_and_a_prediction_that_is_not_a_number_is_not_hidden():
    truth = np.array([[[10.0, 0.0, INF, NAN]]])
    assert depth_errors(np.array([[[12.0, NAN, 5.0, -3.0]]]), truth).mae == pytest.approx(2)
    assert math.isnan(depth_errors(np.array([[[NAN, 1.0, 1.0, 1.0]]]), truth).mae)
    assert math.isnan(depth_errors(truth, np.zeros_like(truth)).mae)
    assert depth_errors(np.zeros((1, 1, 4)), truth).delta1 == 0


def test_ranges_are_those_of_the_truth():
    found = depth_errors_by_range(np.array([[[12.0, 12.0, 70.0]]]), np.array([[[9.0, 11.0, 60.0]]]))
    assert {name: errors.mae for name, errors in found.items()} == pytest.approx(
        {"0-10 m": 3, "10-20 m": 1, "20-40 m": NAN, "40-120 m": 10}, nan_ok=True
    )


# --- pixels ---


def test_the_first_pixel_is_half_a_pixel_inside_the_picture():
    rays = pixel_rays(camera(4, 2, 90.0), 2, 4)  # f = 2, c = (2, 1)
    assert rays[0, 0] == pytest.approx([-0.75, -0.25, 1])
    assert rays.mean(axis=(0, 1)) == pytest.approx([0, 0, 1])


def test_a_corner_is_up_to_1_79_times_as_far_as_its_depth():
    stretch = np.linalg.norm(pixel_rays(camera(800, 600), 600, 800), axis=-1)
    assert stretch.max() == pytest.approx(1.79, abs=0.01)


def test_the_height_of_a_pixel_is_above_the_ground_not_above_the_lidar():
    intrinsics = camera(8, 6)
    heights = pixel_heights(np.full((6, 8), 10.0), intrinsics, LEVEL_CAMERA)
    f = intrinsics[0, 0]
    assert heights[:, 0] == pytest.approx([1.03 - 10 * (row + 0.5 - 3) / f for row in range(6)])


# --- scale ---


def test_scale_columns_are_those_of_the_request():
    columns = scale_columns(np.array([10.0, 40.0]), 20.0)
    assert columns["scale_to_gt_ratio_mean"] == pytest.approx(1.25)
    assert columns["scale_to_gt_ratio_median"] == pytest.approx(1.25)
    assert columns["scale_to_gt_ratio_p90"] == pytest.approx(0.5 + 0.9 * 1.5)
    assert columns["scale_to_gt_err"] == pytest.approx((0.5 + 1) / 2)
    assert columns["scale_to_gt_log_err"] == pytest.approx(math.log(2))
    assert columns["scale_to_gt_eq_rel_err"] == pytest.approx(1)
    assert columns["scale_gt_factor"] == 20
    # Compared with 1, a factor that is exactly right is 19 off.
    assert scale_columns(np.array([20.0]), 20.0)["scale_err"] == pytest.approx(19)
    assert scale_columns(np.array([20.0]), 20.0)["scale_to_gt_err"] == 0


def test_the_size_of_the_cloud_does_not_depend_on_how_it_is_split_into_scale_and_shape():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 10, (2, 3, 4, 3))
    chosen = rng.random((2, 3, 4)) < 0.7
    found = effective_scale_columns(1.3 * truth, truth, chosen)
    assert found["scale_eff"] == pytest.approx(1.3)
    assert found["scale_eff_log_err"] == pytest.approx(math.log(1.3))
    by_loop = [np.linalg.norm(truth[index]) for index in np.ndindex(chosen.shape) if chosen[index]]
    assert mean_distance(truth, chosen) == pytest.approx(np.mean(by_loop))
    assert depth_ratio(np.array([2.0, 3.0, 100.0]), np.ones(3), np.ones(3, bool)) == 3
    assert math.isnan(mean_distance(truth, np.zeros_like(chosen)))


def test_one_bad_frame_carries_off_the_legacy_mean_of_multiplicative_errors():
    log_errs = np.log([1.1, 1.1, 10.0])
    assert mult_err(log_errs, "legacy") == pytest.approx((1.1 + 1.1 + 10) / 3)
    assert mult_err(log_errs) == pytest.approx((1.1 * 1.1 * 10) ** (1 / 3))


# --- floaters ---


def test_a_point_floats_in_the_sky_or_well_in_front_of_what_is_there():
    truth = np.array([[[INF, 30.0, 30.0, 30.0, 30.0, NAN]]])
    predicted = np.array([[[8.0, 20.0, 29.8, 45.0, 20.0, 20.0]]])
    valid = np.array([[[True, True, True, True, False, True]]])
    found = floaters(predicted, valid, truth, camera(6, 1, 60.0)[None])
    assert found[0, 0].tolist() == [True, True, False, False, False, False]
    assert percent(found, valid) == pytest.approx(100 * 2 / 5)


def test_a_point_that_bleeds_over_the_edge_of_a_pole_does_not_float():
    truth = np.array([[[30.0, 10.0, 30.0]]])  # a pole, and its prediction is one pixel too wide: 0.4 m
    predicted = np.array([[[30.0, 10.0, 10.0]]])
    valid = np.ones((1, 1, 3), bool)
    assert not floaters(predicted, valid, truth, camera(3, 1, 7.0)[None]).any()
    assert floaters(predicted, valid, truth, camera(3, 1, 70.0)[None])[0, 0].tolist() == [False, False, True]


def test_the_gap_is_measured_along_the_ray():
    truth, predicted, valid = np.full((1, 1, 1), 10.0), np.full((1, 1, 1), 9.3), np.ones((1, 1, 1), bool)
    middle = np.array([[[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]])
    aside = np.array([[[2.0, 0, -1.9], [0, 1, 0.5], [0, 0, 1]]])  # looks along (1.2, 0, 1): 0.7 m become 1.1 m
    assert not floaters(predicted, valid, truth, middle).any()
    assert floaters(predicted, valid, truth, aside).all()


def test_floaters_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    truth = rng.uniform(3, 40, (2, 6, 8))
    truth[rng.random(truth.shape) < 0.2] = INF
    predicted = np.where(np.isinf(truth), 10, truth) * rng.uniform(0.7, 1.2, truth.shape)
    valid = rng.random(truth.shape) < 0.8
    intrinsics = np.stack([camera(8, 6), camera(8, 6, 20.0)])
    found = floaters(predicted, valid, truth, intrinsics)
    for v, i, j in np.ndindex(truth.shape):
        ray = np.linalg.inv(intrinsics[v]) @ [j + 0.5, i + 0.5, 1]
        others = [
            truth[v, a, b] * np.linalg.inv(intrinsics[v]) @ [b + 0.5, a + 0.5, 1]
            for a, b in np.ndindex(6, 8)
            if np.isfinite(truth[v, a, b])
        ]
        gap = (truth[v, i, j] - predicted[v, i, j]) * np.linalg.norm(ray)
        is_lonely = min(np.linalg.norm(predicted[v, i, j] * ray - other) for other in others) > 1
        assert found[v, i, j] == (valid[v, i, j] and (np.isinf(truth[v, i, j]) or (gap > 1 and is_lonely)))


def test_removing_everything_high_costs_completeness():
    truth = np.array([[[20.0, 20.0, 20.0, 20.0, INF]]])
    heights = np.array([[[6.0, 6.0, 6.0, 1.0, INF]]])
    predicted = np.array([[[21.5, 17.0, 20.0, 3.0, 9.0]]])  # 10 % of 20 m is 2 m
    valid = np.array([[[True, True, False, True, True]]])
    assert completeness_above(predicted, valid, truth, heights, 4.0) == pytest.approx(100 / 3)
    assert math.isnan(completeness_above(predicted, valid, truth, heights, 9.0))


def sweep_of_the_ground():
    """64 rings of a lidar 1.93 m above a plane, and a wall 30 m ahead."""
    elevation, azimuth = np.meshgrid(np.radians(np.linspace(-25, 2, 64)), np.radians(np.arange(-180, 180, 0.35)))
    directions = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    ).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        ground = np.where(directions[:, 2] < 0, -1.93 / directions[:, 2], INF)
        wall = np.where(directions[:, 0] > 0, 30 / directions[:, 0], INF)
    ranges = np.minimum(ground, wall)
    seen = ranges < 120
    return directions[seen] * ranges[seen, None]


def test_lidar_sees_through_what_floats_and_not_through_a_perfect_road():
    returns = sweep_of_the_ground()
    rng = np.random.default_rng(0)
    road = np.column_stack([rng.uniform(-40, 28, 2000), rng.uniform(-30, 30, 2000), np.full(2000, -1.93)])
    floating = np.array([[15.0, 0.0, 0.0], [10.0, 5.0, -0.3]])
    behind = np.array([[33.0, 0.0, 0.0]])
    above = np.array([[10.0, 0.0, 5.0]])
    points = np.concatenate([floating, behind, above, road])
    floats, judged = lidar_floaters(points, [Sweep(np.zeros(3), returns)])
    assert floats[:4].tolist() == [True, True, False, False]
    assert judged[:4].tolist() == [True, True, True, False]
    assert floats[4:].sum() == 0


def test_where_nothing_returned_nothing_floats():
    returns = sweep_of_the_ground()
    hole = np.abs(np.arctan2(returns[:, 1], returns[:, 0])) < 0.1
    floats, judged = lidar_floaters(np.array([[15.0, 0.0, 0.0]]), [Sweep(np.zeros(3), returns[~hole])])
    assert not floats.any()
    assert not judged.any()


def test_a_second_lidar_judges_from_where_it_stands():
    returns = sweep_of_the_ground()
    origin = np.array([0.0, 200.0, 0.0])
    point = np.array([[15.0, 200.0, 0.0]])
    assert not lidar_floaters(point, [Sweep(np.zeros(3), returns)])[1].any()
    assert lidar_floaters(point, [Sweep(np.zeros(3), returns), Sweep(origin, returns + origin)])[0].all()
