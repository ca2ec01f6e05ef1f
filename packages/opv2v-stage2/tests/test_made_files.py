"""What make-data writes, read with plain arithmetic: nothing here uses the package's own conversions."""

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from opv2v_stage2.config import MakeDataSettings
from opv2v_stage2.data.make_data.plan import HOLE, WORST, plan_scenarios
from opv2v_stage2.data.make_data.streets import roads_of
from opv2v_stage2.data.make_data.traffic import traffic
from opv2v_stage2.data.pcd import PointCloud, read_pcd
from opv2v_stage2.data.truth import read_truth

CAMERA_KEYS = {"cords", "extrinsic", "intrinsic"}
VEHICLE_KEYS = {"angle", "center", "extent", "location", "speed"}
KEYS = {"ego_speed", "lidar_pose", "plan_trajectory", "predicted_ego_pos", "true_ego_pos", "vehicles"}
RIG = {0: (3.0, 0.0, -0.9, 0), 1: (0.5, 0.3, -0.1, 100), 2: (0.5, -0.3, -0.1, -100), 3: (-1.5, 0.0, -0.4, 180)}


def files(root: Path) -> list[Path]:
    return sorted(path for split in ("train", "validate", "test") for path in (root / split).glob("*/*/*.yaml"))


@pytest.fixture(scope="module")
def documents(tiny_data: Path) -> dict[Path, dict]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {path: yaml.load(path.read_text(), Loader=loader) for path in files(tiny_data)}


@pytest.fixture(scope="module")
def clouds(documents: dict[Path, dict]) -> dict[Path, PointCloud]:
    return {path: read_pcd(path.with_suffix(".pcd")) for path in documents}


def matrix(pose: list[float]) -> np.ndarray:
    """Yaw, then pitch, then roll as products of elementary left-handed turns: x forward, y right, z up."""
    roll, yaw, pitch = np.radians(pose[3:])
    turn_yaw = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    turn_pitch = np.array([[np.cos(pitch), 0, -np.sin(pitch)], [0, 1, 0], [np.sin(pitch), 0, np.cos(pitch)]])
    turn_roll = np.array([[1, 0, 0], [0, np.cos(roll), np.sin(roll)], [0, -np.sin(roll), np.cos(roll)]])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = turn_yaw @ turn_pitch @ turn_roll, pose[:3]
    return result


def is_roadside(path: Path) -> bool:
    return path.parent.name.startswith("-")


# --- layout -----------------------------------------------------------------------------------------------------------


def test_every_agent_has_the_files_of_opv2v(tiny_data: Path) -> None:
    for path in files(tiny_data):
        cameras = (0, 1, 2) if HOLE in path.parts else (0, 1, 2, 3)
        expected = {f"{path.stem}.pcd", f"{path.stem}.yaml", *(f"{path.stem}_camera{n}.png" for n in cameras)}
        assert {other.name for other in path.parent.glob(f"{path.stem}*")} == expected
        assert len(path.stem) == 6
        assert path.stem.isdigit()
        for number in cameras:
            assert cv2.imread(str(path.with_name(f"{path.stem}_camera{number}.png"))).shape == (72, 96, 3)


def test_frames_are_steps_apart_and_the_same_for_all_agents(tiny_data: Path) -> None:
    for scenario in (tiny_data / "train").iterdir():
        frames = [
            sorted(int(path.stem) for path in agent.glob("*.yaml")) for agent in scenario.iterdir() if agent.is_dir()
        ]
        assert len(frames) in (2, 3)
        assert all(of_one == frames[0] for of_one in frames)
        assert np.diff(frames[0]).tolist() == [10]


