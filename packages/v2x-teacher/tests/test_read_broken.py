"""Trees with something wrong: one reading finds every problem, says where it is, and leaves out only what it must."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.data.open_recording import open_recording
from v2x_teacher.data.recording import Problem, Recording

from .trees import START_US, edit, straight, write_dair, write_json, write_spd

VEHICLE, INFRASTRUCTURE, COOPERATIVE = (
    Path(side) / "data_info.json" for side in ("vehicle-side", "infrastructure-side", "cooperative")
)
SPLIT_FILE = "cooperative-split-data-spd.json"
Write = Callable[..., Path]


def drives() -> list:
    return [
        straight("0000", "train", frames=8),
        straight("0001", "val", frames=8, start_s=30.0),
        straight("0002", "test", frames=8, start_s=60.0),
    ]


@pytest.fixture
def spd(tmp_path: Path) -> Path:
    return write_spd(tmp_path, drives())


@pytest.fixture
def dair(tmp_path: Path) -> Path:
    return write_dair(tmp_path, drives())


def only_problem(found: Recording) -> Problem:
    assert len(found.problems) == 1, "\n".join(map(str, found.problems))
    return found.problems[0]


def unlisted(found: Recording) -> list[str]:
    return [pair.vehicle_id for pair in found.pairs if not pair.split]


# --- missing files ----------------------------------------------------------------------------------------------------


def test_missing_pictures_are_named_all_at_once_with_both_places(spd: Path) -> None:
    for name in ("000001", "000009", "000010"):
        (spd / "vehicle-side" / "image" / f"{name}.jpg").unlink()
    (spd / "infrastructure-side" / "image" / "000002.jpg").unlink()
    found = open_recording(spd)
    assert [(problem.severity, problem.source) for problem in found.problems] == [
        ("error", f"{spd}/vehicle-side/image/000001.jpg"),
        ("warning", f"{spd}/infrastructure-side/image/000002.jpg"),
        ("error", f"{spd}/vehicle-side/image/000009.jpg"),
        ("error", f"{spd}/vehicle-side/image/000010.jpg"),
    ]
    assert f"{spd.parent}/V2X-Seq-SPD-vehicle-side-image/000001.jpg" in found.problems[0].message
    assert unlisted(found) == ["000001", "000009", "000010"]
    assert found.pairs[2].infrastructure_image is None
    assert found.pairs[2].split == "train"


def test_a_missing_pose_costs_its_frame_and_names_its_file(spd: Path) -> None:
    (spd / "vehicle-side" / "calib" / "novatel_to_world" / "000003.json").unlink()
    found = open_recording(spd)
    problem = only_problem(found)
    assert str(problem) == (
        f"error: {spd}/vehicle-side/calib/novatel_to_world/000003.json: expected this file for frame 000003, got none"
    )
    assert found.poses["0000"].ids == ("000000", "000001", "000002", "000004", "000005", "000006", "000007")


@pytest.mark.parametrize("side", ["vehicle", "infrastructure"])
def test_a_missing_camera_costs_drawings_only(spd: Path, side: str) -> None:
    (spd / f"{side}-side" / "calib" / "camera_intrinsic" / "000003.json").unlink()
    found = open_recording(spd)
    problem = only_problem(found)
    assert (problem.severity, problem.source) == ("warning", f"{spd}/{side}-side/calib/camera_intrinsic")
    assert "none for 1 of 24, which cannot be drawn: 000003" in problem.message
    assert found.calibration(found.pairs[3], side) is None
    assert found.calibration(found.pairs[4], side) is not None


def test_missing_cooperative_labels_cost_collisions_only(spd: Path) -> None:
    for path in (spd / "cooperative" / "label").iterdir():
        path.unlink()
    found = open_recording(spd)
    problem = only_problem(found)
    assert (problem.severity, problem.source) == ("warning", f"{spd}/cooperative/label")
    assert "none for 24 of 24, collisions are n/a there: cooperative/label/000000.json" in problem.message
    assert found.boxes("0000", "000003") is None


def test_a_pair_with_an_unknown_infrastructure_frame_is_kept_without_it(spd: Path) -> None:
    edit(spd / INFRASTRUCTURE, lambda rows: rows.pop(3))
    found = open_recording(spd)
    problem = only_problem(found)
    assert (problem.severity, problem.source) == ("warning", str(spd / COOPERATIVE))
    assert "000003" in problem.message
    pair = found.pairs[3]
    assert (pair.infrastructure_time_us, pair.infrastructure_image, pair.split) == (None, None, "train")


def test_a_pair_with_an_unknown_vehicle_frame_is_an_error(spd: Path) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows[3].update(vehicle_frame="009999"))
    found = open_recording(spd)
    assert [problem.severity for problem in found.problems] == ["error", "warning"]
    assert "got another id: 1 x, 009999" in found.problems[0].message
    assert "1 of 8 pairs are not in the data set: 000003" in found.problems[1].message


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamp", "unit"),
    [
        ("1626155123061", "milliseconds"),
        (1626155123061, "milliseconds"),
        ("1626155123", "seconds"),
        ("1626155123.061", "seconds"),
        (1626155123.061, "seconds"),
        ("1626155123061000000", "nanoseconds"),
        ("-626155123061000", "something else"),
        ("١٦٢٦١٥٥١٢٣٠٦١٠٠٠", "something else"),
        ("soon", "something else"),
        (True, "something else"),
        (None, "something else"),
    ],
)
def test_times_in_another_unit_are_refused_by_name(spd: Path, stamp: object, unit: str) -> None:
    edit(spd / VEHICLE, lambda rows: rows[0].update(pointcloud_timestamp=stamp))
    first = open_recording(spd).problems[0]
    assert (first.severity, first.source) == ("error", str(spd / VEHICLE))
    expected = f"pointcloud_timestamp: expected microseconds since 1970, 16 digits, got {unit}: 1 x, row 0 {stamp!r}"
    assert first.message == expected


def test_a_whole_file_in_milliseconds_is_one_line(spd: Path) -> None:
    def shorten(rows: list) -> None:
        for row in rows:
            row["pointcloud_timestamp"] = row["pointcloud_timestamp"][:-3]

    edit(spd / VEHICLE, shorten)
    edit(spd / INFRASTRUCTURE, shorten)
    found = open_recording(spd)
    lines = [problem for problem in found.problems if "milliseconds" in problem.message]
    assert [problem.severity for problem in lines] == ["error", "warning"]
    assert "24 x, row 0 '1626155123000', row 1 '1626155123100'" in lines[0].message
    assert lines[0].message.endswith("...")
    assert found.poses == {}


def test_microseconds_as_a_number_are_as_good_as_text(spd: Path) -> None:
    edit(spd / VEHICLE, lambda rows: rows[0].update(pointcloud_timestamp=START_US))
    assert open_recording(spd).problems == ()


def test_two_frames_at_one_time_are_reported_and_one_is_kept(spd: Path) -> None:
    edit(spd / VEHICLE, lambda rows: rows[4].update(pointcloud_timestamp=rows[3]["pointcloud_timestamp"]))
    found = open_recording(spd)
    problem = only_problem(found)
    assert problem.severity == "error"
    assert problem.message == "sequence 0000: expected one frame per time, got another one: 1 x, 000004 beside 000003"
    assert np.all(np.diff(found.poses["0000"].time_us) > 0)
    assert "000004" not in found.poses["0000"].ids


def test_a_frame_that_is_listed_twice_is_reported(spd: Path) -> None:
    edit(spd / VEHICLE, lambda rows: rows.append(dict(rows[3], sequence_id="0002")))
    found = open_recording(spd)
    problem = only_problem(found)
    assert (problem.severity, problem.message) == (
        "error",
        "expected one row per frame id, got another one: 1 x, 000003",
    )
    assert len(found.poses["0002"].ids) == 8


# --- splits -----------------------------------------------------------------------------------------------------------


def test_a_sequence_in_two_splits_is_a_leak_and_is_not_learned_from(spd: Path) -> None:
    edit(spd / SPLIT_FILE, lambda document: document["batch_split"]["val"].append("0000"))
    found = open_recording(spd)
    first = found.problems[0]
    assert (first.severity, first.source) == ("error", str(spd / SPLIT_FILE))
    assert first.message == "batch_split: expected 0000 in one split, got train and val: a leak"
    assert unlisted(found) == [f"{index:06d}" for index in range(8)]


def test_a_pair_in_two_splits_is_a_leak(spd: Path) -> None:
    edit(spd / SPLIT_FILE, lambda document: document["cooperative_split"]["test"].append("000003"))
    found = open_recording(spd)
    problem = only_problem(found)
    assert problem.severity == "error"
    assert problem.message == "cooperative_split: expected 000003 in one split, got train and test: a leak"
    assert unlisted(found) == ["000003"]


def test_a_pair_in_another_split_than_its_sequence_is_a_leak(spd: Path) -> None:
    def move(document: dict) -> None:
        for name in ("000003", "000004"):
            document["cooperative_split"]["train"].remove(name)
            document["cooperative_split"]["val"].append(name)
            document["infrastructure_split"]["train"].remove(name)

    edit(spd / SPLIT_FILE, move)
    found = open_recording(spd)
    problem = only_problem(found)
    assert problem.severity == "error"
    assert "pairs of sequence 0000 in train, as batch_split says, got them in cooperative_split val" in problem.message
    assert "2 x, 000003, 000004" in problem.message
    assert unlisted(found) == ["000003", "000004"]


def test_an_infrastructure_frame_of_another_split_is_a_leak(spd: Path) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows[3].update(infrastructure_frame="000010"))
    found = open_recording(spd)
    problem = only_problem(found)
    assert problem.severity == "error"
    assert (
        "infrastructure_split val in val, got them in cooperative_split train: a leak: 1 x, 000003" in problem.message
    )
    assert unlisted(found) == ["000003"]


def test_a_row_that_names_another_sequence_than_its_frame_is_an_error(spd: Path) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows[3].update(vehicle_sequence="0002"))
    found = open_recording(spd)
    assert "vehicle_sequence: expected the sequence_id of the vehicle's frame" in only_problem(found).message
    assert unlisted(found) == ["000003"]


def test_a_vehicle_frame_with_two_pairs_is_learned_from_once(spd: Path) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows.append(dict(rows[3])))
    found = open_recording(spd)
    assert only_problem(found).severity == "warning"
    assert [pair.split for pair in found.pairs if pair.vehicle_id == "000003"] == ["train", ""]


def test_lists_without_a_pair_of_this_data_set_are_an_error(spd: Path) -> None:
    empty = {"train": [], "val": [], "test": []}
    edit(spd / SPLIT_FILE, lambda document: document.update(cooperative_split=empty))
    problem = only_problem(open_recording(spd))
    assert (problem.severity, problem.source) == ("error", str(spd / SPLIT_FILE))


def test_without_a_split_file_the_error_says_where_the_official_one_is(spd: Path) -> None:
    (spd / SPLIT_FILE).unlink()
    with pytest.raises(
        UserError, match=rf"^{spd}: split_file: expected {SPLIT_FILE} .*AIR-THU/DAIR-V2X.*--split_file$"
    ):
        open_recording(spd)
    with pytest.raises(UserError, match=r"^split_file: expected a file, got '.*missing.json'$"):
        open_recording(spd, split_file=spd / "missing.json")


def test_a_list_of_a_single_side_is_not_taken_for_a_split_by_sequence(spd: Path) -> None:
    write_json(spd / "single.json", {"train": ["000000"], "val": [], "test": []})
    with pytest.raises(
        UserError, match=r"single.json: expected a cooperative split file with .*, got train, val, test$"
    ):
        open_recording(spd, split_file=spd / "single.json")


# --- hostile and broken files -----------------------------------------------------------------------------------------

OUTSIDE = ["../../secret.jpg", "/etc/passwd", "image/../../../x.jpg", "..\\x.jpg", "C:/x.jpg", "image/\0.jpg"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("side", [VEHICLE, INFRASTRUCTURE])
def test_a_path_of_a_side_that_leads_out_of_the_data_set_is_an_error(spd: Path, side: Path, path: str) -> None:
    edit(spd / side, lambda rows: rows[3].update(image_path=path))
    first = open_recording(spd).problems[0]
    assert (first.severity, first.source) == ("error", str(spd / side))
    assert first.message == (
        f"image_path: expected a path inside the data set, got one that leads out of it: 1 x, row 3 {path!r}"
    )


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("field", ["vehicle_image_path", "infrastructure_image_path", "cooperative_label_path"])
def test_a_path_of_a_pair_that_leads_out_of_the_data_set_is_an_error(dair: Path, field: str, path: str) -> None:
    edit(dair / COOPERATIVE, lambda rows: rows[3].update({field: path}))
    found = open_recording(dair)
    assert found.problems[0].severity == "error"
    assert "expected a path inside the data set" in found.problems[0].message
    assert "000003" not in [pair.vehicle_id for pair in found.pairs]


@pytest.mark.parametrize("name", ["../000003", "a/b", "", "..", None, 1.5, ["000003"]])
def test_ids_that_are_no_file_names_are_errors(spd: Path, name: object) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows[3].update(vehicle_frame=name))
    found = open_recording(spd)
    assert "expected an id such as '000123'" in found.problems[0].message
    assert len(found.pairs) == 23


def test_a_pair_whose_picture_belongs_to_another_frame_than_its_point_cloud_is_an_error(dair: Path) -> None:
    edit(dair / COOPERATIVE, lambda rows: rows[3].update(vehicle_image_path="vehicle-side/image/000004.jpg"))
    first = open_recording(dair).problems[0]
    assert first.severity == "error"
    assert "vehicle_image_path: expected the frame of the point cloud, 000003, got 000004" in first.message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "expected JSON, got Expecting property name"),
        (b"\xff\xfe", "expected JSON, got 'utf-8' codec"),
        (b"[" * 100_000, "expected JSON, got lists within lists"),
        (b"[NaN]", "got NaN"),
        (b"[]", "expected a list of frames, got an empty one"),
        (b"{}", r"expected a list of frames, got \{\}"),
        (b"[1]", r"expected rows with sequence_id \(V2X-Seq-SPD\) or batch_id"),
    ],
)
def test_a_list_of_frames_that_cannot_be_read_is_one_line(spd: Path, content: bytes, found: str) -> None:
    (spd / VEHICLE).write_bytes(content)
    with pytest.raises(UserError, match=rf"^{spd / VEHICLE}: .*{found}") as caught:
        open_recording(spd)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [VEHICLE, INFRASTRUCTURE, COOPERATIVE])
def test_a_missing_list_is_one_line(spd: Path, path: Path) -> None:
    (spd / path).unlink()
    with pytest.raises(UserError, match=rf"^{spd / path}: expected this file, got none$"):
        open_recording(spd)


def test_a_file_of_absurd_size_is_not_read(spd: Path) -> None:
    os.truncate(spd / COOPERATIVE, 1 << 40)
    with pytest.raises(UserError, match=r"expected at most 200 MiB, got 1048576$"):
        open_recording(spd)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("{", "expected JSON"),
        ("[1, 2]", "expected rotation, 3 x 3 numbers"),
        ('{"rotation": [[1, 0, 0], [0, 1, 0]], "translation": [[0], [0], [0]]}', "expected rotation, 3 x 3 numbers"),
        ('{"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [[], [0], [0]]}', "expected rotation"),
        ('{"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, NaN]], "translation": [[0], [0], [0]]}', "got NaN"),
        ('{"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [[1e999], [0], [0]]}', "finite numbers"),
        ('{"rotation": [[1e300, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [[0], [0], [0]]}', "orthonormal"),
        ('{"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]], "translation": [[0], [0], [0]]}', "one that mirrors"),
        ('{"rotation": [[2, 0, 0], [0, 2, 0], [0, 0, 2]], "translation": [[0], [0], [0]]}', "columns off by 3"),
    ],
)
def test_a_broken_pose_costs_its_frame_only(spd: Path, document: str, found: str) -> None:
    path = spd / "vehicle-side" / "calib" / "novatel_to_world" / "000003.json"
    path.write_text(document)
    recording = open_recording(spd)
    problem = only_problem(recording)
    assert (problem.severity, problem.source) == ("error", str(path))
    assert found in problem.message
    assert "000003" not in recording.poses["0000"].ids


def test_a_broken_camera_is_one_line_when_it_is_asked_for(spd: Path) -> None:
    path = spd / "vehicle-side" / "calib" / "camera_intrinsic" / "000003.json"
    path.write_text('{"cam_K": [1, 2, 3]}')
    found = open_recording(spd)
    with pytest.raises(UserError, match=rf"^{path}: cam_K: expected 9 numbers, got \[1, 2, 3\]$"):
        found.calibration(found.pairs[3], "vehicle")


def test_rows_that_are_no_rows_are_counted_by_what_they_lack(spd: Path) -> None:
    def spoil(rows: list) -> None:
        rows[1] = 5
        del rows[2]["frame_id"], rows[3]["sequence_id"], rows[4]["calib_novatel_to_world_path"]

    edit(spd / VEHICLE, spoil)
    messages = [problem.message for problem in open_recording(spd).problems if problem.severity == "error"]
    for expected in (
        r"expected rows of named fields, got something else: 1 x, row 1 5",
        r"expected rows with a frame id, got none: 1 x, row 2 \{",
        r"sequence_id: expected the name of a sequence, got none: 1 x, row 3 None",
        r"frame 000004: calib_novatel_to_world_path: expected a path, got None",
    ):
        assert any(re.match(expected, message) for message in messages), messages


def test_an_offset_that_is_none_is_a_warning(spd: Path) -> None:
    edit(spd / COOPERATIVE, lambda rows: rows[3].update(system_error_offset={"delta_x": "left", "delta_y": 0}))
    problem = only_problem(open_recording(spd))
    assert problem.severity == "warning"
    assert problem.message == "system_error_offset: expected a number, got 'left': 1 x, 000003"


# --- which data set ---------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_data_set_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"data_dir: expected vehicle-side, .*, got photos$"):
        open_recording(tmp_path)
    with pytest.raises(UserError, match=r"data_dir: expected a folder, got none$"):
        open_recording(tmp_path / "missing")


def test_both_data_sets_below_one_folder_must_be_told_apart(tmp_path: Path) -> None:
    write_spd(tmp_path, drives())
    write_dair(tmp_path, drives())
    with pytest.raises(UserError, match="expected one of spd and dair, got both"):
        open_recording(tmp_path)
    assert open_recording(tmp_path, layout="dair").layout == "dair"
    assert open_recording(tmp_path, layout="spd").layout == "spd"


def test_a_layout_that_the_folder_does_not_have_is_refused(spd: Path) -> None:
    with pytest.raises(UserError, match="layout: expected 'spd', which this folder has, got 'dair'"):
        open_recording(spd, layout="dair")


def test_every_fault_at_once_is_every_problem_at_once(spd: Path) -> None:
    (spd / "vehicle-side" / "image" / "000001.jpg").unlink()
    (spd / "infrastructure-side" / "image" / "000002.jpg").unlink()
    (spd / "cooperative" / "label" / "000003.json").unlink()
    (spd / "vehicle-side" / "calib" / "novatel_to_world" / "000004.json").write_text("{")
    edit(spd / VEHICLE, lambda rows: rows[5].update(pointcloud_timestamp="1626155123061"))
    edit(spd / SPLIT_FILE, lambda document: document["batch_split"]["test"].append("0001"))
    text = "\n".join(map(str, open_recording(spd).problems))
    for expected in (
        "000001.jpg",
        "000002.jpg",
        "label/000003.json",
        "000004.json",
        "milliseconds",
        "0001 in one split",
    ):
        assert expected in text
