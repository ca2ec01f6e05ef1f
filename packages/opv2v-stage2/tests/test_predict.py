"""Predict without a model: the true depth of made-up data takes its place."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2 import predict as verb
from opv2v_stage2.clouds.files import read_cloud
from opv2v_stage2.config import PredictSettings
from opv2v_stage2.data.pictures import read_picture
from opv2v_stage2.data.recording import CAMERAS
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.data.truth import read_truth
from opv2v_stage2.geometry import LIDAR_HEIGHT_M
from opv2v_stage2.inference import AgentReconstruction
from opv2v_stage2.predict.scene import true_boxes, viewed_agents
from opv2v_stage2.predict.selection import chosen_frames, chosen_keys


def pixel_points(frame, number, depth_z):
    """In the lidar frame; where the sky is, somewhere."""
    camera = frame.cameras[number]
    height, width = depth_z.shape
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.intrinsics).T
    points = rays * np.where(np.isfinite(depth_z), depth_z, 9.0)[..., None]
    return points @ camera.lidar_from_camera[:3, :3].T + camera.lidar_from_camera[:3, 3]


def reconstructed(frame, main, error_m=0.0):
    """What a perfect model says of an agent, that many metres too far ahead."""
    truth = read_truth(frame.truth_path)
    main_from_lidar = np.linalg.inv(main.world_from_lidar) @ frame.world_from_lidar
    main_from_lidar[0, 3] += error_m
    shape = (*truth.depth_z.shape, 3)
    points, colours = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for number, camera in frame.cameras.items():
        lidar_points = pixel_points(frame, number, truth.depth_z[number])
        points[number] = lidar_points @ main_from_lidar[:3, :3].T + main_from_lidar[:3, 3]
        colours[number] = read_picture(camera.image_path)
    return AgentReconstruction(
        agent=frame.agent,
        points=points,
        colours=colours,
        validity=np.isfinite(truth.depth_z).astype(np.float32),
        main_from_lidar=main_from_lidar,
        lidar_from_camera=np.stack(
            [frame.cameras[number].lidar_from_camera if number in frame.cameras else np.eye(4) for number in CAMERAS]
        ),
    )


@pytest.fixture(scope="module")
def tree(tiny_data):
    return open_tree(tiny_data)


@pytest.fixture
def moment(tree):
    """The first test frame: its key, what its agents recorded, and what a perfect model says."""
    settings = PredictSettings(num_frames=1)
    (key,) = chosen_keys(tree, settings)
    frames = chosen_frames(tree, key, settings)
    main = next(iter(frames.values()))
    return key, frames, [reconstructed(frame, main) for frame in frames.values()]


def heights(main, points):
    """Above the street on which the main vehicle stands, whatever way it leans."""
    return points @ main.world_from_lidar[2, :3] + LIDAR_HEIGHT_M


def test_vehicles_agree_about_the_ground_they_share(moment):
    _, frames, reconstructions = moment
    main = next(iter(frames.values()))
    for agent in viewed_agents(reconstructions, frames, 0.5):
        near = np.linalg.norm(agent.points[:, :2] - agent.main_from_lidar[:2, 3], axis=1) < 6
        assert np.median(heights(main, agent.points[near])) == pytest.approx(0.0, abs=0.05)


def test_what_is_not_valid_enough_or_not_a_number_is_left_out(moment):
    _, frames, reconstructions = moment
    one = reconstructions[0]
    one.validity[0] = 0.3
    one.points[1, 0, :5] = np.nan
    one.validity[1, 0, :5] = 1.0
    (agent,) = viewed_agents([one], frames, 0.5)
    expected = int((one.validity[1:] >= 0.5).sum()) - 5
    assert len(agent.points) == len(agent.colours) == expected
    assert len(viewed_agents([one], frames, 0.0)[0].points) == one.validity.size - 5


def test_a_stray_point_does_not_cost_the_others_their_precision(moment):
    _, frames, reconstructions = moment
    one = reconstructions[0]
    (whole,) = viewed_agents([one], frames, 0.5)
    one.points[0, 0, :2], one.validity[0, 0, :2] = [[1e6], [np.inf]], 1.0
    (agent,) = viewed_agents([one], frames, 0.5)
    assert len(whole.points) - len(agent.points) in (0, 1, 2)
    assert np.ptp(agent.points, axis=0).max() < 500


def test_a_point_is_as_wide_as_its_pixel_and_wider_where_the_surface_is_slanted(moment):
    _, frames, reconstructions = moment
    one = reconstructions[0]
    frame = frames[one.agent]
    height, width = one.points.shape[1:3]
    one.validity[:], one.validity[0] = 0, 1
    slope, pixel = 1 / frame.cameras[0].intrinsics[1, 1], 1 / frame.cameras[0].intrinsics[0, 0]
    below = np.maximum((np.arange(height) + 0.5 - height / 2) * slope, 1e-2)
    street = 1.04 / below  # the front camera is 1.04 m above it
    row = int(np.abs(street - 3.0).argmin())

    def footprint_m(depth_z):
        one.points[0] = pixel_points(frame, 0, depth_z)
        (agent,) = viewed_agents([one], frames, 0.5)
        return agent.footprint_m.reshape(height, width)[row, width // 2]

    ray_m = 10 * np.hypot(1, below[row])
    assert footprint_m(np.full((height, width), 10.0)) == pytest.approx(1.25 * ray_m * pixel, rel=0.02)
    gap_m = street[row] - street[row + 1]
    assert footprint_m(np.tile(street[:, None], width)) == pytest.approx(1.25 * gap_m, rel=0.02)
    assert gap_m > 2.5 * 3.0 * pixel


def test_a_picture_that_the_data_lack_gives_neither_points_nor_a_camera(moment):
    _, frames, reconstructions = moment
    one = reconstructions[0]
    frame = frames[one.agent]
    partial = replace(frame, cameras={number: frame.cameras[number] for number in frame.cameras if number != 0})
    (whole,), (agent,) = viewed_agents([one], frames, 0.5), viewed_agents([one], {one.agent: partial}, 0.5)
    assert len(agent.cameras) == len(whole.cameras) - 1
    assert len(agent.points) == len(whole.points) - int((one.validity[0] >= 0.5).sum())


def test_a_vehicle_that_several_agents_have_hit_is_one_box_in_the_main_agents_frame(moment):
    _, frames, _ = moment
    main = next(iter(frames))
    boxes = true_boxes(frames, main)
    assert len(boxes) == len({box_id for frame in frames.values() for box_id in frame.boxes.ids})
    for box in boxes:
        below = box.main_from_box @ [0, 0, -box.half_size[2], 1]
        assert heights(frames[main], below[:3]) == pytest.approx(0.0, abs=0.1)


def test_the_files_of_a_frame_hold_the_same_cloud_and_the_poses(moment, tmp_path):
    key, frames, reconstructions = moment
    main = next(iter(frames.values()))
    reconstructions[1] = reconstructed(frames[reconstructions[1].agent], main, error_m=0.5)
    facts = {"run": "runs/x", "stage": "stage2", "min_validity": 0.5}
    cloud_path, page, picture, poses = verb.write_frame(tmp_path / "a_1", facts, key, reconstructions, frames)
    assert [path.name for path in (cloud_path, page, picture, poses)] == ["a_1.ply", "a_1.html", "a_1.png", "a_1.json"]

    cloud = read_cloud(cloud_path)
    assert cloud.frame.lidar == f"{key}/{main.agent}"
    np.testing.assert_allclose(cloud.frame.world_from_cloud, main.world_from_lidar)
    document = json.loads(poses.read_text())
    assert sum(agent["points"] for agent in document["agents"]) == len(cloud)
    pixels = [
        len(frame.cameras) * one.validity[0].size for frame, one in zip(frames.values(), reconstructions, strict=True)
    ]
    assert [agent["points"] + agent["left_out"] for agent in document["agents"]] == pixels
    assert document["main_agent"] == main.agent
    assert document["run"] == "runs/x"
    assert [agent["error_m"] for agent in document["agents"]][:2] == [0.0, 0.5]
    second = document["agents"][1]
    moved = np.array(second["main_from_lidar"]) - np.array(second["main_from_lidar_true"])
    np.testing.assert_allclose(moved, np.eye(1, 16, 3).reshape(4, 4) * 0.5, atol=2e-6)
    camera = np.array(second["main_from_camera"]["0"])
    np.testing.assert_allclose(
        camera, reconstructions[1].main_from_lidar @ reconstructions[1].lidar_from_camera[0], atol=1e-6
    )
    assert f"{second['agent']} (0.50 m, 0.0 deg off)" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_verb_writes_every_frame_and_says_where(tree, tmp_path, monkeypatch, capsys):
    asked = []

    def fake(trained, split, key, agents, stage, *, gps_noise_m, seed):
        asked.append((split, str(key), agents, stage, gps_noise_m, seed))
        frames = {agent: trained.tree.read(split, key, agent) for agent in agents}
        return [reconstructed(frame, frames[agents[0]]) for frame in frames.values()]

    monkeypatch.setattr(verb, "open_trained", lambda run, device, settings: SimpleNamespace(tree=tree))
    monkeypatch.setattr(verb, "reconstruct", fake)
    monkeypatch.setattr(verb.runs, "find", lambda package, run_dir: tmp_path / "run")
    verb.predict(PredictSettings(num_frames=2, num_agents=1, device="cpu", seed=3, gps_noise_m=0.4))
    keys = tree.splits["test"][:2]
    assert asked == [("test", str(key), tree.agents("test", key)[:1], "stage2", 0.4, 3) for key in keys]
    lines = capsys.readouterr().out.splitlines()[-2:]
    for key, line in zip(keys, lines, strict=True):
        stem = tmp_path / "run" / "predict" / f"{key.scenario}_{key.frame}"
        assert line.startswith(f"{key}: ")
        assert " alone: " in line
        assert all(f"{stem}.{suffix}" in line for suffix in ("ply", "html", "png", "json"))
        assert all(stem.with_name(f"{stem.name}.{suffix}").stat().st_size > 500 for suffix in ("ply", "html", "png"))


def test_the_main_vehicle_comes_first_and_then_the_nearest(tree):
    (key,) = chosen_keys(tree, PredictSettings(num_frames=1))
    for main in (agent for agent in tree.agents("test", key) if not agent.startswith("-")):
        frames = chosen_frames(tree, key, PredictSettings(main_agent=main))
        place = [frame.world_from_lidar[:2, 3] for frame in frames.values()]
        away = [np.linalg.norm(one - place[0]) for one in place]
        assert next(iter(frames)) == main
        assert away == sorted(away)
        assert len(chosen_frames(tree, key, PredictSettings(main_agent=main, num_agents=2))) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test_culvercity"}, "split: expected one of test, train, validate, got 'test_culvercity'"),
        ({"frames": ("nowhere/000000",)}, "frames: expected SCENARIO/FRAME of split test, got 'nowhere/000000'"),
        ({"main_agent": "12"}, r"main_agent: expected one of its vehicles [\d, ]+, got '12'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(tree, changes, message):
    settings = PredictSettings(num_frames=1, **changes)
    with pytest.raises(UserError, match=message):
        chosen_frames(tree, chosen_keys(tree, settings)[0], settings)


def test_a_frame_can_be_named(tree):
    last = tree.splits["test"][-1]
    assert chosen_keys(tree, PredictSettings(frames=(str(last),))) == [last]


def test_a_missing_viser_is_said_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"viewer: expected the extra `viser`.*got none"):
        verb.predict(PredictSettings(viewer="viser"))
