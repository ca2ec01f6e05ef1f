"""V2X-Seq-SPD as make-data writes it: sequences, tracks, cooperative labels and maps."""

import re
from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.data.make_data import make_data
from v2x_teacher.data.make_data.sequences import plan_sequences
from v2x_teacher.data.make_data.traffic import simulate

from .written import BOX, INFRASTRUCTURE, VEHICLE, check_box, ids, intrinsic, load, matrix, rows, settings_of


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spd")
    make_data(settings_of(folder, "spd"))
    return folder


def test_spd_rows_have_sequences(spd: Path) -> None:
    for row in rows(spd, "vehicle-side"):
        assert set(row) == VEHICLE | {"frame_id", "start_frame_id", "end_frame_id", "num_frames", "sequence_id"}
        assert row["start_frame_id"] <= row["frame_id"] <= row["end_frame_id"]
        assert int(row["end_frame_id"]) - int(row["start_frame_id"]) + 1 == row["num_frames"]
    for row in rows(spd, "infrastructure-side"):
        assert set(row) == INFRASTRUCTURE | {"frame_id", "valid_frames_splits", "num_frames", "sequence_id"}
        (span,) = row["valid_frames_splits"]
        assert span["start_frame_id"] <= row["frame_id"] <= span["end_frame_id"]


def test_spd_cooperative_rows_are_numbers_and_not_paths(spd: Path) -> None:
    sequence_of = {row["frame_id"]: row["sequence_id"] for row in rows(spd, "vehicle-side")}
    stamps = [
        {row["frame_id"]: int(row["pointcloud_timestamp"]) for row in rows(spd, side)}
        for side in ("vehicle-side", "infrastructure-side")
    ]
    for row in rows(spd, "cooperative"):
        assert set(row) == {
            "vehicle_frame",
            "infrastructure_frame",
            "vehicle_sequence",
            "infrastructure_sequence",
            "system_error_offset",
        }
        assert row["vehicle_sequence"] == row["infrastructure_sequence"] == sequence_of[row["vehicle_frame"]]
        assert abs(stamps[0][row["vehicle_frame"]] - stamps[1][row["infrastructure_frame"]]) <= 50_000
        assert row["system_error_offset"] == {"delta_x": 0.0, "delta_y": 0.0}
    assert ids(spd / "cooperative" / "label") == {row["vehicle_frame"] for row in rows(spd, "cooperative")}


def test_spd_intrinsics_come_in_both_spellings(spd: Path) -> None:
    keys = {frozenset(load(path)) for path in (spd / "vehicle-side/calib/camera_intrinsic").iterdir()}
    assert keys == {frozenset({"cam_K", "cam_D"}), frozenset({"P"})}


@pytest.mark.parametrize(
    ("side", "kind"), [("vehicle-side", "lidar"), ("infrastructure-side", "virtuallidar"), ("vehicle-side", "camera")]
)
def test_spd_single_view_labels_have_tracks(spd: Path, side: str, kind: str) -> None:
    tokens, num_entries = set(), 0
    for path in (spd / side / "label" / kind).iterdir():
        entries = load(path)
        for entry in entries:
            assert set(entry) == BOX | {"token", "track_id", "alpha"}
            check_box(entry)
            assert re.fullmatch(r"\d{6}", entry["track_id"])
            tokens.add(entry["token"])
        assert len({entry["track_id"] for entry in entries}) == len(entries)
        num_entries += len(entries)
    assert len(tokens) == num_entries > 0


def test_spd_cooperative_labels_name_the_entries_of_both_sides(spd: Path) -> None:
    pairs = {row["vehicle_frame"]: row["infrastructure_frame"] for row in rows(spd, "cooperative")}
    sides = set()
    for name in ids(spd / "vehicle-side" / "image"):
        single = load(spd / "vehicle-side/label/lidar" / f"{name}.json")
        other = load(spd / "infrastructure-side/label/virtuallidar" / f"{pairs[name]}.json")
        tokens = {"veh": {one["token"]: one for one in single}, "inf": {one["token"]: one for one in other}}
        for entry in load(spd / "cooperative/label" / f"{name}.json"):
            assert set(entry) == BOX | {"token", "track_id", "alpha", "from_side"} | {
                f"{short}_{key}"
                for short in ("veh", "inf")
                for key in ("pointcloud_timestamp", "frame_id", "track_id", "token")
            }
            check_box(entry)
            assert (entry["veh_frame_id"], entry["inf_frame_id"]) == (name, pairs[name])
            present = [short for short in ("veh", "inf") if entry[f"{short}_token"] != "-1"]
            assert entry["from_side"] == ("coop" if len(present) == 2 else present[0])
            for short in ("veh", "inf"):
                if short in present:
                    named = tokens[short][entry[f"{short}_token"]]
                    assert named["track_id"] == entry[f"{short}_track_id"]
                    assert named["3d_dimensions"] == entry["3d_dimensions"]
                else:
                    assert entry[f"{short}_track_id"] == "-1"
            sides.add(entry["from_side"])
    assert "coop" in sides


