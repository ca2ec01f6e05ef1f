"""V2X-Seq-SPD: sequences with tracks, cooperative labels in the frame of the vehicle's lidar, and maps."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from v2x_teacher.data.make_data import official
from v2x_teacher.data.make_data.official import COOPERATIVE, write_json
from v2x_teacher.data.make_data.recorder import INFRASTRUCTURE, VEHICLE, Recorder, Unit
from v2x_teacher.data.make_data.sequences import Frame, Pair, SequencePlan
from v2x_teacher.data.make_data.traffic import LANE_M, ROAD_M, STOP_LINE_M, Drive

SPLIT_FILE = "cooperative-split-data-spd.json"
TRACKS_PER_SEQUENCE = 50
FIRST_TRACK = {COOPERATIVE: 0, VEHICLE: 300_000, INFRASTRUCTURE: 600_000}
"""Each side numbers the actors for itself."""
CROSS_ROAD_M = 80.0


def make_folders(root: Path) -> None:
    """The whole tree, empty."""
    official.make_folders(root, "label")
    (root / "maps").mkdir(exist_ok=True)


def write_sequence(root: Path, recorder: Recorder) -> None:
    """Everything but the lists of all sequences."""
    plan = recorder.plan

    def label(unit: Unit, kind: str, index: int, actor: int) -> dict[str, object]:
        frame, found = unit.frames[index], unit.at(kind)
        return {
            "token": _token(unit.side, kind, frame.id, actor),
            "track_id": _track(unit.side, plan, actor),
            "alpha": official.angle(found.alpha[index, actor]),
            **official.box_fields(unit.actors[actor].body, found, index, actor),
        }

    # Real intrinsics are spelt in two ways.
    official.write_sides(root, recorder, label, writes_projection=plan.index % 2 == 1)
    for pair in plan.pairs:
        name = f"{plan.vehicle[pair.vehicle_index].id}.json"
        write_json(root / COOPERATIVE / "label" / name, _cooperative_label(recorder, pair))
    write_json(root / "maps" / f"{plan.place}.json", _map(plan, recorder.drive))


def write_lists(root: Path, plans: Sequence[SequencePlan]) -> None:
    """The three data_info.json, then the split file."""
    rows = [_vehicle_row(frame, plan) for plan in plans for frame in plan.vehicle]
    write_json(root / VEHICLE / "data_info.json", rows)
    rows = [_infrastructure_row(frame, plan) for plan in plans for frame in plan.infrastructure]
    write_json(root / INFRASTRUCTURE / "data_info.json", rows)
    rows = [_cooperative_row(pair, plan) for plan in plans for pair in plan.pairs]
    write_json(root / COOPERATIVE / "data_info.json", rows)
    write_json(root / SPLIT_FILE, official.split_document(plans, [_name(plan) for plan in plans]))


def _name(plan: SequencePlan) -> str:
    return f"{plan.index:04d}"


def _vehicle_row(frame: Frame, plan: SequencePlan) -> dict[str, object]:
    return {
        **official.side_row(VEHICLE, frame, plan),
        "frame_id": frame.id,
        "start_frame_id": plan.vehicle[0].id,
        "end_frame_id": plan.vehicle[-1].id,
        "num_frames": len(plan.vehicle),
        "sequence_id": _name(plan),
    }


def _infrastructure_row(frame: Frame, plan: SequencePlan) -> dict[str, object]:
    frames = plan.infrastructure
    return {
        **official.side_row(INFRASTRUCTURE, frame, plan),
        "frame_id": frame.id,
        "valid_frames_splits": [{"start_frame_id": frames[0].id, "end_frame_id": frames[-1].id}],
        "num_frames": len(frames),
        "sequence_id": _name(plan),
    }


def _cooperative_row(pair: Pair, plan: SequencePlan) -> dict[str, object]:
    return {
        "vehicle_frame": plan.vehicle[pair.vehicle_index].id,
        "infrastructure_frame": plan.infrastructure[pair.infrastructure_index].id,
        "vehicle_sequence": _name(plan),
        "infrastructure_sequence": _name(plan),
        "system_error_offset": official.NO_OFFSET,
    }


def _cooperative_label(recorder: Recorder, pair: Pair) -> list[dict[str, object]]:
    """Everybody near either side, at the time of the vehicle's cloud."""
    plan, index, other_index = recorder.plan, pair.vehicle_index, pair.infrastructure_index
    frame, other = plan.vehicle[index], plan.infrastructure[other_index]
    found = recorder.vehicle.at_clouds
    near, other_near = found.is_seen[index], recorder.infrastructure.at_clouds.is_seen[other_index]
    entries = []
    for actor, body in enumerate(one.body for one in recorder.drive.actors):
        sides = [
            (VEHICLE, "veh", "lidar", frame, near[actor]),
            (INFRASTRUCTURE, "inf", "virtuallidar", other, other_near[actor]),
        ]
        seen_by = [short for _, short, _, _, is_seen in sides if is_seen]
        if not seen_by:
            continue
        entry: dict[str, object] = {
            "token": _token(COOPERATIVE, "label", frame.id, actor),
            "track_id": _track(COOPERATIVE, plan, actor),
            "alpha": official.angle(found.alpha[index, actor]),
            **official.box_fields(body, found, index, actor),
            "from_side": seen_by[0] if len(seen_by) == 1 else "coop",
        }
        for side, short, kind, one, is_seen in sides:
            entry |= {
                f"{short}_pointcloud_timestamp": str(one.cloud_us),
                f"{short}_frame_id": one.id,
                f"{short}_track_id": _track(side, plan, actor) if is_seen else "-1",
                f"{short}_token": _token(side, kind, one.id, actor) if is_seen else "-1",
            }
        entries.append(entry)
    return entries


