import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drivelab_shared.errors import UserError
from opv2v_stage2.data.agent_yaml import CameraCalibration, read_agent_yaml, write_agent_yaml
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.tree import index_tree, open_tree, read_lidar
from opv2v_stage2.geometry import is_rotation

SCENARIO = "2021_08_18_19_48_05"
KEY = FrameKey(SCENARIO, "000069")


@pytest.fixture
def root(tmp_path: Path, write_scenario) -> Path:
    write_scenario(tmp_path / "data" / "test" / SCENARIO)
    return tmp_path / "data"


def edit_yaml(path: Path, **changes: object) -> None:
    write_agent_yaml(path, replace(read_agent_yaml(path), **changes))


# --- what there is ----------------------------------------------------------------------------------------------------


def test_agents_are_in_the_order_of_their_numbers_and_roadside_units_last(
    root: Path, write_scenario, agent_document
) -> None:
    unit = replace(agent_document(), is_roadside=True)
    write_scenario(root / "test" / SCENARIO, {"-1": unit, "-2": unit}, frames=("000069",))
    tree = open_tree(root)
    assert tree.agents("test", KEY) == ("7", "12", "101", "-1", "-2")
    assert tree.agents("test", FrameKey(SCENARIO, "000071")) == ("7", "12", "101")
    assert tree.read("test", KEY, "-1").is_roadside


def test_frames_are_what_is_listed_whatever_their_step_and_length(root: Path, write_scenario, agent_document) -> None:
    write_scenario(root / "test" / "2021_08_17_00_00_00", {"1": agent_document()}, frames=("10", "9", "00340"))
    tree = open_tree(root)
    assert [str(key) for key in tree.splits["test"]] == [
        "2021_08_17_00_00_00/9",
        "2021_08_17_00_00_00/10",
        "2021_08_17_00_00_00/00340",
        f"{SCENARIO}/000069",
        f"{SCENARIO}/000071",
    ]


def test_what_is_not_of_the_data_set_is_passed_over(root: Path) -> None:
    before = open_tree(root)
    agent = root / "test" / SCENARIO / "7"
    for path in (
        agent / "000069_bev_visibility.png",
        agent / "000069_depth0.png",
        agent / "notes.txt",
        root / "test" / SCENARIO / "data_protocol.yaml",
        root / "additional" / "test" / "000069.yaml",
        root / "test" / SCENARIO / "extra" / "000069.yaml",
        root / "test" / "README.md",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"?")
    tree = open_tree(root)
    assert tree.splits == before.splits
    assert tree.missing == ()


def test_a_root_a_split_and_a_scenario_open_alike(root: Path, tmp_path: Path) -> None:
    for folder in (root, root / "test", root / "test" / SCENARIO):
        assert open_tree(folder).splits["test"] == [KEY, FrameKey(SCENARIO, "000071")]
    shutil.copytree(root / "test", tmp_path / "validate")
    assert list(open_tree(tmp_path / "validate").splits) == ["validate"]


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_a_folder_that_is_none_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty" / "train" / "1").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="data_dir: expected a folder"):
        open_tree(tmp_path / name)


def test_an_unknown_frame_or_agent_is_named(root: Path) -> None:
    tree = open_tree(root)
    with pytest.raises(UserError, match=rf"did you mean '{SCENARIO}/000069'"):
        tree.agents("test", FrameKey(SCENARIO, "00069"))
    with pytest.raises(UserError, match="expected one of the agents 7, 12, 101, got '8'"):
        tree.read("test", KEY, "8")


