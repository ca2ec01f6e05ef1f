"""Drawings against numbers worked out by hand: where a point of the road falls, and what must not be drawn."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.data.labels import Samples
from v2x_teacher.data.open_recording import open_recording
from v2x_teacher.data.recording import Box, Calibration, Pair, Recording
from v2x_teacher.drawing.board import Case, Photo, draw_case
from v2x_teacher.drawing.camera import NEAR_M, View, clipped, draw_plain, draw_view
from v2x_teacher.drawing.canvas import Canvas, dashes
from v2x_teacher.drawing.cases import CaseMaker, footprints, reference_height
from v2x_teacher.drawing.curves import CTRV, DRIVEN, TEACHER, Curve, curves_of
from v2x_teacher.drawing.overhead import ITSELF, OTHERS, UNSEEN, Footprint, Window, draw_overhead
from v2x_teacher.pictures import read_whole_picture

TIMES_S = np.arange(1, 46) / 10
EGO_SIZE_M = (4.0, 2.0)
CAMERA_HEIGHT_M = 1.0
"""Above the reference point, which is 0.5 m above the road."""
GROUND_Z_M = -0.5
PICTURE = np.full((56, 100, 3), 90, np.uint8)


def view(picture: np.ndarray = PICTURE) -> View:
    """A camera that looks straight ahead: x right is -y of the vehicle, y down is -z, z forward is x."""
    intrinsics = np.array([[100.0, 0.0, 49.5], [0.0, 100.0, 27.5], [0.0, 0.0, 1.0]])
    turned = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    camera_from_ego = np.eye(4)
    camera_from_ego[:3, :3], camera_from_ego[:3, 3] = turned, turned @ [0.0, 0.0, -CAMERA_HEIGHT_M]
    return View(picture, intrinsics, camera_from_ego)


def straight(mps: float) -> np.ndarray:
    return np.column_stack([mps * TIMES_S, np.zeros(45)])


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])


def has_colour(picture: np.ndarray, colour: str, tolerance: int = 3) -> np.ndarray:
    return (np.abs(picture.astype(int) - rgb(colour)) <= tolerance).all(axis=-1)


def test_a_point_of_the_road_falls_where_the_lens_says():
    # 10 m ahead, 2 m to the left, 1.5 m below the camera: 100 * -2 / 10 left of the middle, 100 * 1.5 / 10 below it.
    pixels = view().ground_pixels(np.array([[10.0, 2.0], [0.4, 0.0], [-5.0, 1.0]]), GROUND_Z_M)
    np.testing.assert_allclose(pixels[0], [29.5, 42.5])
    assert np.isnan(pixels[1:]).all()


def test_the_drawn_line_runs_over_that_pixel_of_the_enlarged_picture():
    points = np.column_stack([np.linspace(4, 20, 45), np.linspace(4, 20, 45) / 5])  # through (10, 2)
    drawn = draw_view(view(), [Curve("teacher", TEACHER, points)], np.full(45, 0.5), GROUND_Z_M, 800, 448)
    u, v = 8 * (29.5 + 0.5), 8 * (42.5 + 0.5)
    assert has_colour(drawn[int(v), int(u)], TEACHER.colour)
    assert not has_colour(drawn[int(v), int(u) + 60], TEACHER.colour)


def test_a_line_is_cut_exactly_at_the_near_plane():
    line = np.array([[0.0, 1.0, -1.5], [0.0, 1.0, 2.5], [4.0, 1.0, 2.5], [4.0, 1.0, -1.5], [8.0, 1.0, 2.5]])
    first, second = clipped(line)
    # From -1.5 to 2.5 the plane at 0.5 is half way.
    assert pytest.approx(0.5) == NEAR_M
    np.testing.assert_allclose(first, [[0, 1, 0.5], [0, 1, 2.5], [4, 1, 2.5], [4, 1, 0.5]])
    np.testing.assert_allclose(second, [[6, 1, 0.5], [8, 1, 2.5]])


def test_behind_the_camera_nothing_is_drawn():
    behind = [Curve("teacher", TEACHER, straight(-5.0))]
    drawn = draw_view(view(), behind, TIMES_S, GROUND_Z_M, 400, 224)
    np.testing.assert_array_equal(drawn, draw_plain(PICTURE, "the path lies outside this picture", 400, 224))
    assert clipped(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.3]])) == []


def test_steps_that_nobody_knows_are_not_drawn():
    points = straight(10.0)
    points[20:] = np.nan
    curve = Curve("driven", DRIVEN, points)
    assert curve.last == 19
    assert curve.marks(TIMES_S) == [9, 19]
    assert Curve("driven", DRIVEN, straight(10.0)).marks(TIMES_S) == [9, 19, 29, 39, 44]
    drawn = draw_overhead([curve], TIMES_S, [], EGO_SIZE_M, 400, 400)
    assert not has_colour(drawn[:150], DRIVEN.colour).any()  # 400 px are 65 m: 20 m ahead is below the middle
    nothing = Curve("driven", DRIVEN, np.full((45, 2), np.nan))
    assert (nothing.last, nothing.marks(TIMES_S)) == (-1, [])


def test_from_above_ahead_is_up_and_left_is_left():
    ahead_left = Footprint(20.0, 10.0, 0.0, 5.0, 2.0)
    ahead_right = Footprint(20.0, -10.0, np.pi / 2, 5.0, 2.0, is_unseen=True)
    drawn = draw_overhead([], TIMES_S, [ahead_left, ahead_right], EGO_SIZE_M, 500, 600)
    middles = {}
    for name, colour in {"ego": ITSELF, "left": OTHERS, "right": UNSEEN}.items():
        rows, columns = np.nonzero(has_colour(drawn[:540], colour))  # below is the scale bar
        middles[name] = np.array([np.median(rows), np.median(columns)])
        middles[f"{name} size"] = np.array([np.ptp(rows), np.ptp(columns)])
    px_per_m = Window.around(np.array([[-8.0, -16.0], [45.0, 16.0]]), 500, 600).px_per_m
    assert px_per_m == pytest.approx(600 / (45 + 8 + 2 * 6))
    np.testing.assert_allclose((middles["left"] - middles["ego"]) / px_per_m, [-20, -10], atol=0.6)
    np.testing.assert_allclose((middles["right"] - middles["ego"]) / px_per_m, [-20, 10], atol=0.6)
    np.testing.assert_allclose(middles["left size"] / px_per_m, [5, 2], atol=0.4)  # along x
    np.testing.assert_allclose(middles["right size"] / px_per_m, [2, 5], atol=0.4)  # across


def test_the_scale_bar_is_as_long_as_it_says():
    drawn = draw_overhead([], TIMES_S, [], EGO_SIZE_M, 650, 650)
    line = has_colour(drawn[650 - 20], "#222222")
    assert line.sum() == pytest.approx(10 * 650 / 65, abs=6)  # 10 m at 10 px per metre, and its ends


def test_a_trajectory_of_kilometres_still_fits():
    drawn = draw_overhead([Curve("teacher", TEACHER, straight(2000.0))], TIMES_S, [], EGO_SIZE_M, 300, 300)
    rows = np.nonzero(has_colour(drawn, TEACHER.colour))[0]
    assert np.ptp(rows) > 250


def test_dashes_are_measured_along_the_line():
    corner = np.array([[0.0, 0.0], [0.0, 12.0], [28.0, 12.0]])
    pieces = list(dashes(corner, (10.0, 5.0)))
    assert [len(piece) for piece in pieces] == [2, 2, 2]  # the corner lies between two dashes
    np.testing.assert_allclose(pieces[0], [[0, 0], [0, 10]])
    np.testing.assert_allclose(pieces[1], [[3, 12], [13, 12]])
    np.testing.assert_allclose(pieces[2], [[18, 12], [28, 12]])
    around = list(dashes(corner, (20.0, 5.0)))
    np.testing.assert_allclose(around[0], [[0, 0], [0, 12], [8, 12]])


def test_far_outside_the_picture_does_no_harm():
    canvas = Canvas(50, 40)
    canvas.line(np.array([[10.0, 20.0], [1e12, 20.0]]), "#ff0000", 3)
    assert has_colour(canvas.pixels()[20, 10:], "#ff0000").all()


def test_each_curve_is_named_with_its_error_over_the_known_steps():
    driven = straight(10.0)
    driven[30:] = np.nan
    answers = {"teacher": straight(10.0) + np.array([0.0, 3.0]), "CTRV": straight(10.0), "stand still": straight(0.0)}
    labels = {curve.label: curve.style for curve in curves_of(driven, answers)}
    assert labels == {"driven": DRIVEN, "CTRV: off by 0.00 m": CTRV, "teacher: off by 3.00 m": TEACHER}
    unknown = curves_of(np.full((45, 2), np.nan), answers, modes=np.zeros((3, 45, 2)))
    assert [curve.label for curve in unknown] == ["the teacher's modes", "", "", "CTRV", "teacher"]


# --- from a data set --------------------------------------------------------------------------------------------------


def recording_with(boxes: list[Box], tmp_path: Path) -> tuple[Recording, Samples]:
    """One pair at (100, 50, 20) of the world, heading along its y axis."""
    pair = Pair("000007", None, "0000", "test", 1, None, tmp_path / "v.png", None)
    world_from_ego = np.array([[0.0, -1, 0, 100], [1, 0, 0, 50], [0, 0, 1, 20], [0, 0, 0, 1]])
    samples = Samples(
        pairs=(pair,),
        sequences=("0000",),
        truth=np.zeros((1, 45, 2), np.float32),
        ego=np.zeros((1, 4), np.float32),
        history_s=np.ones(1, np.float32),
        world_from_ego=world_from_ego[None],
        excluded=Counter(),
        forward_axis="x",
    )
    recording = Recording(tmp_path, "spd", {}, (pair,), (), lambda pair, side: None, lambda sequence, vehicle_id: boxes)
    return recording, samples


def box(x: float, y: float, bottom_z: float, height: float = 1.6, **changes: object) -> Box:
    world_from_box = np.eye(4)
    world_from_box[:3, 3] = x, y, bottom_z + height / 2
    return replace(Box("Car", "1", world_from_box, (4.5, 1.8, height)), **changes)


def test_the_height_of_the_reference_point_comes_from_the_boxes_that_stand_nearby(tmp_path):
    near = [box(100, 60, 19.2), box(110, 50, 19.3, 3.0), box(95, 40, 19.3)]  # the road is at 19.3: 0.7 m below
    far_and_downhill = [box(100, 140, 10.0)] * 5
    assert reference_height(*recording_with(near + far_and_downhill, tmp_path)) == pytest.approx(0.7)
    assert reference_height(*recording_with(far_and_downhill, tmp_path)) == 0.5
    assert reference_height(*recording_with([], tmp_path)) == 0.5
    nonsense = [box(100, 60, 30.0)]
    assert reference_height(*recording_with(nonsense, tmp_path)) == 0.5


def test_road_users_are_turned_into_the_vehicles_frame(tmp_path):
    # 10 m along the world's y is 10 m ahead; its x axis is the vehicle's right.
    recording, samples = recording_with([box(103, 60, 19.5, seen_by="inf")], tmp_path)
    (found,) = footprints(recording, samples.pairs[0], samples.world_from_ego[0])
    assert (found.x, found.y) == (pytest.approx(10), pytest.approx(-3))
    assert found.yaw == pytest.approx(-np.pi / 2)
    assert (found.length, found.width, found.is_unseen) == (4.5, 1.8, True)


def test_the_poles_camera_sees_the_vehicle_where_the_drawing_would_put_it(tiny_data):
    """The whole chain of poses, calibrations and pixels, on rendered pictures: the vehicle's own colour is there."""
    recording, here, aside = open_recording(tiny_data), [], []
    for pair in (pair for pair in recording.pairs if pair.split):
        poses, camera = recording.poses[pair.sequence], recording.calibration(pair, "infrastructure")
        picture = read_whole_picture(pair.infrastructure_image)
        world_from_ego = poses.world_from_vehicle[poses.ids.index(pair.vehicle_id)]
        seen = View(picture, camera.intrinsics, camera.camera_from_world @ world_from_ego)
        body = seen.in_camera(np.array([[1.2, 0.0]]), 0.3)  # its middle, 0.8 m above the road
        ((u, v),) = seen.pixels(body).round().astype(int)
        if 0 < body[0, 2] < 60 and 8 < u < 56 and 1 < v < 35:
            here.append(is_turquoise(picture[v - 1 : v + 2, u - 1 : u + 2]))
            aside += [is_turquoise(picture[v - 1 : v + 2, u + shift - 1 : u + shift + 2]) for shift in (-6, 6)]
    assert len(here) > 8
    assert np.mean(here) > 0.5  # houses and lights stand before some
    assert np.mean(aside) < 0.1