def test_spd_tracks_belong_to_one_actor_of_one_sequence(spd: Path) -> None:
    found: dict[str, set] = {}
    for row in rows(spd, "cooperative"):
        for entry in load(spd / "cooperative/label" / f"{row['vehicle_frame']}.json"):
            size = tuple(entry["3d_dimensions"].values())
            found.setdefault(entry["track_id"], set()).add((row["vehicle_sequence"], entry["type"], size))
    assert len(found) >= 2
    assert all(len(owners) == 1 for owners in found.values())


def test_spd_cooperative_boxes_land_where_the_actor_is(spd: Path) -> None:
    """Vehicle lidar -> novatel -> world, with nothing but what the files say, against the simulation."""
    settings = settings_of(spd, "spd")
    num_checked = 0
    for plan in plan_sequences(settings):
        drive = simulate(plan.scenario)
        for pair in plan.pairs[::7]:
            frame = plan.vehicle[pair.vehicle_index]
            calib = spd / "vehicle-side" / "calib"
            world_from_novatel = matrix(load(calib / "novatel_to_world" / f"{frame.id}.json"))
            novatel_from_lidar = matrix(load(calib / "lidar_to_novatel" / f"{frame.id}.json")["transform"])
            time_s = (frame.cloud_us - plan.start_us) / 1e6
            states = [actor.path.at(np.interp(time_s, drive.times_s, actor.s))[0] for actor in drive.actors]
            actors = [plan.world_from_junction @ (*state, 0, 1) for state in states]
            for entry in load(spd / "cooperative/label" / f"{frame.id}.json"):
                place = entry["3d_location"]
                found = world_from_novatel @ novatel_from_lidar @ (place["x"], place["y"], place["z"], 1)
                nearest = min(np.linalg.norm((found - actor)[:2]) for actor in actors)
                # 2 cm of position noise, and 0.05 degrees of heading over the distance.
                assert nearest < 0.1 + np.hypot(place["x"], place["y"]) * np.radians(0.2)
                num_checked += 1
    assert num_checked > 20


@pytest.mark.parametrize("side", ["vehicle-side", "infrastructure-side"])
def test_spd_rectangles_are_the_boxes_seen_by_the_written_cameras(spd: Path, side: str) -> None:
    transform = "lidar_to_camera" if side == "vehicle-side" else "virtuallidar_to_camera"
    num_checked = 0
    for name in sorted(ids(spd / side / "image")):
        camera_from_lidar = matrix(load(spd / side / "calib" / transform / f"{name}.json"))
        k = intrinsic(spd / side / "calib/camera_intrinsic" / f"{name}.json")
        for entry in load(spd / side / "label/camera" / f"{name}.json"):
            size, place, turn = entry["3d_dimensions"], entry["3d_location"], entry["rotation"]
            corners = []
            for a, b, c in np.ndindex(2, 2, 2):
                x, y = (a - 0.5) * size["l"], (b - 0.5) * size["w"]
                corners.append(
                    (
                        place["x"] + x * np.cos(turn) - y * np.sin(turn),
                        place["y"] + x * np.sin(turn) + y * np.cos(turn),
                        place["z"] + (c - 0.5) * size["h"],
                        1,
                    )
                )
            in_camera = (camera_from_lidar @ np.array(corners).T)[:3]
            if in_camera[2].min() < 0.5:
                continue
            pixels = (k @ in_camera)[:2] / in_camera[2]
            low, high = np.clip(pixels.min(axis=1), 0, (63, 35)), np.clip(pixels.max(axis=1), 0, (63, 35))
            np.testing.assert_allclose(list(entry["2d_box"].values()), [*low, *high], atol=1e-3)
            num_checked += 1
    assert num_checked > 3


def test_spd_maps_hold_the_lane_that_was_driven(spd: Path) -> None:
    lists = rows(spd, "vehicle-side")
    assert ids(spd / "maps") == {row["intersection_loc"] for row in lists}
    for row in lists[::20]:
        content = load(spd / "maps" / f"{row['intersection_loc']}.json")
        assert {"LANE", "STOPLINE", "CROSSWALK"} <= set(content)
        for lane in content["LANE"].values():
            assert set(lane) >= {
                "centerline",
                "lane_type",
                "turn_direction",
                "is_intersection",
                "has_traffic_control",
                "l_neighbor_id",
                "r_neighbor_id",
                "predecessors",
                "successors",
            }
        lanes = [np.array([eval_point(text) for text in lane["centerline"]]) for lane in content["LANE"].values()]
        place = matrix(load(spd / "vehicle-side" / row["calib_novatel_to_world_path"]))[:2, 3]
        assert min(np.linalg.norm(lane - place, axis=1).min() for lane in lanes) < 1.2


def eval_point(text: str) -> tuple[float, float]:
    x, y = re.fullmatch(r"\((-?\d+\.\d+), (-?\d+\.\d+)\)", text).groups()
    return float(x), float(y)
