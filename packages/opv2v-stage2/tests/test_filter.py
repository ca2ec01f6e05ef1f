"""The verb `filter`, from its command line on."""

import csv
import math

import numpy as np
import pytest

from drivelab_shared import results
from drivelab_shared.errors import UserError
from drivelab_shared.settings import parse
from opv2v_stage2 import geometry
from opv2v_stage2.clouds.cloud import Cloud, CloudFrame, moved
from opv2v_stage2.clouds.files import read_cloud, write_cloud
from opv2v_stage2.config import FilterSettings
from opv2v_stage2.data.agent_yaml import AgentDocument, CameraCalibration, write_agent_yaml
from opv2v_stage2.filter import filter_clouds

K = np.array([[335.6, 0, 400], [0, 335.6, 300], [0, 0, 1]])
LEFT, UP = np.meshgrid(np.arange(20) - 9.75, np.arange(20) / 10 - 1.85)
WALL = np.column_stack([np.full(400, 15.25), LEFT.ravel(), UP.ravel()])
"""15 m ahead, from the ground 2 m up, as the first lidar sees it."""
FLOATERS = np.column_stack([np.full(40, 9.0), np.linspace(-5, 5, 40), np.full(40, 4.5)])
"""6.4 m above the ground."""


def world_from_lidar(index):
    """The vehicle drives 1 m and turns 5 degrees between frames."""
    return geometry.world_from_body(np.array([600.0 + index, -17.0, 1.93, 0, 5 * index, 0]))


@pytest.fixture
def frames(tmp_path):
    """Three predictions with a floater each, and what was measured; paths of both."""
    wall_world = moved(WALL, world_from_lidar(0))
    paths = []
    for index in range(3):
        frame = CloudFrame(f"scene/{index:06}/1045", world_from_cloud=world_from_lidar(index))
        wall = moved(wall_world, np.linalg.inv(world_from_lidar(index))).astype(np.float32)
        lonely = np.array([[12.0 + index, 2 - index, -1.0]])
        predicted = np.concatenate([wall, FLOATERS, lonely]).astype(np.float32)
        for name, points in (("pred", predicted), ("gt", wall)):
            write_cloud(tmp_path / f"{name}{index}.npy", Cloud(points, frame))
        paths.append((tmp_path / f"pred{index}.npy", tmp_path / f"gt{index}.npy"))
    return paths


@pytest.fixture
def run(tmp_path):
    """Run the verb; the figures of results.json by (table, row, metric, at)."""

    def runner(*arguments):
        words = [*map(str, arguments), "--output_dir", str(tmp_path / "out")]
        filter_clouds(parse(FilterSettings, words, prog="opv2v-stage2 filter"))
        tables = results.read(tmp_path / "out/results.json")
        return {(table.table, row.row, row.metric, row.at): row.value for table in tables for row in table.rows}

    return runner


def write_yaml(path, pose=(600.0, -17.0, 1.93, 0, 0, 0), yaws=(0,)):
    pose = np.array(pose)
    cameras = {}
    for number, yaw in enumerate(yaws):
        cords = geometry.ue_pose(geometry.ue_matrix(pose) @ geometry.ue_matrix(np.array([0.0, 0, -0.5, 0, yaw, 0])))
        extrinsic = np.linalg.inv(geometry.ue_matrix(cords)) @ geometry.ue_matrix(pose)
        cameras[number] = CameraCalibration(cords, extrinsic, K)
    write_agent_yaml(path, AgentDocument(pose, pose, pose, 30.0, np.zeros((0, 3)), cameras, {}, None))
    return path