def test_the_fingerprint_follows_names_and_sizes_and_not_the_place(root: Path, tmp_path: Path) -> None:
    before = open_tree(root).fingerprint
    shutil.copytree(root, tmp_path / "elsewhere")
    assert open_tree(tmp_path / "elsewhere").fingerprint == before
    with (root / "test" / SCENARIO / "7" / "000069.pcd").open("ab") as file:
        file.write(b"\n")
    assert open_tree(root).fingerprint != before
    assert pickle.loads(pickle.dumps(open_tree(root))).fingerprint == open_tree(root).fingerprint


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_camera_that_a_scenario_lacks_is_one_line_and_others_are_named(root: Path) -> None:
    scenario = root / "test" / SCENARIO
    for path in scenario.glob("*/*_camera3.png"):
        path.unlink()
    (scenario / "7" / "000071_camera1.png").unlink()
    for path in (scenario / "12").glob("*.pcd"):
        path.unlink()
    tree = open_tree(root)
    assert sorted(tree.missing) == sorted(
        [
            f"{scenario}: no pictures of camera3 at all",
            f"{scenario / '7'}: no pictures of camera1 in 1 of 2 frames: 000071",
            f"{scenario / '12'}: no .pcd at all",
        ]
    )
    assert list(tree.read("test", FrameKey(SCENARIO, "000071"), "7").cameras) == [0, 2]
    frame = tree.read("test", KEY, "12")
    assert frame.lidar_path is None
    assert len(read_lidar(frame)[0]) == 0


def test_a_picture_without_calibration_is_no_camera(root: Path) -> None:
    path = root / "test" / SCENARIO / "7" / "000069.yaml"
    cameras = dict(read_agent_yaml(path).cameras)
    del cameras[2]
    edit_yaml(path, cameras=cameras)
    assert list(open_tree(root).read("test", KEY, "7").cameras) == [0, 1, 3]


def test_a_missing_yaml_stops_or_is_left_out(root: Path) -> None:
    path = root / "test" / SCENARIO / "12" / "000069.yaml"
    path.unlink()
    with pytest.raises(UserError, match=r"12/000069.yaml: expected this file, got none; check-data lists"):
        open_tree(root)
    tree = open_tree(root, skip_invalid=True)
    assert tree.agents("test", KEY) == ("7", "101")
    assert tree.left_out == (f"{path}: expected a YAML file, got: No such file or directory",)
    assert tree.fingerprint != index_tree(root).fingerprint


def test_skip_invalid_leaves_out_whatever_cannot_be_read(root: Path) -> None:
    scenario = root / "test" / SCENARIO
    (scenario / "7" / "000069.yaml").write_text("lidar_pose: [")
    (scenario / "7" / "000071.pcd").write_text("DATA ascii\n")
    image = scenario / "12" / "000069_camera1.png"
    image.write_bytes(image.read_bytes()[:-400])
    document = read_agent_yaml(scenario / "12" / "000071.yaml")
    first = replace(document.cameras[0], extrinsic=np.linalg.inv(document.cameras[0].extrinsic))
    edit_yaml(scenario / "12" / "000071.yaml", cameras={**document.cameras, 0: first})
    tree = open_tree(root, skip_invalid=True)
    assert [tree.agents("test", key) for key in tree.splits["test"]] == [("101",), ("101",)]
    assert len(tree.left_out) == 4
    assert "got its inverse, camera to lidar" in "\n".join(tree.left_out)
    for path in scenario.glob("101/*.yaml"):
        path.unlink()
    with pytest.raises(UserError, match="expected an agent whose files can be read, got none"):
        open_tree(root, skip_invalid=True)


# --- what the files say -----------------------------------------------------------------------------------------------


def test_poses_are_right_handed_and_gps_carries_the_lidar_along(root: Path) -> None:
    frame = open_tree(root).read("test", KEY, "7")
    document = read_agent_yaml(root / "test" / SCENARIO / "7" / "000069.yaml")
    assert is_rotation(frame.world_from_lidar)
    x, y, z = document.lidar_pose[:3]
    np.testing.assert_allclose(frame.world_from_lidar[:3, 3], [x, -y, z])
    nose = [np.cos(np.radians(30)), -np.sin(np.radians(30))]
    np.testing.assert_allclose(frame.world_from_lidar[:2, 0] / np.cos(np.radians(3)), nose, atol=1e-6)
    # GNSS is 0.3 m along x and half a degree of yaw off; the lidar sits 0.5 m behind its origin and turns with it.
    off = np.linalg.inv(frame.world_from_lidar) @ frame.gps_world_from_lidar
    assert np.degrees(np.arccos((np.trace(off[:3, :3]) - 1) / 2)) == pytest.approx(0.5, abs=0.01)
    assert np.linalg.norm(off[:3, 3]) == pytest.approx(0.3, abs=0.02)
    assert frame.speed_mps == pytest.approx(10)


