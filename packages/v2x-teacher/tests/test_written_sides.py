"""What both official layouts share: sides, calibrations, pictures and the split file."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from v2x_teacher.data.make_data import make_data

from .written import ids, load, matrix, rows, settings_of


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spd")
    make_data(settings_of(folder, "spd"))
    return folder


@pytest.fixture(scope="module")
def dair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dair")
    make_data(settings_of(folder, "dair"))
    return folder


@pytest.mark.parametrize("layout", ["spd", "dair"])
def test_the_tree_has_the_official_folders(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}
    label = "label" if layout == "spd" else "label_world"
    expected = {"vehicle-side", "infrastructure-side", "cooperative", f"cooperative/{label}"}
    calibrations = {
        "vehicle-side": ("camera_intrinsic", "lidar_to_camera", "lidar_to_novatel", "novatel_to_world"),
        "infrastructure-side": ("camera_intrinsic", "virtuallidar_to_camera", "virtuallidar_to_world"),
    }
    for side, lidar in (("vehicle-side", "lidar"), ("infrastructure-side", "virtuallidar")):
        names = ("image", "velodyne", "calib", "label", "label/camera", f"label/{lidar}")
        expected |= {f"{side}/{name}" for name in names}
        expected |= {f"{side}/calib/{name}" for name in calibrations[side]}
    assert found == expected | ({"maps"} if layout == "spd" else set())
    split = "cooperative-split-data-spd.json" if layout == "spd" else "cooperative-split-data.json"
    assert {path.name for path in root.iterdir() if path.is_file()} == {"data.json", split}


@pytest.mark.parametrize("layout", ["spd", "dair"])
@pytest.mark.parametrize("side", ["vehicle-side", "infrastructure-side"])
def test_rows_of_a_side_name_files_by_their_own_number_and_times_in_microseconds_as_text(
    layout: str, side: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    for number, row in enumerate(rows(root, side)):
        name = f"{number:06d}"
        assert row["image_path"] == f"image/{name}.jpg"
        assert row["pointcloud_path"] == f"velodyne/{name}.pcd"
        for key in (key for key in row if key.startswith("calib_")):
            assert row[key] == f"calib/{key.removeprefix('calib_').removesuffix('_path')}/{name}.json"
            assert (root / side / row[key]).is_file()
        assert row["label_camera_std_path"] == f"label/camera/{name}.json"
        lidar = "lidar" if side == "vehicle-side" else "virtuallidar"
        assert row["label_lidar_std_path"] == f"label/{lidar}/{name}.json"
        for key in ("image_timestamp", "pointcloud_timestamp"):
            assert re.fullmatch(r"1626\d{12}", row[key])
        assert re.fullmatch(r"yizhuang\d\d", row["intersection_loc"])


@pytest.mark.parametrize("layout", ["spd", "dair"])
def test_calibrations_are_rigid_and_nested_where_the_real_ones_are(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    calib = root / "vehicle-side" / "calib"
    lidar_to_novatel = load(calib / "lidar_to_novatel" / "000000.json")
    assert set(lidar_to_novatel) == {"transform"}
    for content in (
        lidar_to_novatel["transform"],
        load(calib / "lidar_to_camera" / "000000.json"),
        load(calib / "novatel_to_world" / "000000.json"),
    ):
        assert set(content) == {"rotation", "translation"}
        rotation = matrix(content)[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    other = root / "infrastructure-side" / "calib"
    assert set(load(other / "virtuallidar_to_camera" / "000000.json")) == {"rotation", "translation"}
    to_world = load(other / "virtuallidar_to_world" / "000000.json")
    assert set(to_world) == {"rotation", "translation", "relative_error"}
    assert to_world["relative_error"] == {"delta_x": "", "delta_y": ""}
    np.testing.assert_allclose(matrix(to_world)[:3, :3] @ matrix(to_world)[:3, :3].T, np.eye(3), atol=3e-4)


@pytest.mark.parametrize("layout", ["spd", "dair"])
def test_pictures_and_their_labels_exist_for_exactly_the_listed_pairs(
    layout: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    (split_file,) = root.glob("cooperative-split-data*.json")
    split = load(split_file)["cooperative_split"]
    listed = {name for part in ("train", "val", "test") for name in split[part]}
    assert ids(root / "vehicle-side" / "image") == listed
    assert ids(root / "vehicle-side" / "label" / "camera") == ids(root / "vehicle-side" / "label" / "lidar") == listed
    others = ids(root / "infrastructure-side" / "image")
    assert len(others) == len(listed)
    assert ids(root / "infrastructure-side" / "label" / "virtuallidar") == others
    assert ids(root / "vehicle-side" / "velodyne") == set()
    picture = cv2.imread(str(root / "vehicle-side" / "image" / f"{min(listed)}.jpg"))
    assert picture.shape == (36, 64, 3)
    assert picture.std() > 10


@pytest.mark.parametrize("layout", ["spd", "dair"])
def test_the_split_file_has_the_official_keys_and_shares_no_sequence(
    layout: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    (split_file,) = root.glob("cooperative-split-data*.json")
    split = load(split_file)
    assert set(split) == {"batch_split", "vehicle_split", "infrastructure_split", "cooperative_split"}
    key = "sequence_id" if layout == "spd" else "batch_id"
    for name, side in (("vehicle_split", "vehicle-side"), ("infrastructure_split", "infrastructure-side")):
        part_of = {one: part for part in ("train", "val", "test") for one in split["batch_split"][part]}
        assert set(split[name]) == {"train", "val", "test", "test_A"}
        for part in ("train", "val", "test"):
            expected = {Path(row["image_path"]).stem for row in rows(root, side) if part_of[row[key]] == part}
            assert set(split[name][part]) == expected
            assert len(split[name][part]) == len(expected) > 0
        assert set(split[name]["test_A"]) <= set(split[name]["test"])
    assert sorted(part_of) == (["0000", "0001", "0002"] if layout == "spd" else ["0", "1", "2"])
    for part in ("train", "val", "test"):
        assert set(split["cooperative_split"][part]) < set(split["vehicle_split"][part])