def test_floaters_above_the_window_go_and_the_distance_shrinks(run, frames, tmp_path, capsys):
    pred, gt = frames[0]
    found = run("--pred", pred, "--gt", gt, "--voxel", "0", "--save_filtered", tmp_path / "kept")
    assert found["filter", "raw", "points", None] == 441
    assert found["filter", "filtered", "points", None] == 401
    above = "points above 4.2 m [%]"
    assert found["filter", "raw", above, None] == pytest.approx(100 * 40 / 441)
    assert found["filter", "filtered", above, None] == 0
    chamfer = "Chamfer, predicted to measured [m]"
    lonely = np.linalg.norm(WALL - [12, 2, -1], axis=1).min()
    assert found["filter", "filtered", chamfer, None] == pytest.approx(lonely / 401, rel=1e-4)
    assert found["filter", "raw", chamfer, None] > 0.4
    assert found["filter", "filtered", "Chamfer, measured to predicted [m]", None] == 0
    assert found["heights", "6 to 7 m", "predicted points", "raw"] == 40
    kept = read_cloud(tmp_path / "kept/pred0_filtered.pcd")
    assert len(kept) == 401
    assert kept.frame.lidar == "scene/000000/1045"
    assert "Chamfer" in capsys.readouterr().out
    assert "<img" in (tmp_path / "out/report.html").read_text()


def test_a_perfect_prediction_stays_perfect_under_every_crop(run, frames, tmp_path):
    _, gt = frames[0]
    yaml = write_yaml(tmp_path / "000000.yaml")
    found = run("--pred", gt, "--gt", gt, "--z_max", "0.7", "--camera_yaml", yaml, "--radius_max", "16")
    assert found["filter", "filtered", "Chamfer, predicted to measured [m]", None] == 0
    assert found["filter", "filtered", "BEV IoU [%]", None] == 100
    assert 0 < found["filter", "filtered", "points", None] < 400


def test_what_one_frame_alone_saw_loses_the_vote(run, frames):
    preds, gts = zip(*frames, strict=True)
    words = ("--pred", *preds, "--gt", *gts, "--vote_min_frames", "2", "--vote_voxel", "0.5")
    found = run(*words)
    for index in range(3):
        kept = found["clouds", f"pred{index}", "points", "filtered"]
        assert 390 <= kept <= 400


def test_measured_clouds_of_another_frame_are_brought_over_through_the_world(run, frames):
    found = run("--pred", frames[2][0], "--gt", frames[0][1])
    assert found["filter", "raw", "Chamfer, measured to predicted [m]", None] == pytest.approx(0, abs=1e-4)


def test_cameras_given_one_by_one_or_together_all_count(run, frames, tmp_path):
    pred = frames[0][0]
    ahead, behind = write_yaml(tmp_path / "a.yaml"), write_yaml(tmp_path / "b.yaml", yaws=(180,))
    assert run("--pred", pred, "--camera_yaml", behind)["filter", "filtered", "points", None] == 0
    seen = run("--pred", pred, "--camera_yaml", ahead)["filter", "filtered", "points", None]
    assert seen == 401
    for both in (("--camera_yaml", ahead, "--camera_yaml", behind), ("--camera_yaml", ahead, behind)):
        assert run("--pred", pred, *both)["filter", "filtered", "points", None] == seen
        assert run("--pred", pred, *both, "--min_visible_views", "2")["filter", "filtered", "points", None] == 0


def test_a_camera_of_another_vehicle_is_placed_through_the_world(run, frames, tmp_path):
    # 30 m ahead of the first one and looking back at the wall, or away from it.
    back = write_yaml(tmp_path / "a.yaml", pose=(630.0, -17.0, 1.93, 0, 180, 0))
    away = write_yaml(tmp_path / "b.yaml", pose=(630.0, -17.0, 1.93, 0, 0, 0))
    assert run("--pred", frames[0][0], "--camera_yaml", back)["filter", "filtered", "points", None] > 390
    assert run("--pred", frames[0][0], "--camera_yaml", away)["filter", "filtered", "points", None] == 0