def test_cameras_are_where_their_cords_say(root: Path) -> None:
    from opv2v_stage2.geometry import world_from_camera

    frame = open_tree(root).read("test", KEY, "12")
    document = read_agent_yaml(root / "test" / SCENARIO / "12" / "000069.yaml")
    for number, camera in frame.cameras.items():
        expected = world_from_camera(document.cameras[number].cords)
        np.testing.assert_allclose(frame.world_from_lidar @ camera.lidar_from_camera, expected, atol=1e-9)


def test_a_mirrored_extrinsic_is_refused(root: Path) -> None:
    path = root / "test" / SCENARIO / "7" / "000069.yaml"
    camera = read_agent_yaml(path).cameras[0]
    mirrored = CameraCalibration(camera.cords, np.diag([1.0, -1, 1, 1]) @ camera.extrinsic, camera.intrinsic)
    edit_yaml(path, cameras={0: mirrored})
    with pytest.raises(UserError, match=r"camera0.extrinsic: expected a rotation and a translation, got one that mir"):
        open_tree(root).read("test", KEY, "7")


def test_pictures_of_another_size_than_the_intrinsics_are_refused(root: Path) -> None:
    path = root / "test" / SCENARIO / "7" / "000069_camera2.png"
    Image.new("RGB", (32, 24)).save(path)
    with pytest.raises(UserError, match=r"camera2.intrinsic: expected a picture of 64x48, .* got 32x24"):
        open_tree(root).read("test", KEY, "7")


def test_boxes_stand_where_they_are_and_turn_clockwise_seen_from_above(root: Path, box_at) -> None:
    path = root / "test" / SCENARIO / "7" / "000069.yaml"
    edit_yaml(path, vehicles={5: box_at([10, 4, 0.5], yaw=90), 9: box_at([0, 0, 0], roll=10, yaw=40, pitch=20)})
    boxes = open_tree(root).read("test", KEY, "7").boxes
    np.testing.assert_array_equal(boxes.ids, [5, 9])
    np.testing.assert_allclose(boxes.half_size, [[2, 1, 0.8]] * 2)
    # The offset of the middle is added un-rotated: x + 0.1 although the box is turned.
    np.testing.assert_allclose(boxes.world_from_box[0][:3, 3], [10.1, -4, 1.3])
    np.testing.assert_allclose(boxes.world_from_box[0][:3, 0], [0, -1, 0], atol=1e-12)
    front = boxes.world_from_box[1][:3, 0]
    assert front[2] == pytest.approx(np.sin(np.radians(20))), "pitch is the third angle"
    assert np.degrees(np.arctan2(-front[1], front[0])) == pytest.approx(40), "yaw is the second"
    assert is_rotation(boxes.world_from_box)


def test_lidar_points_are_mirrored(root: Path) -> None:
    from opv2v_stage2.data.pcd import write_pcd

    path = root / "test" / SCENARIO / "7" / "000069.pcd"
    write_pcd(path, np.array([[1.0, 2, 3]]), np.array([0.8]))
    points, intensity = read_lidar(open_tree(root).read("test", KEY, "7"))
    np.testing.assert_allclose(points, [[1, -2, 3]])
    np.testing.assert_allclose(intensity, [0.8])
    assert points.dtype == np.float32


def test_dense_depth_is_found_beside_the_splits(root: Path) -> None:
    path = root / "truth" / "test" / SCENARIO / "7" / "000069.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    for folder in (root, root / "test", root / "test" / SCENARIO):
        tree = open_tree(folder)
        assert tree.read("test", KEY, "7").truth_path == path
        assert tree.read("test", KEY, "12").truth_path is None
