"""DAIR-V2X-C: batches without tracks, a sparse cooperative list, and cooperative labels in the world."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from v2x_teacher.data.make_data import official
from v2x_teacher.data.make_data.boxes import box_corners
from v2x_teacher.data.make_data.official import COOPERATIVE, write_json
from v2x_teacher.data.make_data.recorder import INFRASTRUCTURE, VEHICLE, Recorder, Unit
from v2x_teacher.data.make_data.sequences import Frame, Pair, SequencePlan

SPLIT_FILE = "cooperative-split-data.json"


def make_folders(root: Path) -> None:
    """The whole tree, empty."""
    official.make_folders(root, "label_world")


def write_sequence(root: Path, recorder: Recorder) -> None:
    """Everything but the lists of all batches."""

    def label(unit: Unit, kind: str, index: int, actor: int) -> dict[str, object]:
        return official.box_fields(unit.actors[actor].body, unit.at(kind), index, actor)

    official.write_sides(root, recorder, label, writes_projection=False)
    for pair in recorder.plan.pairs:
        name = f"{recorder.plan.vehicle[pair.vehicle_index].id}.json"
        write_json(root / COOPERATIVE / "label_world" / name, _label_world(recorder, pair))


def write_lists(root: Path, plans: Sequence[SequencePlan]) -> None:
    """The three data_info.json, then the split file."""
    for side in (VEHICLE, INFRASTRUCTURE):
        write_json(root / side / "data_info.json", _side_rows(side, plans))
    rows = [_cooperative_row(pair, plan) for plan in plans for pair in plan.pairs]
    write_json(root / COOPERATIVE / "data_info.json", rows)
    write_json(root / SPLIT_FILE, official.split_document(plans, [str(plan.index) for plan in plans]))


def _side_rows(side: str, plans: Sequence[SequencePlan]) -> list[dict[str, object]]:
    """Start and end of a batch keep an old numbering, in which the last batch came first: the real ones do that too."""
    rows, next_old_id = [], 0
    for plan in reversed(plans):
        frames = plan.vehicle if side == VEHICLE else plan.infrastructure
        old = {"batch_start_id": f"{next_old_id:06d}", "batch_end_id": f"{next_old_id + len(frames) - 1:06d}"}
        next_old_id += len(frames)
        batch = {"batch_id": str(plan.index), **old}
        if side == INFRASTRUCTURE:
            batch["valid_batch_splits"] = [old]
        rows.append([{**official.side_row(side, frame, plan), **batch} for frame in frames])
    return [row for of_batch in reversed(rows) for row in of_batch]


def _cooperative_row(pair: Pair, plan: SequencePlan) -> dict[str, object]:
    frame, other = _frames(pair, plan)
    return {
        "infrastructure_image_path": f"{INFRASTRUCTURE}/image/{other.id}.jpg",
        "infrastructure_pointcloud_path": f"{INFRASTRUCTURE}/velodyne/{other.id}.pcd",
        "vehicle_image_path": f"{VEHICLE}/image/{frame.id}.jpg",
        "vehicle_pointcloud_path": f"{VEHICLE}/velodyne/{frame.id}.pcd",
        "cooperative_label_path": f"{COOPERATIVE}/label_world/{frame.id}.json",
        "system_error_offset": official.NO_OFFSET,
    }


def _frames(pair: Pair, plan: SequencePlan) -> tuple[Frame, Frame]:
    return plan.vehicle[pair.vehicle_index], plan.infrastructure[pair.infrastructure_index]


def _label_world(recorder: Recorder, pair: Pair) -> list[dict[str, object]]:
    """Everybody near either side, carried from the vehicle's lidar to the world by the reported pose.

    Only place and corners are in the world. `rotation` stays in the frame of the lidar, as in the real files: there the
    headings of boxes and of their corners differ.
    """
    index, found = pair.vehicle_index, recorder.vehicle.at_clouds
    other_near = recorder.infrastructure.at_clouds.is_seen[pair.infrastructure_index]
    world_from_lidar = recorder.world_from_novatel[index] @ recorder.novatel_from_lidar
    bodies = [actor.body for actor in recorder.drive.actors]
    sizes = np.array([body.size_m for body in bodies]).reshape(-1, 3)
    corners = box_corners(found.location[index], found.rotation[index], sizes)
    entries = []
    for actor, body in enumerate(bodies):
        if found.is_seen[index, actor] or other_near[actor]:
            entry = official.box_fields(body, found, index, actor)
            entry["3d_location"] = official.point(official.moved(world_from_lidar, found.location[index, actor]))
            entry["world_8_points"] = np.round(official.moved(world_from_lidar, corners[actor]), 6).tolist()
            entry["system_error_offset"] = official.NO_OFFSET
            entries.append(entry)
    return entries
