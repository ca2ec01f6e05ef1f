"""DAIR-V2X-C as make-data writes it, and the flat folder, which is made of the same rows."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from v2x_teacher.data.make_data import make_data

from .written import BOX, INFRASTRUCTURE, VEHICLE, check_box, ids, load, matrix, rows, settings_of

BATCH = {"batch_id", "batch_start_id", "batch_end_id"}


@pytest.fixture(scope="module")
def dair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dair")
    make_data(settings_of(folder, "dair"))
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flat")
    make_data(settings_of(folder, "flat"))
    return folder


def test_dair_rows_have_batches_whose_ends_keep_an_old_numbering(dair: Path) -> None:
    for side, fields in (("vehicle-side", VEHICLE), ("infrastructure-side", INFRASTRUCTURE)):
        outside = 0
        for number, row in enumerate(rows(dair, side)):
            assert set(row) - {"valid_batch_splits"} == fields | BATCH
            assert re.fullmatch(r"\d+", row["batch_id"])
            outside += not int(row["batch_start_id"]) <= number <= int(row["batch_end_id"])
        assert outside > 60
    (span,) = rows(dair, "infrastructure-side")[0]["valid_batch_splits"]
    assert set(span) == {"batch_start_id", "batch_end_id"}


def test_dair_cooperative_rows_are_paths_from_the_root(dair: Path) -> None:
    found = rows(dair, "cooperative")
    for row in found:
        name = Path(row["vehicle_image_path"]).stem
        other = Path(row["infrastructure_image_path"]).stem
        assert row == {
            "infrastructure_image_path": f"infrastructure-side/image/{other}.jpg",
            "infrastructure_pointcloud_path": f"infrastructure-side/velodyne/{other}.pcd",
            "vehicle_image_path": f"vehicle-side/image/{name}.jpg",
            "vehicle_pointcloud_path": f"vehicle-side/velodyne/{name}.pcd",
            "cooperative_label_path": f"cooperative/label_world/{name}.json",
            "system_error_offset": {"delta_x": 0.0, "delta_y": 0.0},
        }
        assert (dair / row["cooperative_label_path"]).is_file()
    assert len(found) < 0.8 * len(rows(dair, "vehicle-side"))


def test_dair_single_view_labels_have_no_tracks(dair: Path) -> None:
    entries = [one for path in (dair / "vehicle-side/label/lidar").iterdir() for one in load(path)]
    assert entries
    for entry in entries:
        assert set(entry) == BOX
        check_box(entry)


def test_dair_cooperative_boxes_are_in_the_world_and_their_corners_start_at_the_front_left(dair: Path) -> None:
    num_checked = 0
    for row in rows(dair, "cooperative"):
        name = Path(row["vehicle_image_path"]).stem
        calib = dair / "vehicle-side" / "calib"
        world_from_lidar = matrix(load(calib / "novatel_to_world" / f"{name}.json")) @ matrix(
            load(calib / "lidar_to_novatel" / f"{name}.json")["transform"]
        )
        for entry in load(dair / row["cooperative_label_path"]):
            assert set(entry) == BOX | {"world_8_points", "system_error_offset"}
            check_box(entry)
            corners, size = np.array(entry["world_8_points"]), entry["3d_dimensions"]
            assert corners.shape == (8, 3)
            middle = [entry["3d_location"][axis] for axis in "xyz"]
            np.testing.assert_allclose(corners.mean(axis=0), middle, atol=1e-5)
            np.testing.assert_allclose(corners[4:] - corners[:4], np.tile((0, 0, size["h"]), (4, 1)), atol=1e-5)
            assert np.linalg.norm(corners[0] - corners[3]) == pytest.approx(size["l"], abs=1e-5)
            assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(size["w"], abs=1e-5)
            forward, left = corners[0] - corners[3], corners[0] - corners[1]
            assert forward[0] * left[1] - forward[1] * left[0] > 0
            heading = world_from_lidar[:3, :3] @ (np.cos(entry["rotation"]), np.sin(entry["rotation"]), 0)
            np.testing.assert_allclose(forward / size["l"], heading, atol=1e-5)
            num_checked += 1
    assert num_checked > 20


def test_flat_samples_are_complete_and_carry_no_time(flat: Path) -> None:
    lists = {name: (flat / "split" / f"{name}.txt").read_text().split() for name in ("train", "val")}
    listed = set(lists["train"]) | set(lists["val"])
    assert len(listed) == len(lists["train"]) + len(lists["val"])
    assert lists["train"]
    assert lists["val"]
    for folder in ("vehicle_images", "infrastructure_images", "text_prompts", "ground_truth_trajectories"):
        assert ids(flat / folder) == listed
    for name in listed:
        assert (flat / "text_prompts" / f"{name}.txt").read_text().strip()
        assert cv2.imread(str(flat / "infrastructure_images" / f"{name}.jpg")).shape == (36, 64, 3)
        assert np.load(flat / "ground_truth_trajectories" / f"{name}.npy", allow_pickle=False).shape == (45, 2)
    assert {path.name for path in flat.iterdir() if path.is_file()} == {"data.json"}


def test_flat_trajectories_are_the_next_45_rows_of_the_cooperative_list_wherever_they_were(
    flat: Path, dair: Path
) -> None:
    """DAIR-V2X-C from the same settings has the same poses and pairs; its files say what the rows are."""
    names = [Path(row["vehicle_image_path"]).stem for row in rows(dair, "cooperative")]
    calib = dair / "vehicle-side" / "calib" / "novatel_to_world"
    places = np.array([matrix(load(calib / f"{name}.json"))[:2, 3] for name in names])
    found = sorted((flat / "ground_truth_trajectories").iterdir())
    for path in found:
        row = names.index(path.stem)
        np.testing.assert_allclose(np.load(path), places[row : row + 45], atol=1e-5)
    longest_m = max(np.abs(np.diff(np.load(path), axis=0)).max() for path in found)
    assert longest_m > 50


def test_flat_lists_leave_out_only_what_has_no_45_rows_left(flat: Path, dair: Path) -> None:
    (split_file,) = dair.glob("cooperative-split-data*.json")
    split = load(split_file)["cooperative_split"]
    names = [Path(row["vehicle_image_path"]).stem for row in rows(dair, "cooperative")]
    full = set(names[: len(names) - 44])
    assert set((flat / "split/train.txt").read_text().split()) == set(split["train"]) & full
    assert set((flat / "split/val.txt").read_text().split()) == (set(split["val"]) | set(split["test"])) & full
