"""Lane labels from the state and from the picture, and how their agreement is measured."""

import numpy as np
import pytest

from latent_predictor.data import camera, simulate
from latent_predictor.data.labels import agreement, kappa, labels_from_offset, visual_labels


def test_a_third_of_the_half_road_separates_the_classes() -> None:
    offset = np.array([-0.9, -0.34, -0.33, 0.0, 0.33, 0.34, 2.0, np.nan])
    np.testing.assert_array_equal(labels_from_offset(offset), np.array([0, 0, 1, 1, 1, 2, 2, -1], np.int8), strict=True)


def road_frame(offset: float) -> np.ndarray:
    center = np.stack([np.zeros(60), 3.5 * np.arange(60)], axis=-1)
    return camera.draw(center, np.zeros(60), offset * camera.HALF_WIDTH, 35.0, 0.0, tile=10)


def test_a_straight_road_is_read_right_from_the_picture() -> None:
    offsets = np.array([-0.9, -0.6, -0.4, -0.25, 0.0, 0.25, 0.4, 0.6, 0.9])
    found = visual_labels(np.stack([road_frame(offset) for offset in offsets]), "road")
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 1, 1, 2, 2, 2])


@pytest.mark.parametrize("view", ["road", "top"])
def test_a_picture_without_a_road_is_unknown(view: str) -> None:
    grass = np.full((2, 64, 64, 3), camera._GRASS, np.uint8)
    np.testing.assert_array_equal(visual_labels(grass, view), [-1, -1])


def test_the_dashes_tell_where_a_curving_road_is_under_the_car() -> None:
    # In a bend with a radius of 30 half widths the edges far ahead are all on one side.
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    offsets = np.array([-0.6, -0.2, 0.2, 0.6])
    frames = []
    for offset in offsets:
        center = 200 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        frames.append(camera.draw(center, angle, 200 + offset * camera.HALF_WIDTH, 0.0, 0.0, tile=0))
    np.testing.assert_array_equal(visual_labels(np.stack(frames)), [0, 1, 1, 2])


def test_a_picture_of_asphalt_only_is_unknown() -> None:
    asphalt = np.full((1, 64, 64, 3), 100, np.uint8)
    assert visual_labels(asphalt, "road") == -1


def top_frame(road: slice) -> np.ndarray:
    frame = np.full((64, 64, 3), (102, 204, 102), np.uint8)
    frame[:, road] = 102
    frame[45:51, 31:33] = (204, 0, 0)
    return frame


def test_the_view_from_above_is_read_right() -> None:
    # 14 columns of road; a third of half of it is 2.3 columns.
    roads = [slice(29, 43), slice(25, 39), slice(21, 35)]
    np.testing.assert_array_equal(visual_labels(np.stack([top_frame(road) for road in roads]), "top"), [0, 1, 2])


def test_agreement_and_kappa_by_hand() -> None:
    labels = np.array([0, 0, 1, 1, 2], np.int8)
    others = np.array([0, 0, 1, 2, -1], np.int8)
    # Of the four known: 3 equal; by chance 0.5 * 0.5 + 0.5 * 0.25 = 0.375; (0.75 - 0.375) / 0.625 = 0.6.
    assert agreement(labels, others) == pytest.approx(0.75)
    assert kappa(labels, others) == pytest.approx(0.6)


def test_agreement_is_not_a_number_where_nothing_is_known() -> None:
    unknown = np.full(3, -1, np.int8)
    assert np.isnan(agreement(unknown, unknown))
    assert np.isnan(kappa(unknown, unknown))


@pytest.mark.parametrize(("view", "num_frames", "at_least"), [("road", 150, 0.9), ("top", 60, 0.95)])
def test_on_real_drives_the_picture_mostly_agrees_with_the_state(view: str, num_frames: int, at_least: float) -> None:
    drives = [simulate.drive(1, index, num_frames, view, "") for index in range(4)]
    labels = np.concatenate([drive.labels for drive in drives])
    visual = np.concatenate([drive.visual_labels for drive in drives])
    assert agreement(labels, visual) >= at_least
    assert kappa(labels, visual) >= at_least - 0.08
    assert (visual == -1).mean() < 0.02