def _track(side: str, plan: SequencePlan, actor: int) -> str:
    return f"{FIRST_TRACK[side] + plan.index * TRACKS_PER_SEQUENCE + actor:06d}"


def _token(side: str, kind: str, frame_id: str, actor: int) -> str:
    """The name of one entry of one label file."""
    return str(uuid.uuid3(uuid.NAMESPACE_DNS, f"{side}/{kind}/{frame_id}/{actor}"))


# --- maps -------------------------------------------------------------------------------------------------------------


def _map(plan: SequencePlan, drive: Drive) -> dict[str, object]:
    """Lanes, stop line and junction in the world. Points are text, as in the real maps."""
    own, has_cross_road = drive.path, plan.scenario.event in ("cross", "light")
    lanes = {"own": own.points[::8], "oncoming": own.beside(LANE_M)[::-8]}
    half, reach = LANE_M / 2, CROSS_ROAD_M
    if has_cross_road:
        lanes["north"] = np.array([(half, -reach), (half, reach)])
        lanes["south"] = np.array([(-half, reach), (-half, -reach)])
    ids = dict(zip(lanes, (f"{plan.index * 10 + number}" for number in range(len(lanes))), strict=True))
    turn = "NONE" if plan.scenario.event != "bend" else "LEFT" if plan.scenario.side > 0 else "RIGHT"
    opposite = {"own": "oncoming", "oncoming": "own", "north": "south", "south": "north"}
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * ROAD_M / 2
    stop = np.array([(-STOP_LINE_M, -ROAD_M / 2), (-STOP_LINE_M, 0.0)])
    return {
        "LANE": {
            ids[name]: {
                "centerline": _points(plan, points),
                "left_boundary": _points(plan, _beside(points, half)),
                "right_boundary": _points(plan, _beside(points, -half)),
                "lane_type": "CITY_DRIVING",
                "turn_direction": turn if name == "own" else "NONE",
                "is_intersection": False,
                "has_traffic_control": plan.scenario.event == "light",
                "l_neighbor_id": ids[opposite[name]],
                "r_neighbor_id": "None",
                "predecessors": [],
                "successors": [],
            }
            for name, points in lanes.items()
        },
        "STOPLINE": {f"{plan.index}": {"centerline": _points(plan, stop)}} if has_cross_road else {},
        "CROSSWALK": {},
        "JUNCTION": {f"{plan.index}": {"polygon": _points(plan, square)}} if has_cross_road else {},
    }


def _beside(points: Float64[np.ndarray, "points 2"], offset_m: float) -> Float64[np.ndarray, "points 2"]:
    """The line shifted to its left."""
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return points + offset_m * along[:, ::-1] * (-1, 1)


def _points(plan: SequencePlan, points: Float64[np.ndarray, "points 2"]) -> list[str]:
    placed = points @ plan.world_from_junction[:2, :2].T + plan.world_from_junction[:2, 3]
    return [f"({x:.3f}, {y:.3f})" for x, y in placed]
