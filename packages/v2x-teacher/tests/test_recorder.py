"""What the units know about a drive: poses, calibrations and boxes, followed from the junction to the pixel."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data.boxes import box_corners, boxes, wrap
from v2x_teacher.data.make_data.paths import Path as Lane
from v2x_teacher.data.make_data.recorder import FORWARD_AT_RAD, Recorder
from v2x_teacher.data.make_data.sequences import plan_sequences
from v2x_teacher.data.make_data.traffic import Actor, Body, Drive, Scenario, scenario, simulate
from v2x_teacher.data.make_data.views import Views

SETTINGS = MakeDataSettings(data_dir=Path("unused"), num_sequences=5, seconds=8.0, width=320)


@lru_cache(maxsize=16)
def recorder(index: int = 0, settings: MakeDataSettings = SETTINGS) -> Recorder:
    plan = plan_sequences(settings)[index]
    drive = simulate(plan.scenario)
    return Recorder(settings, plan, drive, Views(drive, settings.width))


def true_world_poses(found: Recorder) -> np.ndarray:
    """x, y, z [m] and heading [rad] of the reference point in the world, straight from the simulation."""
    junction = found.plan.world_from_junction
    turn = np.arctan2(junction[1, 0], junction[0, 0])
    rows = []
    for frame in found.plan.vehicle:
        x, y, heading = found.drive.pose((frame.cloud_us - found.plan.start_us) / 1e6)
        rows.append([*(junction @ (x, y, 0.5, 1))[:3], heading + turn])
    return np.array(rows)


@pytest.mark.parametrize("index", range(5))
def test_world_poses_are_the_simulated_ones_but_for_the_noise(index: int) -> None:
    found = recorder(index)
    true = true_world_poses(found)
    error_m = found.world_from_novatel[:, :3, 3] - true[:, :3]
    assert 0.015 < error_m.std() < 0.025
    assert np.abs(error_m).max() < 0.1
    headings = np.arctan2(found.world_from_novatel[:, 1, 0], found.world_from_novatel[:, 0, 0])
    error_rad = wrap(headings - true[:, 3])
    assert np.radians(0.03) < error_rad.std() < np.radians(0.07)
    np.testing.assert_allclose(np.linalg.det(found.world_from_novatel[:, :3, :3]), 1.0, atol=1e-9)


def test_without_noise_positions_are_exact_and_with_more_they_scatter_more() -> None:
    exact, rough = (recorder(0, replace(SETTINGS, position_noise_m=noise)) for noise in (0.0, 0.5))
    true = true_world_poses(exact)[:, :3]
    np.testing.assert_allclose(exact.world_from_novatel[:, :3, 3], true, atol=1e-6)
    assert 0.4 < (rough.world_from_novatel[:, :3, 3] - true).std() < 0.6


@pytest.mark.parametrize("axis", ["x", "y", "-x", "-y"])
def test_the_chosen_axis_points_forward_and_the_calibration_agrees(axis: str) -> None:
    found, plain = recorder(0, replace(SETTINGS, forward_axis=axis)), recorder(0)
    column, sign = {"x": 0, "y": 1}[axis[-1]], -1 if axis.startswith("-") else 1
    motion = np.diff(found.world_from_novatel[::5, :3, 3], axis=0)
    forward = sign * found.world_from_novatel[::5, :3, column][:-1]
    is_fast = np.linalg.norm(motion, axis=1) > 1.0
    cosine = (motion * forward).sum(axis=1)[is_fast] / np.linalg.norm(motion[is_fast], axis=1)
    assert cosine.mean() > 0.99
    np.testing.assert_allclose(
        found.world_from_novatel @ found.novatel_from_lidar, plain.world_from_novatel @ plain.novatel_from_lidar
    )
    assert set(FORWARD_AT_RAD) == {"x", "y", "-x", "-y"}


def corners_by_hand(actor: Actor, drive: Drive, time_s: float) -> np.ndarray:
    """Corners of an actor in the junction frame."""
    (x, y), heading = actor.path.at(np.interp(time_s, drive.times_s, actor.s))
    length, width, height = actor.body.size_m
    return np.array(
        [
            (
                x + a * length / 2 * np.cos(heading) - b * width / 2 * np.sin(heading),
                y + a * length / 2 * np.sin(heading) + b * width / 2 * np.cos(heading),
                z,
            )
            for z in (0.0, height)
            for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))
        ]
    )


@pytest.mark.parametrize("index", range(5))
def test_boxes_in_the_lidars_are_the_simulated_actors(index: int) -> None:
    found = recorder(index)
    for unit in (found.vehicle, found.infrastructure):
        for k in range(0, len(unit.frames), 13):
            time_s = found.plan.drive_s(unit.frames[k].cloud_us)
            if unit is found.vehicle:
                x, y, heading = found.drive.pose(time_s)
                cos, sin = np.cos(heading), np.sin(heading)
                # The lidar stands 0.8 m ahead of the reference point and 1.4 m above it.
                junction_from_lidar = np.array([(cos, -sin, 0, x + 0.8 * cos), (sin, cos, 0, y + 0.8 * sin)])
                height = 1.9
            else:
                junction_from_lidar = found.junction_from_virtuallidar[:2]
                height = 2.0
            sizes = np.array([actor.body.size_m for actor in unit.actors]).reshape(-1, 3)
            boxed = box_corners(unit.at_clouds.location[k], unit.at_clouds.rotation[k], sizes)
            placed = boxed[..., :2] @ junction_from_lidar[:, :2].T + junction_from_lidar[:, 3]
            corners = [corners_by_hand(actor, found.drive, time_s) for actor in unit.actors]
            expected = np.array(corners).reshape(-1, 8, 3)
            np.testing.assert_allclose(placed, expected[..., :2], atol=1e-9)
            np.testing.assert_allclose(boxed[..., 2] + height, expected[..., 2], atol=1e-9)


def test_points_of_the_cloud_lie_on_the_boxes() -> None:
    found = recorder(4)
    k = 30
    time_s = found.plan.drive_s(found.plan.vehicle[k].cloud_us)
    points = found.views.lidar(time_s, np.random.default_rng(0))[:, :3]
    at = found.vehicle.at_clouds
    (ahead,) = (
        a for a in range(len(found.vehicle.actors)) if 0 < at.location[k, a, 0] < 40 and abs(at.location[k, a, 1]) < 1
    )
    offset = points - at.location[k, ahead]
    cos, sin = np.cos(at.rotation[k, ahead]), np.sin(at.rotation[k, ahead])
    turned = np.stack([cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]])
    half = np.array(found.vehicle.actors[ahead].body.size_m) / 2
    is_inside = (np.abs(turned.T) < half + 0.15).all(axis=1) & (turned[2] > 0.2 - half[2])
    assert is_inside.sum() > 50
    # What the lidar sees is the rear.
    assert np.median(turned[0][is_inside]) == pytest.approx(-half[0], abs=0.5)


def test_the_infrastructure_sees_the_vehicle_where_it_is() -> None:
    found = recorder(1)
    itself, at = found.infrastructure.actors[-1], found.infrastructure.at_clouds
    assert len(found.infrastructure.actors) == len(found.vehicle.actors) + 1
    assert itself.body.kind == "Car"
    k = len(at.location) // 2
    x, y, heading = found.drive.pose(found.plan.drive_s(found.plan.infrastructure[k].cloud_us))
    middle = found.junction_from_virtuallidar @ (*at.location[k, -1], 1)
    np.testing.assert_allclose(middle[:2], (x + 1.2 * np.cos(heading), y + 1.2 * np.sin(heading)), atol=1e-6)


def drive_of(*actors: Actor) -> Drive:
    """The lidar at the origin of the junction, nobody else."""
    plan, path = scenario(0, 4, 8.0), simulate(scenario(0, 4, 8.0)).path
    times_s = np.array([0.0, 1.0])
    return Drive(plan, times_s, path, np.zeros(2), np.zeros(2), actors, ("off", "off"))


def standing_car(x: float, y: float, heading: float = 0.0, size_m: tuple = (4.0, 2.0, 1.5)) -> Actor:
    return Actor(Body("Car", size_m, (0, 0, 0)), Lane.straight((x, y), heading, 10.0), np.zeros(2), np.zeros(2, bool))


def boxes_of(*actors: Actor):
    """Seen by a lidar at the origin, 0.75 m above the road, with a camera in the same place looking along x."""
    camera = recorder().views.vehicle_camera
    camera_from_lidar = np.array([(0, -1, 0, 0), (0, 0, -1, 0), (1, 0, 0, 0), (0, 0, 0, 1)], dtype=np.float64)
    lidar_from_junction = np.eye(4)[None]
    lidar_from_junction[0, 2, 3] = -0.75
    found = boxes(drive_of(*actors), actors, np.array([0.5]), lidar_from_junction, camera_from_lidar, camera, [])
    return found, camera


def test_a_box_ahead_is_a_rectangle_around_its_nearest_face() -> None:
    found, camera = boxes_of(standing_car(22.0, 0.0))
    # The rear is 20 m away, 2 m wide and 1.5 m high, half of it above the axis.
    half = np.array([1.0, 0.75]) / 20.0 * camera.fx
    expected = [camera.cx - half[0], camera.cy - half[1], camera.cx + half[0], camera.cy + half[1]]
    np.testing.assert_allclose(found.box_px[0, 0], expected)
    assert found.truncated[0, 0] == found.occluded[0, 0] == 0
    np.testing.assert_allclose(found.location[0, 0], (22.0, 0.0, 0.0), atol=1e-12)


def test_boxes_outside_the_picture_are_zeros_and_cut_ones_say_where() -> None:
    tall = standing_car(4.0, 0.0, size_m=(4.0, 1.0, 3.0))
    found, _ = boxes_of(standing_car(-20.0, 0.0), standing_car(8.0, 5.5), tall)
    np.testing.assert_array_equal(found.box_px[0, 0], 0.0)
    assert not found.is_pictured[0, 0]
    assert found.is_pictured[0, 1:].all()
    assert found.truncated.tolist() == [[0, 1, 2]]
    assert found.box_px[0, 1, 0] == 0.0
    assert found.box_px[0, 2, 1] == 0.0
    beyond, _ = boxes_of(standing_car(99.0, 0.0), standing_car(0.0, 101.0))
    assert beyond.is_seen.tolist() == [[True, False]]


def test_whoever_stands_behind_another_is_occluded_by_its_share() -> None:
    front = standing_car(22.0, 0.0)
    behind, beside, half = standing_car(50.0, 0.0), standing_car(50.0, 9.0), standing_car(50.0, 3.0)
    found, _ = boxes_of(front, behind, beside, half)
    assert found.occluded.tolist() == [[0, 2, 0, 1]]


def test_alpha_is_the_heading_against_the_line_of_sight() -> None:
    # Straight ahead: driving away is -90 degrees in KITTI, to the right 0, towards us 90.
    found, _ = boxes_of(*(standing_car(30.0, 0.0, heading) for heading in (0.0, -np.pi / 2, np.pi * 0.999)))
    np.testing.assert_allclose(found.alpha[0], (-np.pi / 2, 0.0, np.pi / 2), atol=0.02)
    # A row of V2X-Seq-SPD: at (27.08, 4.71), turned by -0.034, alpha is -1.364.
    real, _ = boxes_of(standing_car(27.07514, 4.712578, -0.034323))
    assert real.alpha[0, 0] == pytest.approx(-1.364216, abs=0.01)


def test_a_drive_without_others_has_no_boxes() -> None:
    found, _ = boxes_of()
    assert found.location.shape == (1, 0, 3)
    assert found.is_pictured.shape == (1, 0)


def wholes(plan: Scenario, brakes_at_s: float) -> list[tuple[bytes, bytes]]:
    views = Views(simulate(plan, ego_brakes_at_s=brakes_at_s), 64)
    times_s = np.arange(0.0, 8.0, 0.5)
    return [(views.vehicle(time_s).tobytes(), views.infrastructure(time_s).tobytes()) for time_s in times_s]


@pytest.mark.parametrize("index", [0, 1, 3, 4])
def test_pictures_show_what_is_and_not_what_will_be(index: int) -> None:
    plan = scenario(0, index, 8.0)
    free, braked = wholes(plan, np.inf), wholes(plan, 4.0)
    assert free[:9] == braked[:9]
    assert free[12][0] != braked[12][0]
