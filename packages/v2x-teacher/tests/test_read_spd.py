"""V2X-Seq-SPD trees that are right: every number as worked out by hand from the schema."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.data.open_recording import open_recording

from .trees import START_US, edit, straight, three_drives, write_json, write_spd

AHEAD = np.pi / 2
"""A vehicle that heads along the world's y: its left is the world's -x."""


def test_poses_come_from_all_vehicle_rows_and_pairs_from_the_cooperative_list(tmp_path: Path) -> None:
    found = open_recording(write_spd(tmp_path, three_drives(), pair_every=5))
    assert found.layout == "spd"
    assert found.problems == ()
    assert {name: poses.ids[::59] for name, poses in found.poses.items()} == {
        "0000": ("000000", "000059"),
        "0001": ("000060", "000119"),
        "0002": ("000120", "000179"),
    }
    assert [pair.vehicle_id for pair in found.pairs[:3]] == ["000000", "000005", "000010"]
    assert [pair.split for pair in found.pairs] == ["train"] * 12 + ["val"] * 12 + ["test"] * 12
    assert {pair.prompt for pair in found.pairs} == {None}


def test_a_pair_has_the_time_of_the_point_cloud_and_both_pictures(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives(), pair_every=5)
    pair = open_recording(root).pairs[13]  # the second of the second drive, 30.5 s after the start
    assert (pair.vehicle_id, pair.infrastructure_id, pair.sequence) == ("000065", "000013", "0001")
    assert pair.time_us == START_US + 30_500_000
    assert pair.infrastructure_time_us == START_US + 30_530_000
    assert pair.vehicle_image == root / "vehicle-side" / "image" / "000065.jpg"
    assert pair.infrastructure_image == root / "infrastructure-side" / "image" / "000013.jpg"


def test_rows_in_disorder_give_poses_in_order_of_time(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives())
    sorted_poses = open_recording(root).poses["0001"]
    edit(root / "vehicle-side" / "data_info.json", lambda rows: rows.reverse())
    poses = open_recording(root).poses["0001"]
    assert poses.ids == sorted_poses.ids
    assert np.all(np.diff(poses.time_us) == 100_000)
    np.testing.assert_array_equal(poses.world_from_vehicle, sorted_poses.world_from_vehicle)


def test_a_pose_is_the_chain_from_the_lidar_over_the_gnss_to_the_world(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(yaw=AHEAD, frames=8)])
    novatel = open_recording(root).poses["0000"].world_from_vehicle
    np.testing.assert_allclose(novatel[3, :3, 3], [2636.0, 1748.0, 21.0])
    np.testing.assert_allclose(novatel[3, :3, 0], [0, 1, 0], atol=1e-12)
    lidar = open_recording(root, reference_point="lidar").poses["0000"].world_from_vehicle
    # 0.3 m ahead is +0.3 in the world's y, 1.2 m to the left is -1.2 in its x.
    np.testing.assert_allclose(lidar[3, :3, 3], [2634.8, 1748.3, 22.7])
    np.testing.assert_allclose(lidar[3, :3, 0], [0, 1, 0], atol=1e-12)


def test_a_nested_transform_is_turned_before_it_is_moved(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    quarter = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    folder = root / "vehicle-side" / "calib"
    mounting = {"transform": {"rotation": quarter, "translation": [[1], [2], [3]]}}
    write_json(folder / "lidar_to_novatel" / "000000.json", mounting)
    write_json(folder / "novatel_to_world" / "000000.json", {"rotation": quarter, "translation": [[100], [200], [20]]})
    world_from_lidar = open_recording(root, reference_point="lidar").poses["0000"].world_from_vehicle[0]
    # (5, 0, 0) -> (0, 5, 0) + (1, 2, 3) = (1, 7, 3) -> (-7, 1, 3) + (100, 200, 20).
    np.testing.assert_allclose(world_from_lidar @ [5, 0, 0, 1], [93, 201, 23, 1])


@pytest.mark.parametrize("reference_point", ["novatel", "lidar"])
def test_the_vehicles_camera_sees_a_point_where_the_hand_calculation_puts_it(
    tmp_path: Path, reference_point: str
) -> None:
    root = write_spd(tmp_path, [straight(yaw=AHEAD, frames=8)])
    found = open_recording(root, reference_point=reference_point)
    camera = found.calibration(found.pairs[6], "vehicle")
    # At 0.6 s the lidar is at (2634.8, 1751.3, 22.7). The point is at (20, 2, -1.7) there: 20 m ahead, 2 m to the left.
    # The camera, 0.3 m below, has it at (-2, 1.4, 20).
    pixel = camera.intrinsics @ (camera.camera_from_world @ [2632.8, 1771.3, 21.0, 1])[:3]
    np.testing.assert_allclose(pixel / pixel[2], [960 - 100, 540 + 70, 1])


def test_the_infrastructures_camera_sees_it_too_and_empty_deltas_are_zero(tmp_path: Path) -> None:
    found = open_recording(write_spd(tmp_path, [straight(frames=8)]))
    camera = found.calibration(found.pairs[0], "infrastructure")
    # From the pole (-3, 30, -5), which looks along y: (30, 3, -5) in its lidar, (-3, 5, 30) in its camera.
    pixel = camera.intrinsics @ (camera.camera_from_world @ [2697, 1780, 1, 1])[:3]
    np.testing.assert_allclose(pixel / pixel[2], [960 - 100, 540 + 500 / 3, 1])


def test_the_error_of_the_pole_is_added_to_its_place(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])

    def shift(document: dict) -> None:
        document["relative_error"] = {"delta_x": 0.5, "delta_y": ""}

    edit(root / "infrastructure-side" / "calib" / "virtuallidar_to_world" / "000000.json", shift)
    found = open_recording(root)
    camera = found.calibration(found.pairs[0], "infrastructure")
    np.testing.assert_allclose(camera.camera_from_world @ [2697.5, 1780, 1, 1], [-3, 5, 30, 1])


def test_the_offset_of_the_pair_leaves_the_vehicle_where_it_is(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    before = open_recording(root).poses["0000"].world_from_vehicle
    edit(
        root / "cooperative" / "data_info.json",
        lambda rows: [row.update(system_error_offset={"delta_x": "", "delta_y": ""}) for row in rows],
    )
    after = open_recording(root)
    assert after.problems == ()
    np.testing.assert_array_equal(after.poses["0000"].world_from_vehicle, before)


def label(**changes: object) -> dict:
    return {
        "token": "a",
        "type": "Car",
        "track_id": "000012",
        "3d_dimensions": {"h": 1.5, "w": 2.0, "l": 4.5},
        "3d_location": {"x": 10.0, "y": -3.0, "z": -0.8},
        "rotation": 0.5,
    } | changes


@pytest.mark.parametrize("reference_point", ["novatel", "lidar"])
def test_labels_are_in_the_lidar_frame_at_the_vehicles_time(tmp_path: Path, reference_point: str) -> None:
    root = write_spd(tmp_path, [straight(yaw=AHEAD, frames=8)])
    write_json(root / "cooperative" / "label" / "000003.json", [label()])
    (box,) = open_recording(root, reference_point=reference_point).boxes("0000", "000003")
    assert (box.kind, box.track_id, box.size_m) == ("Car", "000012", (4.5, 2.0, 1.5))
    # The lidar is at (2634.8, 1748.3, 22.7); 10 m ahead is +10 in y, 3 m to the right +3 in x.
    np.testing.assert_allclose(box.world_from_box[:3, 3], [2637.8, 1758.3, 21.9])
    np.testing.assert_allclose(box.world_from_box[:2, 0], [np.cos(AHEAD + 0.5), np.sin(AHEAD + 0.5)])


def test_numbers_as_text_boxes_without_size_and_objects_without_track_are_understood(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    rows = [
        label(rotation="0.5", track_id=7),
        label(type="TrafficCone", track_id="-1"),
        label(**{"3d_dimensions": {"h": 0, "w": 0, "l": 0}}),
    ]
    write_json(root / "cooperative" / "label" / "000000.json", rows)
    boxes = open_recording(root).boxes("0000", "000000")
    assert [(box.kind, box.track_id) for box in boxes] == [("Car", "7"), ("TrafficCone", None)]


def test_the_recording_vehicle_is_no_other_road_user(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(yaw=AHEAD, frames=8)])
    # The GNSS/INS is 0.3 m behind and 1.2 m right of the lidar: inside a car around the lidar only if that is wide.
    around = label(**{"3d_location": {"x": 0.0, "y": -0.5, "z": -1.0}}, rotation=0.0)
    beside = label(**{"3d_location": {"x": 0.0, "y": 1.5, "z": -1.0}}, rotation=0.0)
    write_json(root / "cooperative" / "label" / "000000.json", [around, beside])
    boxes = open_recording(root).boxes("0000", "000000")
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0].world_from_box[0, 3], 2634.8 - 1.5)


def test_no_label_file_is_none_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)], pair_every=2)
    write_json(root / "cooperative" / "label" / "000002.json", [label(rotation=None)])
    found = open_recording(root)
    assert found.boxes("0000", "000001") is None
    assert found.boxes("0000", "000000") == []
    with pytest.raises(UserError, match=r"label/000002.json: expected a number, got None$"):
        found.boxes("0000", "000002")


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_pictures_are_found_where_the_archives_unpack_them(tmp_path: Path, place: str) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    folder = (root.parent if place == "beside" else root) / "V2X-Seq-SPD-vehicle-side-image_11616163645886464"
    shutil.move(root / "vehicle-side" / "image", folder)
    found = open_recording(root)
    assert found.problems == ()
    assert found.pairs[2].vehicle_image == folder / "000002.jpg"


def test_the_folder_above_the_root_will_do(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    shutil.move(root / "cooperative-split-data-spd.json", tmp_path)
    found = open_recording(tmp_path)
    assert (found.root, found.layout, found.problems) == (root, "spd", ())


@pytest.mark.parametrize("folder", [".", "split_datas", "V2X-Seq-SPD/split_datas"])
def test_the_split_file_is_found_in_the_usual_places(tmp_path: Path, folder: str) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    (tmp_path / folder).mkdir(exist_ok=True)
    shutil.move(root / "cooperative-split-data-spd.json", tmp_path / folder)
    assert {pair.split for pair in open_recording(root).pairs} == {"train"}


def test_links_to_other_disks_are_followed(tmp_path: Path) -> None:
    root = write_spd(tmp_path / "a", [straight(frames=8)])
    pictures = tmp_path / "disk"
    shutil.move(root / "vehicle-side" / "image", pictures)
    (root / "vehicle-side" / "image").symlink_to(pictures)
    assert open_recording(root).problems == ()


def test_either_spelling_of_unused_fields_and_of_the_lens_folder_is_accepted(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])

    def respell(rows: list) -> None:
        for row in rows:
            row["label_camera_path"] = row.pop("label_camera_std_path")
            row["label_lidar_path"] = row.pop("label_lidar_std_path")

    for side in ("vehicle-side", "infrastructure-side"):
        edit(root / side / "data_info.json", respell)
    lenses = root / "infrastructure-side" / "calib"
    os.rename(lenses / "camera_intrinsic", lenses / "camera")
    found = open_recording(root)
    assert found.problems == ()
    assert found.calibration(found.pairs[0], "infrastructure") is not None


def test_ids_that_run_on_across_sequences_join_nothing(tmp_path: Path) -> None:
    """The second drive starts 0.1 s after the first ends, with the next id: still another sequence."""
    first = straight("0000", "train", frames=8)
    second = straight("0001", "val", frames=8, start_s=0.8, origin=(2644.0, 1745.0))
    found = open_recording(write_spd(tmp_path, [first, second]))
    assert [(name, len(poses.ids)) for name, poses in found.poses.items()] == [("0000", 8), ("0001", 8)]
    assert [pair.sequence for pair in found.pairs[6:10]] == ["0000", "0000", "0001", "0001"]


def test_ids_that_start_anew_in_a_row_field_mean_nothing(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives(), pair_every=5)
    edit(
        root / "vehicle-side" / "data_info.json",
        lambda rows: [row.update(start_frame_id="004015", end_frame_id="004226") for row in rows],
    )
    assert [len(poses.ids) for poses in open_recording(root).poses.values()] == [60, 60, 60]


def test_a_pair_that_no_split_lists_is_kept_and_may_have_no_picture(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [straight(frames=8)])
    split_file = root / "cooperative-split-data-spd.json"
    edit(split_file, lambda document: document["cooperative_split"]["train"].remove("000003"))
    (root / "vehicle-side" / "image" / "000003.jpg").unlink()
    (root / "infrastructure-side" / "image" / "000003.jpg").unlink()
    found = open_recording(root)
    assert found.problems == ()
    assert [pair.split for pair in found.pairs] == ["train"] * 3 + [""] + ["train"] * 4
    assert json.loads(split_file.read_text())["batch_split"]["train"] == ["0000"]