def test_pairs_come_from_a_list_and_need_no_measured_cloud(run, frames, tmp_path):
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("pred", "gt"), frames[0], (frames[1][0], "")])
    found = run("--pair_list", tmp_path / "pairs.csv")
    assert found["clouds", "pred0", "BEV IoU [%]", "raw"] > 0
    assert ("clouds", "pred1", "BEV IoU [%]", "raw") not in found


def test_clouds_of_the_same_name_are_told_apart(run, frames, tmp_path):
    other = tmp_path / "other/pred0.npy"
    write_cloud(other, read_cloud(frames[0][0]))
    run("--pred", frames[0][0], other, "--save_filtered", tmp_path / "kept")
    names = sorted(path.name for path in (tmp_path / "kept").glob("*.pcd"))
    assert names == ["000_pred0_filtered.pcd", "001_pred0_filtered.pcd"]


def test_an_old_cache_is_read_with_a_word_about_what_is_assumed(run, tmp_path, capsys):
    np.save(tmp_path / "old.npy", WALL)
    assert run("--pred", tmp_path / "old.npy", "--ground_z", "-1.93")["filter", "filtered", "points", None] == 400
    assert "old.npy: no sidecar: taken for x forward, y left, z up" in capsys.readouterr().err


def test_a_cloud_of_which_nothing_is_left_has_no_distance(run, frames):
    found = run("--pred", frames[0][0], "--gt", frames[0][1], "--z_min", "50", "--z_max", "60")
    assert found["filter", "filtered", "points", None] == 0
    assert found["filter", "filtered", "Chamfer, predicted to measured [m]", None] is None


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            ("--pred", "{pred}", "--vote_min_frames", "2"),
            "expected at least 2 frames, got 1 of scenario scene",
        ),
        (("--pred", "{old}", "--ground_z", "0", "--vote_min_frames", "2"), "world_from_cloud, got none: frames cannot"),
        (("--pred", "{old}", "{pred}", "--ground_z", "0", "--camera_yaml", "{yaml}"), "cameras cannot be placed"),
        (("--pred", "{old}"), "the setting ground_z"),
        (("--pred", "{pred}", "--camera_yaml", "{old}"), "old.npy: expected"),
        (("--pred", "{pred}", "--camera_yaml", "{blind}"), "blind.yaml: expected cameras, got none"),
        (("--pred", "{pred}", "--min_visible_views", "2"), "camera_yaml: expected files with 2 cameras"),
        (
            ("--pred", "{pred}", "--gt", "{elsewhere}"),
            "frame of the prediction, scene/000000/1045, got o/1/2",
        ),
        (("--pair_list", "{empty}"), "expected the columns pred and gt and some rows"),
        (("--pair_list", "{wrong}"), "line 2: expected a pred and a gt"),
        (("--pair_list", "{missing}"), "expected a CSV with the columns pred and gt"),
    ],
)
def test_a_mistake_is_one_line(run, frames, tmp_path, arguments, found):
    np.save(tmp_path / "old.npy", WALL)
    write_cloud(tmp_path / "elsewhere.npy", Cloud(WALL.astype(np.float32), CloudFrame("o/1/2")))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    names = {
        "pred": frames[0][0],
        "old": tmp_path / "old.npy",
        "yaml": write_yaml(tmp_path / "a.yaml"),
        "blind": write_yaml(tmp_path / "blind.yaml", yaws=()),
        "elsewhere": tmp_path / "elsewhere.npy",
        "empty": tmp_path / "empty.csv",
        "wrong": tmp_path / "wrong.csv",
        "missing": tmp_path / "missing.csv",
    }
    with pytest.raises(UserError, match=found) as caught:
        run(*(word.format(**names) for word in arguments))
    assert "\n" not in str(caught.value)


def test_the_made_up_frames_mean_what_they_say():
    assert world_from_lidar(1)[:3, 3] == pytest.approx([601, 17, 1.93])
    assert math.degrees(math.atan2(world_from_lidar(1)[1, 0], world_from_lidar(1)[0, 0])) == pytest.approx(-5)
