"""DAIR-V2X-C trees that are right, and what only they have."""

from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.data.open_recording import open_recording

from .trees import START_US, edit, rotation_z, straight, three_drives, write_dair, write_json, write_spd


def test_both_layouts_of_the_same_drives_are_the_same_recording(tmp_path: Path) -> None:
    dair = open_recording(write_dair(tmp_path / "a", three_drives(), pair_every=3))
    spd = open_recording(write_spd(tmp_path / "b", three_drives(), pair_every=3))
    assert (dair.layout, spd.layout) == ("dair", "spd")
    assert dair.problems == spd.problems == ()
    for left, right in zip(dair.pairs, spd.pairs, strict=True):
        assert left.vehicle_image == dair.root / right.vehicle_image.relative_to(spd.root)
        assert left.infrastructure_image == dair.root / right.infrastructure_image.relative_to(spd.root)
        for field in ("vehicle_id", "infrastructure_id", "sequence", "split", "time_us", "infrastructure_time_us"):
            assert getattr(left, field) == getattr(right, field)
    for name, poses in dair.poses.items():
        assert poses.ids == spd.poses[name].ids
        np.testing.assert_array_equal(poses.world_from_vehicle, spd.poses[name].world_from_vehicle)


def test_holes_in_the_cooperative_list_cost_no_pose(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight(frames=60)])
    keep = [0, 1, 2, 30, 31, 59]

    def cut_holes(rows: list) -> None:
        rows[:] = [rows[index] for index in keep]

    edit(root / "cooperative" / "data_info.json", cut_holes)
    found = open_recording(root)
    assert len(found.poses["0000"].ids) == 60
    assert [pair.time_us - START_US for pair in found.pairs] == [100_000 * index for index in keep]
    (problem,) = found.problems
    assert problem.severity == "warning"
    assert "cooperative_split.train: 54 of 60 pairs are not in the data set: 000003, 000004" in problem.message


def test_batches_may_be_named_by_numbers(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight("7", "train", frames=8)])
    edit(root / "vehicle-side" / "data_info.json", lambda rows: [row.update(batch_id=7) for row in rows])
    found = open_recording(root)
    assert found.problems == ()
    assert list(found.poses) == ["7"]


CENTRE, YAW, SIZE = np.array([2650.0, 1750.0, 22.0]), 0.7, (4.4, 1.8, 1.5)
SIGNS = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]] * 2)
"""Of the corners along length and width, in the official order: below, then above; front, then rear."""


def corners() -> list[list[float]]:
    around = np.column_stack([SIGNS, [-1] * 4 + [1] * 4]) * np.array(SIZE) / 2
    return (CENTRE + around @ rotation_z(YAW).T).tolist()


def test_boxes_are_read_from_their_corners_in_the_world(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight(frames=8)])
    write_json(root / "cooperative" / "label_world" / "000002.json", [{"type": "Van", "world_8_points": corners()}])
    (box,) = open_recording(root).boxes("0000", "000002")
    assert (box.kind, box.track_id) == ("Van", None)
    np.testing.assert_allclose(box.size_m, SIZE)
    np.testing.assert_allclose(box.world_from_box[:3, 3], CENTRE)
    np.testing.assert_allclose(box.world_from_box[:3, :3], rotation_z(YAW), atol=1e-12)


def test_the_order_of_the_corners_decides_at_most_which_end_is_the_front(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight(frames=8)])
    points = [corners()[index] for index in (5, 0, 3, 6, 1, 7, 2, 4)]
    write_json(root / "cooperative" / "label_world" / "000002.json", [{"type": "Van", "world_8_points": points}])
    (box,) = open_recording(root).boxes("0000", "000002")
    np.testing.assert_allclose(box.size_m, SIZE)
    assert abs(box.world_from_box[0, 0]) == pytest.approx(np.cos(YAW))


def test_boxes_without_corners_are_read_from_place_size_and_rotation(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight(frames=8)])
    row = {
        "type": "Bus",
        "3d_location": dict(zip("xyz", CENTRE, strict=True)),
        "3d_dimensions": dict(zip("lwh", SIZE, strict=True)),
        "rotation": YAW,
        "system_error_offset": {"delta_x": 1.0, "delta_y": 1.0},
    }
    write_json(root / "cooperative" / "label_world" / "000002.json", [row])
    (box,) = open_recording(root).boxes("0000", "000002")
    np.testing.assert_allclose(box.world_from_box[:3, 3], CENTRE)
    np.testing.assert_allclose(box.world_from_box[:3, :3], rotation_z(YAW), atol=1e-12)
    assert box.size_m == SIZE


def test_the_recording_vehicle_is_no_other_road_user(tmp_path: Path) -> None:
    root = write_dair(tmp_path, [straight(frames=8)])
    row = {"type": "Car", "world_8_points": (np.array(corners()) - CENTRE + [2638.0, 1745.5, 22.0]).tolist()}
    for frame_id in ("000002", "000007"):
        write_json(root / "cooperative" / "label_world" / f"{frame_id}.json", [row])
    found = open_recording(root)
    assert found.boxes("0000", "000002") == []
    assert len(found.boxes("0000", "000007")) == 1
