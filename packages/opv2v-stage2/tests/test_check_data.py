import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opv2v_stage2.cli import main
from opv2v_stage2.data.agent_yaml import VehicleState, read_agent_yaml, write_agent_yaml
from opv2v_stage2.data.check_data.findings import find
from opv2v_stage2.data.check_data.glances import hits_of_boxes
from opv2v_stage2.data.check_data.pictures import WIDTH_PX, draw_points
from opv2v_stage2.data.check_data.problems import Problem, grouped
from opv2v_stage2.data.recording import Boxes, CameraView
from opv2v_stage2.geometry import lidar_from_camera, ue_matrix, world_from_body

SCENARIO = "2021_08_18_19_48_05"


@pytest.fixture
def root(tmp_path: Path, write_scenario) -> Path:
    """Two splits of one scenario each, with nothing wrong."""
    write_scenario(tmp_path / "data" / "train" / "2021_08_16_22_26_54", frames=("000070",))
    write_scenario(tmp_path / "data" / "test" / SCENARIO)
    return tmp_path / "data"


def stem(root: Path, agent: str = "7", frame: str = "000069") -> Path:
    return root / "test" / SCENARIO / agent / frame


def edit(root: Path, agent: str = "7", **changes: object) -> None:
    path = stem(root, agent).with_suffix(".yaml")
    write_agent_yaml(path, replace(read_agent_yaml(path), **changes))


def of_camera(root: Path, number: int, **changes: np.ndarray) -> dict:
    """All cameras of agent 7 with one changed."""
    cameras = read_agent_yaml(stem(root).with_suffix(".yaml")).cameras
    return {**cameras, number: replace(cameras[number], **changes)}


def lines(root: Path) -> str:
    return "\n".join(map(str, find(root).problems))


def test_clean_data_have_no_problem_and_a_page(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report = tmp_path / "check.html"
    assert main(["check-data", "--data_dir", str(root), "--report", str(report)]) == 0
    output = capsys.readouterr().out
    assert not re.search("^(error|warning|note): ", output, re.MULTILINE), output
    assert "Usable: 9 of 9 agents at moments." in output
    assert f"report: {report}" in output
    page = report.read_text()
    assert page.count("<img") == 4, "two agents of each split"
    assert f"test: {SCENARIO}/000069, agent 7" in page


def test_all_that_is_wrong_is_listed_in_one_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, box_at
) -> None:
    stem(root, "12").with_suffix(".yaml").write_text("- 1\n")
    stem(root, "12", "000071").with_suffix(".pcd").write_text("DATA my_own\n")
    Path(f"{stem(root, '101')}_camera0.png").write_bytes(b"GIF89a")
    document = read_agent_yaml(stem(root).with_suffix(".yaml"))
    extrinsic = np.linalg.inv(document.cameras[1].extrinsic)
    far = document.true_ego_pos + np.array([40, 0, 0, 0, -359.7, 0])
    boxes = {3: box_at([700, 0, 0])}
    edit(root, cameras=of_camera(root, 1, extrinsic=extrinsic), predicted_ego_pos=far, vehicles=boxes)
    shutil.copytree(root / "train" / "2021_08_16_22_26_54", root / "validate" / "2021_08_16_22_26_54")
    for path in (root / "train").glob("*/*/*_camera3.png"):
        path.unlink()
    assert (
        main(["check-data", "--data_dir", str(root), "--report", str(tmp_path / "a.html"), "--num_pictures", "0"]) == 2
    )
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{root}: expected data without errors, got ")
    assert captured.err.count("\n") == 1
    for line in (
        f"error: {stem(root, '12')}.yaml: expected keys and values, got a list of 1",
        f"error: {stem(root, '12', '000071')}.pcd: DATA: expected ascii, binary or binary_compressed",
        f"error: {stem(root, '101')}_camera0.png: expected a PNG picture, got something else",
        f"error: {stem(root)}.yaml: camera1.extrinsic: expected inv(T(cords)) @ T(lidar_pose), got its inverse, camera",
        f"error: {root}: expected 2021_08_16_22_26_54 in one split, got it in train and validate: a leak",
        f"warning: {stem(root)}.yaml: predicted_ego_pos: expected a pose within 5 m and 10 degrees of the true one",
        f"warning: {stem(root)}.pcd: expected a point of the lidar in every box of the YAML, got none in 1 of 1",
        f"warning: {root}/train/2021_08_16_22_26_54: no pictures of camera3 at all",
        f"note: {stem(root)}.yaml: predicted_ego_pos: its yaw is -359.7 degrees from the true one as written",
    ):
        assert line in captured.out, captured.out


