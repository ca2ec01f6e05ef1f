"""The camera's geometry, against pixel positions worked out by hand."""

import math

import numpy as np
import pytest

from latent_predictor.data import camera

WHITE_OR_RED = {camera._KERB_COLORS[0], camera._KERB_COLORS[1]}


def straight_road(num_tiles: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Along +y, a tile every 3.5 units; the end is far from where the tests look."""
    center = np.stack([np.zeros(num_tiles), 3.5 * np.arange(num_tiles)], axis=-1)
    return center, np.zeros(num_tiles)


def view(x: float = 0.0, y: float = 35.0, car_heading: float = 0.0) -> np.ndarray:
    center, heading = straight_road()
    return camera.draw(center, heading, x, y, car_heading, tile=round(y / 3.5))


def road_ends(row: np.ndarray) -> tuple[int, int]:
    """First and one past the last column that is rather kerb than grass."""
    road = np.flatnonzero(np.abs(row - np.array(camera._GRASS)).sum(axis=-1) > 150)
    return int(road[0]), int(road[-1]) + 1


def test_points_on_the_road_land_where_the_formula_says() -> None:
    # u = 32 + 48 x / y, v = 22 + 0.55 * 48 * 4 / y = 22 + 105.6 / y
    points = np.array([[0.0, 20.0], [5.0, 20.0], [-10.0, 48.0]])
    expected = [[32.0, 27.28], [44.0, 27.28], [22.0, 24.2]]
    np.testing.assert_allclose(camera.pixels_from_ground(points), expected)


def test_points_behind_the_camera_stay_below_the_picture() -> None:
    # Taken to lie 0.6 ahead: v = 22 + 105.6 / 0.6 = 198.
    np.testing.assert_allclose(camera.pixels_from_ground(np.array([0.3, -5.0])), [56.0, 198.0])


def test_right_of_a_car_that_heads_for_minus_x_is_plus_y() -> None:
    # A quarter turn counter-clockwise from +y.
    points = np.array([[1.0, 4.0], [-6.0, 2.0]])
    seen = camera.car_from_world(points, x=1.0, y=2.0, heading=math.pi / 2)
    np.testing.assert_allclose(seen, [[2.0, 0.0], [0.0, 7.0]], atol=1e-12)


@pytest.mark.parametrize("row", [25, 26, 28, 29])
@pytest.mark.parametrize("x", [0.0, 2.0, -3.0])
def test_the_edges_of_a_straight_road_are_where_the_geometry_puts_them(row: int, x: float) -> None:
    def edge(v: float, side: int) -> float:
        distance = 105.6 / (v - 22)
        return min(64.0, max(0.0, 32 + 48 * (side * 1.18 * 40 / 6 - x) / distance))

    # Within a row of pixels the road widens; an edge is found to the pixel.
    left, right = road_ends(view(x=x)[row])
    assert edge(row + 1, -1) - 1 <= left <= edge(row, -1) + 0.5
    assert edge(row, 1) - 0.5 <= right <= edge(row + 1, 1) + 1


def test_a_car_that_points_left_sees_the_road_on_its_right() -> None:
    # The middle of the road, y ahead, is y tan(0.2) to the right: by 48 tan(0.2) = 9.7 pixels in every row.
    middle = sum(road_ends(view(car_heading=0.2)[27])) / 2
    assert middle == pytest.approx(32 + 48 * math.tan(0.2), abs=1.0)


def test_above_the_horizon_is_only_sky_and_below_it_none() -> None:
    picture = view()
    sky = (picture == camera._SKY).all(axis=-1)
    assert sky[:22].all()
    assert not sky[22:].any()


def test_dashes_stand_at_a_third_of_the_half_road_on_every_second_tile() -> None:
    picture = view(y=35.0)
    dash = np.abs(picture.astype(int) - camera._DASH_COLOR).sum(axis=-1) < 60
    rows = np.flatnonzero(dash[30:, 32:].any(axis=1)) + 30
    assert len(rows)
    for row in rows:
        columns = np.flatnonzero(dash[row, 32:]) + 32.5
        expected = 32 + (row + 0.5 - 22) / (0.55 * 4) * (40 / 6) / 3
        assert columns.mean() == pytest.approx(expected, abs=1.0)
    # A tile further on, the one from 3.5 to 7 ahead is of the other kind: rows 22 + 105.6 / 7 = 37 to 52.
    other = view(y=38.5)
    dash_of_other = np.abs(other.astype(int) - camera._DASH_COLOR).sum(axis=-1) < 60
    assert (dash[40:50].any(axis=1) != dash_of_other[40:50].any(axis=1)).all()


def test_stripes_of_the_kerb_alternate_and_are_white_and_red() -> None:
    picture = view()
    colors = {tuple(pixel) for pixel in picture[22:].reshape(-1, 3).tolist()}
    assert colors >= WHITE_OR_RED


def test_a_straight_road_looks_the_same_in_a_mirror() -> None:
    picture = view().astype(float)
    assert np.abs(picture - picture[:, ::-1]).mean() < 2


def test_the_track_is_closed() -> None:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    center = 70 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    begun_elsewhere = np.roll(center, 50, axis=0), np.roll(angle, 50)
    pictures = [
        camera.draw(center, angle, 70.0, 0.0, 0.0, tile=0),
        camera.draw(*begun_elsewhere, 70.0, 0.0, 0.0, tile=50),
    ]
    np.testing.assert_array_equal(*pictures)
