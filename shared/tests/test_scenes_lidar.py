import numpy as np
import pytest

from drivelab_shared.scenes import Label, Lidar, Scene, shapes, standing

EXACT = Lidar(num_beams=16, low_deg=-24, high_deg=6, azimuth_step_deg=10, range_m=50, noise_m=0, dropout=0)
GROUND = Scene(shapes.ground((0, 0), 400, z=0.0))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_returns_from_the_ground_are_where_a_ray_meets_a_plane():
    sweep = GROUND.scan([], EXACT, standing(3, 4, 0.7, z=1.9), rng())
    expected = []
    for azimuth in range(36):
        for beam in range(16):
            elevation, angle = np.radians(-24 + 2 * beam), np.radians(10 * azimuth)
            distance = 1.9 / -np.sin(elevation) if elevation < 0 else np.inf
            if distance <= 50:
                ahead = distance * np.cos(elevation)
                expected.append([ahead * np.cos(angle), ahead * np.sin(angle), -1.9])
    assert len(expected) == 36 * 11  # -24 to -4 degrees; 1.9 m / sin(2 degrees) is 54 m
    np.testing.assert_allclose(sweep.points, expected, atol=1e-4)
    assert sweep.points.dtype == sweep.intensity.dtype == np.float32
    assert set(sweep.label) == {Label.GROUND}
    assert set(sweep.body) == {-1}


def test_default_lidar_fires_64_beams_a_thousand_times_a_turn():
    directions = Lidar().directions
    elevations = np.degrees(np.arcsin(directions[:, 2]))
    assert len(directions) == 64 * 1000
    np.testing.assert_allclose(elevations[[0, 63]], [-25, 2])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(np.degrees(np.arctan2(directions[64, 1], directions[64, 0])), 0.36)


def test_points_are_in_the_frame_of_a_turned_lidar_and_name_the_body():
    # The lidar looks along y; a box stands 10 m along x from it, so to its right (-y).
    box = shapes.box((2, 2, 4), (11, 0, 1), (9, 9, 9), Label.VEHICLE)
    sweep = GROUND.scan([shapes.pole().at(90, 90), box], EXACT, standing(0, 0, np.pi / 2, z=1.9), rng())
    on_box = sweep.body == 1
    assert on_box.sum() >= 8
    np.testing.assert_allclose(sweep.points[on_box, 1], -10, atol=1e-4)
    assert (np.abs(sweep.points[on_box, 0]) <= 1 + 1e-4).all()
    assert set(sweep.label[on_box]) == {Label.VEHICLE}
    assert set(sweep.label[~on_box]) == {Label.GROUND}


def test_noise_lies_along_the_ray_with_its_standard_deviation():
    lidar = Lidar(noise_m=0.05, dropout=0, azimuth_step_deg=2)
    exact = Lidar(noise_m=0, dropout=0, azimuth_step_deg=2)
    points, truth = (GROUND.scan([], which, standing(0, 0, 0, z=1.9), rng()).points for which in (lidar, exact))
    errors = np.linalg.norm(points, axis=1) - np.linalg.norm(truth, axis=1)
    assert len(errors) > 5000
    assert errors.std() == pytest.approx(0.05, rel=0.05)
    assert np.linalg.norm(np.cross(points, truth), axis=1).max() < 1e-2  # the direction is that of the beam


def test_dropout_loses_its_share_of_the_returns():
    count, kept = (
        len(GROUND.scan([], Lidar(dropout=share), standing(0, 0, 0, z=1.9), rng()).points) for share in (0.0, 0.3)
    )
    assert kept / count == pytest.approx(0.7, abs=0.01)
    assert len(GROUND.scan([], Lidar(dropout=1.0), standing(0, 0, 0, z=1.9), rng()).points) == 0


def test_intensity_falls_with_distance():
    lidar = Lidar(noise_m=0, dropout=0, attenuation_per_m=0.01)
    sweep = GROUND.scan([], lidar, standing(0, 0, 0, z=1.9), rng())
    np.testing.assert_allclose(sweep.intensity, np.exp(-0.01 * np.linalg.norm(sweep.points, axis=1)), rtol=1e-5)


def test_luck_of_a_ray_does_not_depend_on_what_others_meet():
    box = shapes.box((2, 2, 4), (11, 0, 1), (9, 9, 9), Label.VEHICLE)
    place = standing(0, 0, 0, z=1.9)
    without, beside = GROUND.scan([], Lidar(), place, rng()), GROUND.scan([box], Lidar(), place, rng())
    behind_us = [sweep.points[sweep.points[:, 0] < 0] for sweep in (without, beside)]
    np.testing.assert_array_equal(*behind_us)


def test_same_seed_gives_the_same_bytes_and_another_one_does_not():
    first, again, other = (GROUND.scan([], Lidar(), standing(0, 0, 0, z=1.9), rng(seed)).points for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_beams": 0},
        {"low_deg": 5, "high_deg": 2},
        {"azimuth_step_deg": 0},
        {"range_m": 0},
        {"noise_m": -1},
        {"dropout": 1.5},
        {"attenuation_per_m": -1},
    ],
)
def test_lidar_names_the_number_that_is_wrong(wrong):
    with pytest.raises(ValueError, match=f"lidar: {next(iter(wrong))}: expected"):
        Lidar(**wrong)