def test_the_yaml_has_the_keys_and_types_of_opv2v(documents: dict[Path, dict]) -> None:
    for path, document in documents.items():
        cameras = {f"camera{number}" for number in range(4)}
        assert document.keys() - {"RSU"} == KEYS | cameras
        assert all(document[name].keys() == CAMERA_KEYS for name in cameras)
        assert all(type(id_) is int and one.keys() == VEHICLE_KEYS for id_, one in document["vehicles"].items())
        assert type(document["ego_speed"]) is float
        assert len(document["plan_trajectory"]) == (0 if is_roadside(path) else 10)


def test_every_scenario_has_its_protocol(tiny_data: Path, documents: dict[Path, dict]) -> None:
    for path in documents:
        protocol = yaml.safe_load((path.parent.parent / "data_protocol.yaml").read_text())
        assert protocol["world"]["fixed_delta_seconds"] == 0.05
        assert protocol["vehicle_base"]["sensing"]["lidar"]["channels"] == 64
        vehicles = [folder for folder in path.parent.parent.iterdir() if folder.is_dir() and folder.name != "-1"]
        assert len(protocol["scenario"]["single_cav_list"]) == len(vehicles)


def test_the_worst_scenario_is_where_the_real_one_is(tiny_data: Path, documents: dict[Path, dict]) -> None:
    first, second = (documents[tiny_data / "test" / WORST / agent / "000340.yaml"] for agent in ("1045", "1054"))
    np.testing.assert_allclose(first["true_ego_pos"][:2], (600.89, -16.95), atol=0.3)
    np.testing.assert_allclose(second["true_ego_pos"][:2], (551.42, -24.45), atol=0.3)
    spawned = yaml.safe_load((tiny_data / "test" / WORST / "data_protocol.yaml").read_text())["scenario"]
    assert spawned["single_cav_list"][0]["spawn_position"] == pytest.approx(first["true_ego_pos"], abs=1e-6)


def test_one_scenario_has_a_roadside_unit(documents: dict[Path, dict]) -> None:
    (scenario,) = {path.parent.parent for path in documents if is_roadside(path)}
    for path, document in documents.items():
        assert document.get("RSU") == (is_roadside(path) if path.parent.parent == scenario else None)


# --- poses ------------------------------------------------------------------------------------------------------------


def test_extrinsics_are_lidar_to_camera_exactly(documents: dict[Path, dict]) -> None:
    for document in documents.values():
        for number in range(4):
            camera = document[f"camera{number}"]
            expected = np.linalg.inv(matrix(camera["cords"])) @ matrix(document["lidar_pose"])
            np.testing.assert_allclose(camera["extrinsic"], expected, atol=1e-9)


def test_cameras_sit_where_opv2v_has_them(documents: dict[Path, dict]) -> None:
    tilts = [document["lidar_pose"][3:6:2] for document in documents.values()]
    assert np.abs(tilts).max() > 0.5
    for document in documents.values():
        for number, (*position, yaw) in RIG.items():
            expected = matrix(document["lidar_pose"]) @ matrix([*position, 0, yaw, 0])
            np.testing.assert_allclose(matrix(document[f"camera{number}"]["cords"]), expected, atol=1e-9)


def test_the_lidar_sits_behind_and_above_the_origin(documents: dict[Path, dict]) -> None:
    for path, document in documents.items():
        if not is_roadside(path):
            expected = matrix(document["true_ego_pos"]) @ matrix([-0.5, 0, 1.9, 0, 0, 0])
            np.testing.assert_allclose(matrix(document["lidar_pose"]), expected, atol=1e-9)


def test_the_focal_length_scales_with_the_picture(documents: dict[Path, dict]) -> None:
    focal = 335.639852470912 * 96 / 800
    for document in documents.values():
        np.testing.assert_allclose(document["camera0"]["intrinsic"], [[focal, 0, 48], [0, focal, 36], [0, 0, 1]])


