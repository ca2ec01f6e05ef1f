"""Cloud measures by hand and by plain loops, and what the recipes that users come from say of a perfect prediction."""

import math

import numpy as np
import pytest

from opv2v_stage2.clouds.cloud import Cloud, CloudFrame, united
from opv2v_stage2.clouds.crops import Crop, thinned
from opv2v_stage2.metrics.clouds import bev_iou, cloud_errors, height_bands, nearest_distances, occupied_cells
from opv2v_stage2.metrics.detection import box_distance, box_recall, points_on_boxes

# --- distances ---


def test_both_directions_of_chamfer_are_means_of_distances_not_of_squares():
    predicted = np.array([[0.0, 0, 0], [3.0, 4.0, 0]])
    truth = np.array([[0.0, 0, 0]])
    errors = cloud_errors(predicted, truth)
    assert errors.chamfer_pred_to_gt == pytest.approx(2.5)
    assert errors.chamfer_gt_to_pred == 0
    assert errors.accuracy == (0.5, 0.5, 0.5)
    assert errors.completeness == (1, 1, 1)
    assert errors.f_score == pytest.approx([2 / 3] * 3)


def test_the_f_score_depends_on_the_threshold():
    truth = np.array([[0.0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]])
    errors = cloud_errors(truth + np.array([[0, 0.1, 0], [0, 0.3, 0], [0, 0.7, 0], [0, 2, 0]]), truth)
    assert errors.f_score == pytest.approx([0.25, 0.5, 0.75])


def test_nearest_distances_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0, 5, (200, 3)), rng.normal(0, 5, (300, 3))
    by_loop = [min(math.dist(a, b) for b in theirs.tolist()) for a in ours.tolist()]
    assert nearest_distances(ours, theirs) == pytest.approx(by_loop)


def test_only_the_asking_points_are_sampled_so_a_large_perfect_cloud_stays_perfect():
    points = np.random.default_rng(0).normal(0, 30, (5000, 3))
    errors = cloud_errors(points, points, max_points=500)
    assert (errors.chamfer_pred_to_gt, errors.chamfer_gt_to_pred) == (0, 0)
    shifted = cloud_errors(points, points[::2] + 0.3, max_points=500, seed=3)
    assert shifted == cloud_errors(points, points[::2] + 0.3, max_points=500, seed=3)
    whole = cloud_errors(points, points[::2] + 0.3)
    assert shifted.chamfer_pred_to_gt == pytest.approx(whole.chamfer_pred_to_gt, rel=0.1)


def test_a_prediction_of_nothing_scores_nothing_and_has_no_distance():
    errors = cloud_errors(np.zeros((0, 3)), np.ones((4, 3)))
    assert np.isnan([errors.chamfer_pred_to_gt, errors.chamfer_gt_to_pred, *errors.accuracy]).all()
    assert errors.completeness == errors.f_score == (0, 0, 0)


# --- from above ---


def test_bev_iou_counts_cells_whatever_their_height_and_number_of_points():
    ours = np.array([[0.1, 0.1, 0], [0.2, 0.2, 9], [5.1, 0, 0]])
    theirs = np.array([[0.3, 0.4, -3], [-5.1, 0, 0]])
    assert bev_iou(ours, theirs, 10.0, 0.5) == pytest.approx(1 / 3)
    assert math.isnan(bev_iou(ours[:0], theirs[:0], 10.0, 0.5))
    assert bev_iou(ours[:0], theirs, 10.0, 0.5) == 0


def test_cells_are_those_of_a_plain_loop_and_what_is_outside_has_none():
    points = np.random.default_rng(0).uniform(-12, 12, (400, 3))
    grid = occupied_cells(points, 10.0, 0.5)
    by_loop = np.zeros((40, 40), bool)
    for x, y, _ in points:
        if -10 <= x < 10 and -10 <= y < 10:
            by_loop[math.floor((x + 10) / 0.5), math.floor((y + 10) / 0.5)] = True
    assert (grid == by_loop).all()
    assert occupied_cells(np.array([[10.0, 0, 0], [-10.0, 0, 0], [1e30, 0, 0]]), 10.0, 0.5).sum() == 1


def test_height_bands_are_a_metre_each():
    assert height_bands(np.array([-0.2, 0, 0.9, 3, 3.99, 4.0])) == {-1: 1, 0: 2, 3: 2, 4: 1}
    assert height_bands(np.zeros(0)) == {}


# --- vehicles ---


def test_the_distance_to_a_box_is_to_its_surface_from_both_sides():
    half = np.array([2.0, 1.0, 0.8])
    points = np.array([[3.0, 0, 0], [3, 2, 0], [0, 0, 0], [1.9, 0, 0], [2, 1, 0.8]])
    assert box_distance(points, half) == pytest.approx([1, math.sqrt(2), -0.8, -0.1, 0])