def test_skip_invalid_goes_on_with_what_is_left_and_lists_the_rest(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    stem(root, "12").with_suffix(".yaml").unlink()
    arguments = ["check-data", "--data_dir", str(root), "--report", str(tmp_path / "a.html"), "--num_pictures", "0"]
    assert main([*arguments, "--skip_invalid"]) == 0
    assert f"left out: {stem(root, '12')}\n" in capsys.readouterr().out
    for path in root.glob("*/*/*/*.yaml"):
        path.unlink()
    assert main([*arguments, "--skip_invalid"]) == 2
    assert "expected an agent without errors, got none" in capsys.readouterr().err


def test_a_left_handed_rig_is_an_error(root: Path) -> None:
    camera = read_agent_yaml(stem(root).with_suffix(".yaml")).cameras[2]
    edit(root, cameras=of_camera(root, 2, extrinsic=np.diag([1.0, 1, -1, 1]) @ camera.extrinsic))
    assert "camera2.extrinsic: expected a rotation and a translation, got one that mirrors" in lines(root)


def test_angles_in_another_order_are_seen(root: Path) -> None:
    edit(root, lidar_pose=np.array([0, 0, 2, 2, 3, 100.0]))
    found = lines(root)
    assert "lidar_pose: expected x, y, z, roll, yaw, pitch of a vehicle that stands on its wheels, got roll 2" in found
    assert "camera0.extrinsic: expected inv(T(cords)) @ T(lidar_pose), got rotations off by" in found


def test_a_camera_that_lies_on_its_side_is_seen(root: Path) -> None:
    camera = read_agent_yaml(stem(root).with_suffix(".yaml")).cameras[0]
    edit(root, cameras=of_camera(root, 0, cords=camera.cords + np.array([0, 0, 0, 90, 0, 0.0])))
    assert re.search(
        r"camera0.cords: expected a camera that stands upright, got one tilted by [89]\d degrees", lines(root)
    )


def test_pictures_of_another_size_and_of_nothing_are_seen(root: Path) -> None:
    Image.new("RGB", (32, 24)).save(f"{stem(root)}_camera1.png")
    Image.new("RGB", (64, 48)).save(root / "train" / "2021_08_16_22_26_54" / "7" / "000070_camera1.png")
    found = lines(root)
    assert "camera1.intrinsic: expected a picture of 64x48, twice the principal point, got 32x24" in found
    assert "000070_camera1.png: expected a picture of something, got a single colour" in found


def test_agents_that_disagree_are_seen(root: Path, box_at) -> None:
    edit(root, "7", vehicles={5: box_at([15, 5, 0]), 12: box_at([60, 0, 0])})
    edit(root, "101", vehicles={5: box_at([15, 5.4, 0]), 101: box_at([8, 4, 0]), 12: box_at([20, 0.2, 0])})
    found = lines(root)
    assert "vehicles.5: expected the box that agent 7 has, got one off by 0.40 m" in found
    assert "vehicles.101: expected other vehicles, got the agent itself" in found
    assert "7/000069.yaml: vehicles.12: expected the place of the agent of that name, got another" in found


def test_roadside_units_are_noted_and_have_to_say_what_they_are(root: Path, write_scenario, agent_document) -> None:
    unit = replace(agent_document(), is_roadside=True)
    write_scenario(root / "test" / SCENARIO, {"-1": unit, "-2": agent_document(), "9": unit})
    found = lines(root)
    folder = root / "test" / SCENARIO
    assert f"note: {folder / '-1'}: a roadside unit; it is never the main agent" in found
    assert f"warning: {folder / '-2'}: expected RSU: true of a negative id" in found
    assert f"warning: {folder / '9'}: expected a negative id where RSU is true" in found


def test_points_are_counted_in_the_box_they_lie_in(box_at) -> None:
    world_from_lidar = world_from_body(np.array([5, 3, 2, 0, 60, 0.0]))
    vehicle: VehicleState = box_at([20, 10, 0], yaw=30)
    pose = world_from_body(np.array([*(vehicle.location + vehicle.center), *vehicle.angle]))
    boxes = Boxes(np.array([4]), pose[None], vehicle.extent[None])
    corners = np.array([[1.9, 0.9, 0.7], [-1.9, -0.9, -0.7], [2.2, 0, 0], [0, 1.2, 0], [0, 0, -1.0]])
    in_world = corners @ pose[:3, :3].T + pose[:3, 3]
    in_lidar = (in_world - world_from_lidar[:3, 3]) @ world_from_lidar[:3, :3]
    np.testing.assert_array_equal(hits_of_boxes(in_lidar, boxes, world_from_lidar), [2])


def test_points_are_drawn_where_they_are_near_ones_in_red(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(path)
    rig = lidar_from_camera(np.linalg.inv(ue_matrix(np.array([3, 0, -0.9, 0, 0, 0.0]))))
    focal = 32 / np.tan(np.radians(50))
    camera = CameraView(path, np.array([[focal, 0, 32], [0, focal, 24], [0, 0, 1]]), rig)
    board = draw_points(np.array([[6.0, 1.5, -0.9], [93, 0, -0.9], [-5, 0, 0]]), camera)
    assert board.shape == (WIDTH_PX * 3 // 4, WIDTH_PX, 3)
    near, far = board[186, round(WIDTH_PX / 2 - 0.5 * focal * WIDTH_PX / 64)].astype(int), board[186, 248].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0] + 30
    assert (board.sum(axis=-1) > 0).sum() == 8


def test_the_same_problem_of_many_frames_is_one_line() -> None:
    problems = [
        Problem("warning", f"data/test/S/{agent}/{frame:06d}.pcd", f"expected at least 9 points, got {frame}")
        for agent in (7, 12)
        for frame in range(8)
    ]
    (line,) = grouped([*problems, *problems])
    assert line.message.startswith(
        "expected at least 9 points, got 0; the same in 15 more: S/7/000001.pcd, S/7/000002.pcd"
    )
    assert line.message.endswith("S/12/000001.pcd ...")