def test_vehicles_drive_at_the_speed_that_is_written(documents: dict[Path, dict]) -> None:
    for agent in {path.parent for path in documents}:
        first, second = (documents[path] for path in sorted(agent.glob("*.yaml")))
        moved_m = np.linalg.norm(np.subtract(second["true_ego_pos"], first["true_ego_pos"])[:3])
        assert moved_m * 3.6 == pytest.approx(first["ego_speed"], rel=0.05, abs=0.1)
        for x, y, speed in first["plan_trajectory"][4:5]:  # in one second
            np.testing.assert_allclose((x, y), second["true_ego_pos"][:2], atol=0.3)
            assert speed == first["ego_speed"]


def test_gnss_is_close_but_for_a_full_turn_somewhere(documents: dict[Path, dict]) -> None:
    errors = np.array([np.subtract(one["predicted_ego_pos"], one["true_ego_pos"]) for one in documents.values()])
    assert (errors[:, [2, 3, 5]] == 0).all()
    assert 0.02 < errors[:, :2].std() < 0.1
    yaw = errors[:, 4]
    turned = np.abs(yaw) > 180
    assert 0 < turned.sum() < len(yaw) / 2
    np.testing.assert_allclose(yaw[turned], 360, atol=1)
    assert 0 < np.abs(yaw[~turned]).max() < 1


# --- lidar, boxes, truth ----------------------------------------------------------------------------------------------


def test_sweeps_look_like_those_of_opv2v(clouds: dict[Path, PointCloud]) -> None:
    for cloud in clouds.values():
        distance = np.linalg.norm(cloud.points, axis=1)
        elevation = np.degrees(np.arcsin(cloud.points[:, 2] / distance))
        assert 25_000 < len(cloud.points) < 46_000
        assert distance.max() < 120.2
        assert -25.6 < elevation.min() < elevation.max() < 2.6
        np.testing.assert_allclose(cloud.intensity, np.exp(-0.004 * distance), atol=1 / 255)


def test_written_depth_agrees_with_the_lidar_only_one_way_round(
    tiny_data: Path, documents: dict[Path, dict], clouds: dict[Path, PointCloud]
) -> None:
    right, wrong = [], []
    for path, document in documents.items():
        truth = read_truth(tiny_data / "truth" / path.relative_to(tiny_data).with_suffix(".npz"))
        for number, depth_z in enumerate(truth.depth_z):
            assert np.isnan(depth_z).all() == np.isnan(depth_z).any() == (HOLE in path.parts and number == 3)
            camera = document[f"camera{number}"]
            extrinsic, intrinsic = np.array(camera["extrinsic"]), np.array(camera["intrinsic"])
            if not np.isnan(depth_z).any():
                right.append(median_miss(clouds[path].points, extrinsic, intrinsic, depth_z))
                wrong.append(median_miss(clouds[path].points, np.linalg.inv(extrinsic), intrinsic, depth_z))
    assert max(right) < 0.03
    assert (np.array(wrong) > 2 * np.array(right)).all()
    assert np.mean(wrong) > 10 * np.mean(right)


def median_miss(points: np.ndarray, extrinsic: np.ndarray, intrinsic: np.ndarray, depth_z: np.ndarray) -> float:
    """Of the depth of projected points against that of the pixels they fall into, as a share of it."""
    forward, right, up = (points @ extrinsic[:3, :3].T + extrinsic[:3, 3]).T
    ahead = forward > 0.5
    forward, right, up = forward[ahead], right[ahead], up[ahead]
    columns = np.floor(intrinsic[0, 0] * right / forward + intrinsic[0, 2]).astype(int)
    rows = np.floor(intrinsic[1, 1] * -up / forward + intrinsic[1, 2]).astype(int)
    inside = (rows >= 0) & (rows < depth_z.shape[0]) & (columns >= 0) & (columns < depth_z.shape[1])
    assert inside.sum() > 1000
    miss = np.abs(depth_z[rows[inside], columns[inside]] - forward[inside])
    return float(np.median(miss / forward[inside]))