def test_a_vehicle_is_found_where_enough_points_lie_on_its_sides():
    cloud_from_box = np.eye(4)
    cloud_from_box[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    cloud_from_box[:3, 3] = [30, 5, -1]
    half = np.array([[2.0, 1.0, 0.8]])
    side = np.array([[29.0, 5 + y, -1] for y in np.linspace(-1.5, 1.5, 7)])  # its left, 1 m from its middle
    inside = np.array([[30.0, 5, -1]] * 50)
    counts = points_on_boxes(np.concatenate([side, inside]), cloud_from_box[None], half)
    assert counts.tolist() == [7]
    assert points_on_boxes(side + np.array([0.4, 0, 0]), cloud_from_box[None], half, near_m=0.3).tolist() == [0]
    assert box_recall(np.array([7, 4, 0, 9])) == 0.5
    assert math.isnan(box_recall(np.zeros(0, np.int64)))


# --- a perfect prediction under the recipes that users come from ------------------------------------------------------

GROUND_Z = -1.93


def sweep(origin_xy, seed):
    """What a lidar of OPV2V measures in a street with walls, cars and a bridge; in the frame of the first lidar."""
    rng = np.random.default_rng(seed)
    elevation, azimuth = np.meshgrid(np.radians(np.linspace(-25, 2, 64)), np.radians(np.arange(-180, 180, 1.0)))
    directions = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    ).reshape(-1, 3)
    origin = np.array([*origin_xy, 0.0])
    with np.errstate(divide="ignore"):
        ranges = np.where(directions[:, 2] < 0, GROUND_Z / directions[:, 2], np.inf)
        for axis, place in ((1, 14.0), (1, -11.0), (0, 70.0), (0, -60.0)):
            to_wall = (place - origin[axis]) / directions[:, axis]
            ranges = np.minimum(ranges, np.where(to_wall > 0, to_wall, np.inf))
    for centre, half in (((12, 3), 1.2), ((-15, -4), 1.5), ((30, -3), 2.0), ((48, 4), 1.2)):
        ranges = np.minimum(ranges, _to_pillar(directions, origin, np.array(centre), half))
    seen = ranges < 120
    noise = rng.normal(0, 0.02, seen.sum())
    return (origin + directions[seen] * (ranges[seen] + noise)[:, None]).astype(np.float32)


def _to_pillar(directions, origin, centre, radius):
    """Distance along each ray to a car-high pillar."""
    flat = directions[:, :2]
    a = (flat**2).sum(axis=1)
    b = flat @ (origin[:2] - centre)
    c = ((origin[:2] - centre) ** 2).sum() - radius**2
    inside = b * b - a * c
    distance = (-b - np.sqrt(np.maximum(inside, 0))) / a
    top = origin[2] + distance * directions[:, 2]
    return np.where((inside > 0) & (distance > 0) & (top < GROUND_Z + 1.6), distance, np.inf)


@pytest.fixture(scope="module")
def sweeps():
    """Of three vehicles."""
    return [sweep((0, 0), 0), sweep((45, 3), 1), sweep((-40, -5), 2)]


def score(predicted, truth):
    errors = cloud_errors(predicted, truth)
    return errors.chamfer_pred_to_gt, errors.chamfer_gt_to_pred, bev_iou(predicted, truth)


def window(points, column=2, low=-1.0, high=4.2):
    return points[(points[:, column] >= low) & (points[:, column] <= high)]


def cv_view0(points):
    """In the OpenCV axes of camera 0, which sits 3 m ahead of the lidar and 0.9 m below."""
    x, y, z = (points - np.array([3, 0, -0.9], np.float32)).T
    return np.column_stack([-y, -z, x])


def test_a_height_window_in_the_lidar_frame_takes_the_ground_away(sweeps):
    to_truth, to_predicted, iou = score(window(sweeps[0]), sweeps[0])
    assert to_truth == 0
    assert to_predicted > 0.8
    assert iou < 0.6


def test_points_left_in_the_frame_of_camera_0_lose_the_lever_arm(sweeps):
    to_truth, to_predicted, iou = score(sweeps[0] - np.array([3, 0, -0.9], np.float32), sweeps[0])
    assert to_truth > 0.4
    assert to_predicted > 0.4
    assert iou < 0.6


def test_points_left_in_opencv_axes_are_metres_away_and_a_height_window_then_cuts_their_depth(sweeps):
    raw = score(cv_view0(sweeps[0]), sweeps[0])
    assert min(raw[:2]) > 3
    assert raw[2] < 0.15
    windowed = score(window(cv_view0(sweeps[0])), sweeps[0])
    assert windowed[1] > 5
    assert windowed[2] < 0.05


def test_a_union_of_sweeps_against_the_main_sweep_is_punished_for_what_the_others_saw(sweeps):
    to_truth, to_predicted, iou = score(np.concatenate(sweeps), sweeps[0])
    assert to_truth > 0.8
    assert to_predicted == 0
    assert iou < 0.6


def test_under_our_recipe_a_perfect_prediction_is_perfect(sweeps):
    clouds = [Cloud(points, CloudFrame()) for points in sweeps]
    lidars = []
    for x, y in ((0, 0), (45, 3), (-40, -5)):
        lidars.append(np.eye(4))
        lidars[-1][:2, 3] = x, y
    crop = Crop(-1.0, 4.2, 120.0, lidars=tuple(lidars))
    truth = thinned(crop.of(united(clouds)), 0.2)
    shuffled = united(clouds).at(np.random.default_rng(0).permutation(len(united(clouds))))
    predicted = thinned(crop.of(shuffled), 0.2)
    assert score(predicted.points, truth.points) == (0, 0, 1)
    assert len(crop.of(united(clouds))) > 0.9 * len(united(clouds))
