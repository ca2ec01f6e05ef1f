from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from drivelab_shared.errors import UserError
from opv2v_stage2.data import agent_yaml
from opv2v_stage2.data.agent_yaml import read_agent_yaml, write_agent_yaml


@pytest.fixture
def path(tmp_path: Path, agent_document, box_at) -> Path:
    path = tmp_path / "7" / "000069.yaml"
    write_agent_yaml(path, agent_document(vehicles={3477: box_at([10, 2, 0], yaw=20)}))
    return path


def edit(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_what_is_written_is_read(path: Path, agent_document, box_at) -> None:
    found, expected = read_agent_yaml(path), agent_document()
    for name in ("lidar_pose", "true_ego_pos", "predicted_ego_pos", "plan_trajectory"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.ego_speed, found.is_roadside, list(found.cameras)) == (36.0, False, [0, 1, 2, 3])
    for name in ("cords", "extrinsic", "intrinsic"):
        np.testing.assert_array_equal(getattr(found.cameras[2], name), getattr(expected.cameras[2], name))
    for name in ("angle", "center", "extent", "location"):
        np.testing.assert_array_equal(getattr(found.vehicles[3477], name), getattr(box_at([10, 2, 0], yaw=20), name))
    assert found.vehicles[3477].speed == 18.0


def test_keys_and_types_are_those_of_the_official_files(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    cameras = {f"camera{number}" for number in range(4)}
    others = {"ego_speed", "lidar_pose", "plan_trajectory", "predicted_ego_pos", "true_ego_pos", "vehicles", "RSU"}
    assert content.keys() == cameras | others
    assert content["camera0"].keys() == {"cords", "extrinsic", "intrinsic"}
    assert content["vehicles"][3477].keys() == {"angle", "center", "extent", "location", "speed"}
    assert np.shape(content["camera0"]["extrinsic"]) == (4, 4)
    assert all(isinstance(value, float) for value in content["lidar_pose"])
    assert content["RSU"] is False


def test_the_slow_parser_reads_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_agent_yaml(path)
    monkeypatch.setattr(agent_yaml, "_LOADER", yaml.SafeLoader)
    np.testing.assert_array_equal(read_agent_yaml(path).lidar_pose, fast.lidar_pose)


def test_numbers_that_yaml_takes_for_text_are_numbers(path: Path) -> None:
    edit(path, lambda content: content["lidar_pose"].__setitem__(3, "1e-06"))
    assert "1e-06" in path.read_text()
    assert read_agent_yaml(path).lidar_pose[3] == 1e-6


def test_a_file_without_some_cameras_rsu_trajectory_and_vehicles_is_read(path: Path) -> None:
    def change(content: dict) -> None:
        for key in ("camera3", "RSU", "plan_trajectory"):
            del content[key]
        content["vehicles"] = None

    edit(path, change)
    document = read_agent_yaml(path)
    assert (list(document.cameras), document.is_roadside, len(document.vehicles)) == ([0, 1, 2], None, 0)
    assert document.plan_trajectory.shape == (0, 3)


def test_a_roadside_unit_stays_one(tmp_path: Path, agent_document) -> None:
    path = tmp_path / "000069.yaml"
    write_agent_yaml(path, replace(agent_document(), is_roadside=True))
    assert read_agent_yaml(path).is_roadside is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("lidar_pose"), "lidar_pose: expected 6 finite numbers, got no such key"),
        (lambda c: c.update(lidar_pose=[1, 2, 3]), "lidar_pose: expected 6 finite numbers, got a list of 3"),
        (lambda c: c["true_ego_pos"].__setitem__(0, float("nan")), "true_ego_pos: expected 6 finite numbers"),
        (lambda c: c["true_ego_pos"].__setitem__(0, True), "true_ego_pos: expected 6 finite numbers"),
        (lambda c: c["true_ego_pos"].__setitem__(0, 10**400), "true_ego_pos: expected 6 finite numbers"),
        (lambda c: c.update(ego_speed=[1]), "ego_speed: expected a finite number, got a list of 1"),
        (lambda c: c.update(camera1=[]), "camera1: expected keys and values, got a list of 0"),
        (lambda c: c["camera1"].pop("cords"), "camera1.cords: expected 6 finite numbers, got no such key"),
        (
            lambda c: c["camera1"]["extrinsic"].pop(),
            "camera1.extrinsic: expected 4 x 4 finite numbers, got a list of 3",
        ),
        (lambda c: c["camera1"]["extrinsic"][3].__setitem__(0, 1), "camera1.extrinsic: expected a last row 0 0 0 1"),
        (lambda c: c["camera1"]["intrinsic"][0].__setitem__(0, 0), "camera1.intrinsic: expected focal lengths > 0"),
        (lambda c: c["vehicles"][3477].pop("angle"), "vehicles.3477.angle: expected 3 finite numbers"),
        (lambda c: c["vehicles"][3477].update(extent=[2, 0, 1]), "vehicles.3477.extent: expected half sizes > 0"),
        (lambda c: c["vehicles"].update(car=c["vehicles"][3477]), "vehicles: expected whole numbers as ids, got 'car'"),
        (lambda c: c.update(RSU="yes"), "RSU: expected true or false, got 'yes'"),
        (lambda c: c.update(plan_trajectory=[[1, 2]]), "plan_trajectory: expected 1 x 3 finite numbers"),
        (lambda c: c.update(plan_trajectory=7), "plan_trajectory: expected"),
    ],
)
def test_a_broken_key_is_named(path: Path, change, message: str) -> None:
    edit(path, change)
    with pytest.raises(UserError) as error:
        read_agent_yaml(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- 1\n",
        b"lidar_pose: [1, 2",
        b"\xff\xfe\x00\x01",
        b"lidar_pose: !!python/object/apply:os.system [echo]\n",
        b"when: 2021-99-99\n",
        b"a: " + b"[" * 2000,
        b"a: &a [x, x]\nb: &b [*a, *a]\n"
        + b"".join(f"c{i}: &c{i} [*{'b' if i == 0 else f'c{i - 1}'}, *b]\n".encode() for i in range(40))
        + b"lidar_pose: [*c39, *c39, *c39, *c39, *c39, *c39]\ntrue_ego_pos: *c39\n",
    ],
)
def test_a_file_that_is_no_such_document_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "000069.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_agent_yaml(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_and_a_huge_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "000069.yaml"
    with pytest.raises(UserError, match="expected a YAML file, got: No such file"):
        read_agent_yaml(path)
    with path.open("wb") as file:
        file.truncate(agent_yaml.MAX_BYTES + 1)
    with pytest.raises(UserError, match="expected at most 16 MiB"):
        read_agent_yaml(path)