def test_listed_vehicles_hold_points_and_never_the_agent_itself(
    documents: dict[Path, dict], clouds: dict[Path, PointCloud]
) -> None:
    for path, document in documents.items():
        assert int(path.parent.name) not in document["vehicles"]
        assert all(id_ > 0 for id_ in document["vehicles"])
        world = clouds[path].points @ matrix(document["lidar_pose"])[:3, :3].T + document["lidar_pose"][:3]
        for vehicle in document["vehicles"].values():
            centre = np.add(vehicle["location"], vehicle["center"])
            near = world[np.abs(world[:, 0] - centre[0]) < 8]
            local = (near - centre) @ matrix([0, 0, 0, *vehicle["angle"]])[:3, :3]
            assert (np.abs(local) < np.add(vehicle["extent"], 0.15)).all(axis=1).any()


def test_agents_agree_about_the_vehicles_and_see_one_another(documents: dict[Path, dict]) -> None:
    num_shared, num_agents_seen = 0, 0
    for (path, one), (other_path, other) in combinations(documents.items(), 2):
        if (path.parent.parent, path.stem) != (other_path.parent.parent, other_path.stem):
            continue
        shared = one["vehicles"].keys() & other["vehicles"].keys()
        assert all(one["vehicles"][id_] == other["vehicles"][id_] for id_ in shared)
        num_shared += len(shared)
        seen = one["vehicles"].get(int(other_path.parent.name))
        if seen:
            num_agents_seen += 1
            assert seen["location"] == pytest.approx(other["true_ego_pos"][:3], abs=1e-9)
            assert seen["angle"] == pytest.approx(other["true_ego_pos"][3:], abs=1e-9)
    assert num_shared > 50
    assert num_agents_seen > 5


def test_pictures_have_sky_and_something_above_four_metres(tiny_data: Path, documents: dict[Path, dict]) -> None:
    for path, document in documents.items():
        truth = read_truth(tiny_data / "truth" / path.relative_to(tiny_data).with_suffix(".npz"))
        known = ~np.isnan(truth.depth_z)
        assert truth.depth_z[known].min() > 0.5  # no camera inside anything
        assert 0.03 < np.isinf(truth.depth_z[known]).mean() < 0.5
        assert ((truth.label == 0) == np.isinf(truth.depth_z))[known].all()
        focal, middle = document["camera0"]["intrinsic"][1][1], 36
        rows = np.arange(72)[:, None] + 0.5
        height = truth.depth_z[0] * (middle - rows) / focal + 1.0
        assert ((height > 4) & np.isfinite(height)).mean() > 0.02


# --- many scenarios ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned() -> list:
    scenarios = plan_scenarios(MakeDataSettings(num_scenarios=(24, 8, 8)))
    return [(scenario, *traffic(scenario, roads_of(scenario))) for scenario in scenarios]


def test_distances_fill_all_buckets(planned: list) -> None:
    apart = [np.linalg.norm(agents[0].along(0.0)[0] - agents[1].along(0.0)[0]) for _, agents, _ in planned]
    counts, _ = np.histogram(apart, [0, 15, 30, 60, 100])
    assert counts.sum() == len(planned)
    assert (counts >= [6, 10, 6, 1]).all()


def test_nobody_drives_into_anybody(planned: list) -> None:
    for scenario, agents, others in planned:
        for time_s in (scenario.times_s[0], 0.0, scenario.times_s[-1]):
            outlines = [outline(actor, time_s) for actor in (*agents, *others)]
            for one, other in combinations(outlines, 2):
                assert cv2.rotatedRectangleIntersection(one, other)[0] == cv2.INTERSECT_NONE, (scenario, time_s)


def outline(actor, time_s: float) -> tuple:
    """Seen from above, with a margin around it."""
    (x, y), heading = actor.along(time_s)
    return (float(x), float(y)), (actor.size_m[0] + 0.2, actor.size_m[1] + 0.2), float(np.degrees(heading))