def is_turquoise(pixels: np.ndarray) -> bool:
    red, green, blue = pixels.astype(int).reshape(-1, 3).T
    return bool(((green > red + 30) & (blue > red + 30) & (blue < 200)).any())


# --- boards -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def case() -> Case:
    picture = np.random.default_rng(0).integers(0, 255, (56, 100, 3), dtype=np.uint8)
    photos = [Photo("vehicle camera", picture, view(picture)), Photo("infrastructure camera", picture, None)]
    curves = curves_of(straight(8.0), {"teacher": straight(7.0)})
    return Case("title", "subtitle", curves, TIMES_S, photos, [], EGO_SIZE_M, GROUND_Z_M)


def test_a_board_draws_into_calibrated_pictures_only(case):
    board = draw_case(case)
    vehicle, infrastructure = board[84:534, 18:818], board[548:998, 18:818]
    assert has_colour(vehicle, TEACHER.colour).any()
    assert not has_colour(infrastructure, TEACHER.colour, 0).any()
    assert has_colour(board[84:998, 832:], TEACHER.colour).any()  # from above


def test_a_board_explains_only_what_is_on_it(case):
    alone = draw_case(case)
    others = draw_case(replace(case, footprints=[Footprint(20.0, 5.0, 0.0, 4.0, 2.0)]))
    far = draw_case(replace(case, footprints=[Footprint(90.0, 5.0, 0.0, 4.0, 2.0, is_unseen=True)]))
    assert has_colour(others[1000:], OTHERS).any()
    assert not has_colour(alone[1000:], OTHERS).any()
    np.testing.assert_array_equal(far, alone)


def test_a_missing_picture_leaves_its_place_empty(case):
    board = draw_case(replace(case, photos=[case.photos[0], Photo("infrastructure camera", None, None)]))
    assert has_colour(board[700:900, 100:700], "#eef0f2").all()


def test_a_picture_of_another_shape_is_fitted_not_stretched(case):
    tall = np.full((200, 100, 3), (200, 30, 30), np.uint8)
    board = draw_case(replace(case, photos=[case.photos[0], Photo("infrastructure camera", tall, None)]))
    row = board[900, 18:818]
    assert (row[:, 0] == 200).sum() == pytest.approx(225, abs=2)  # 450 px high, half as wide


def test_a_case_without_calibration_says_so(tmp_path):
    recording, samples = recording_with([], tmp_path)
    maker = CaseMaker.of(recording, samples, TIMES_S, EGO_SIZE_M)
    assert "no calibration" in maker.how_drawn
    camera = Calibration(np.eye(3), np.eye(4))
    known = CaseMaker.of(replace(recording, calibration=lambda pair, side: camera), samples, TIMES_S, EGO_SIZE_M)
    assert "0.50 m below" in known.how_drawn
