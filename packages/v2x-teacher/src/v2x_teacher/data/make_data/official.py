"""What V2X-Seq-SPD and DAIR-V2X-C share: two sides with pictures, clouds, calibrations and labels; the split file.

Layout: AIR-THU/DAIR-V2X:data/README.md, AIR-THU/DAIR-V2X-Seq:dataset/v2x-seq-spd/README.md and rows of real files.
Every file is a function of the settings, so what an interrupted run left behind may be written again.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from drivelab_shared.seeding import keyed_rng
from v2x_teacher.data.make_data.boxes import Boxes
from v2x_teacher.data.make_data.recorder import INFRASTRUCTURE, VEHICLE, Recorder, Unit
from v2x_teacher.data.make_data.sequences import Frame, Pair, SequencePlan
from v2x_teacher.data.make_data.traffic import Body

COOPERATIVE = "cooperative"
CALIBRATIONS = {
    VEHICLE: ("camera_intrinsic", "lidar_to_camera", "lidar_to_novatel", "novatel_to_world"),
    INFRASTRUCTURE: ("camera_intrinsic", "virtuallidar_to_camera", "virtuallidar_to_world"),
}
LIDAR_LABELS = {VEHICLE: "lidar", INFRASTRUCTURE: "virtuallidar"}
CAMERA = {"camera_ip": "172_18_9_101", "camera_id": "1", "lidar_id": "151"}
NO_OFFSET = {"delta_x": 0.0, "delta_y": 0.0}
"""The two sides of a simulation agree about where they are."""
JPEG_QUALITY = 92

Label = Callable[[Unit, str, int, int], dict[str, object]]
"""The entry of one actor in a single-view label: unit, folder of the label, index of the frame, index of the actor."""


def make_folders(root: Path, cooperative_labels: str) -> None:
    """The whole tree, empty."""
    for side, calibrations in CALIBRATIONS.items():
        labels = (f"label/{kind}" for kind in ("camera", LIDAR_LABELS[side]))
        for name in ("image", "velodyne", *(f"calib/{name}" for name in calibrations), *labels):
            (root / side / name).mkdir(parents=True, exist_ok=True)
    (root / COOPERATIVE / cooperative_labels).mkdir(parents=True, exist_ok=True)


def write_sides(root: Path, recorder: Recorder, label: Label, writes_projection: bool) -> None:
    """Calibrations and poses of every frame; pictures, clouds and single-view labels of the pairs with pictures."""
    for unit in (recorder.vehicle, recorder.infrastructure):
        _write_calibrations(root / unit.side / "calib", unit, recorder, writes_projection)
    for pair in recorder.plan.pairs:
        if pair.has_pictures:
            _write_labels(root, recorder.vehicle, pair.vehicle_index, label)
            _write_labels(root, recorder.infrastructure, pair.infrastructure_index, label)
            _write_views(root, recorder, pair)


def _write_labels(root: Path, unit: Unit, index: int, label: Label) -> None:
    """Those in the picture, at its time, and all around the lidar, at the time of its sweep."""
    for kind in ("camera", LIDAR_LABELS[unit.side]):
        found = unit.at(kind)
        is_listed = found.is_seen[index] & (found.is_pictured[index] if kind == "camera" else True)
        entries = [label(unit, kind, index, actor) for actor in np.flatnonzero(is_listed).tolist()]
        write_json(root / unit.side / "label" / kind / f"{unit.frames[index].id}.json", entries)


def _write_views(root: Path, recorder: Recorder, pair: Pair) -> None:
    plan, views = recorder.plan, recorder.views
    frame, other = plan.vehicle[pair.vehicle_index], plan.infrastructure[pair.infrastructure_index]
    write_picture(root / VEHICLE / "image" / f"{frame.id}.jpg", views.vehicle(plan.drive_s(frame.image_us)))
    other_picture = views.infrastructure(plan.drive_s(other.image_us))
    write_picture(root / INFRASTRUCTURE / "image" / f"{other.id}.jpg", other_picture)
    if recorder.settings.lidar:
        rng = keyed_rng(recorder.settings.seed, plan.index, 5, pair.vehicle_index)
        points = views.lidar(plan.drive_s(frame.cloud_us), rng)
        (root / VEHICLE / "velodyne" / f"{frame.id}.pcd").write_bytes(point_cloud(points))


def _write_calibrations(root: Path, unit: Unit, recorder: Recorder, writes_projection: bool) -> None:
    matrix = unit.camera.matrix
    intrinsic = {"cam_D": [0.0] * 5, "cam_K": matrix.ravel().tolist()}
    if writes_projection:
        intrinsic = {"P": np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist()}
    contents: dict[str, object] = {"camera_intrinsic": intrinsic}
    if unit.side == VEHICLE:
        contents["lidar_to_camera"] = rigid(unit.camera_from_lidar)
        contents["lidar_to_novatel"] = {"transform": rigid(recorder.novatel_from_lidar)}
        for frame, world_from_novatel in zip(unit.frames, recorder.world_from_novatel, strict=True):
            write_json(root / "novatel_to_world" / f"{frame.id}.json", rigid(world_from_novatel))
    else:
        # The real rotations are not quite orthonormal either.
        rounded = rigid(recorder.world_from_virtuallidar, decimals=4)
        contents["virtuallidar_to_camera"] = rigid(unit.camera_from_lidar)
        contents["virtuallidar_to_world"] = {**rounded, "relative_error": {"delta_x": "", "delta_y": ""}}
    for name, content in contents.items():
        first = root / name / f"{unit.frames[0].id}.json"
        first.write_text(json.dumps(content))
        # One file under many names: it never changes within a drive, and there are a hundred thousand of them.
        for frame in unit.frames[1:]:
            link = first.with_name(f"{frame.id}.json")
            link.unlink(missing_ok=True)
            try:
                os.link(first, link)
            except OSError:  # a file system without links
                link.write_bytes(first.read_bytes())


def write_picture(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """JPEG; the same bytes every time."""
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    path.write_bytes(encoded.tobytes())


def point_cloud(points: Float[np.ndarray, "points 4"]) -> bytes:
    """Binary PCD with x, y, z and intensity."""
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
    )
    return header.encode("ascii") + points.astype("<f4").tobytes()


def rigid(destination_from_source: Float[np.ndarray, "4 4"], decimals: int = 12) -> dict[str, object]:
    """A transform as the calibration files have it; the translation to a micrometre."""
    rotation = np.round(destination_from_source[:3, :3], decimals).tolist()
    return {"rotation": rotation, "translation": np.round(destination_from_source[:3, 3:], 6).tolist()}


def box_fields(body: Body, found: Boxes, index: int, actor: int) -> dict[str, object]:
    """What all labels say about an actor at one time, in the frame of the lidar."""
    length, width, height = body.size_m
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), _numbers(found.box_px[index, actor]), strict=True))
    return {
        "type": body.kind,
        "truncated_state": int(found.truncated[index, actor]),
        "occluded_state": int(found.occluded[index, actor]),
        "2d_box": corners,
        "3d_dimensions": {"h": height, "w": width, "l": length},
        "3d_location": point(found.location[index, actor]),
        "rotation": angle(found.rotation[index, actor]),
    }


def angle(radians: float) -> float:
    """Rounded, and still between -pi and pi."""
    return round(float(np.clip(radians, -3.141592, 3.141592)), 6)


def moved(
    destination_from_source: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "*points 3"]
) -> Float[np.ndarray, "*points 3"]:
    """Points in the other frame."""
    return points @ destination_from_source[:3, :3].T + destination_from_source[:3, 3]


def point(values: Float[np.ndarray, "3"]) -> dict[str, float]:
    """x, y and z to a micrometre."""
    return dict(zip("xyz", _numbers(values), strict=True))


def _numbers(values: Float[np.ndarray, " values"]) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def side_row(side: str, frame: Frame, plan: SequencePlan) -> dict[str, object]:
    """What the rows of a side's data_info.json have in common in both layouts."""
    return {
        "image_path": f"image/{frame.id}.jpg",
        "image_timestamp": str(frame.image_us),
        "pointcloud_path": f"velodyne/{frame.id}.pcd",
        "pointcloud_timestamp": str(frame.cloud_us),
        **{f"calib_{name}_path": f"calib/{name}/{frame.id}.json" for name in CALIBRATIONS[side]},
        "label_camera_std_path": f"label/camera/{frame.id}.json",
        "label_lidar_std_path": f"label/{LIDAR_LABELS[side]}/{frame.id}.json",
        "intersection_loc": plan.place,
        **(CAMERA if side == INFRASTRUCTURE else {}),
    }


def split_document(plans: Sequence[SequencePlan], names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """The official split file. Its cooperative lists hold the pairs that have pictures; test_A is a third of test."""
    keys = ("batch_split", "vehicle_split", "infrastructure_split", "cooperative_split")
    document: dict[str, dict[str, list[str]]] = {
        key: {split: [] for split in ("train", "val", "test", "test_A")} for key in keys
    }
    num_test = 0
    for plan, name in zip(plans, names, strict=True):
        pictured = [plan.vehicle[pair.vehicle_index].id for pair in plan.pairs if pair.has_pictures]
        lists = ([name], [frame.id for frame in plan.vehicle], [frame.id for frame in plan.infrastructure], pictured)
        is_in_a = plan.split == "test" and num_test % 3 == 0
        num_test += plan.split == "test"
        for key, values in zip(keys, lists, strict=True):
            document[key][plan.split] += values
            document[key]["test_A"] += values if is_in_a else []
    return document


def write_json(path: Path, content: object) -> None:
    """One line, like the real files."""
    path.write_text(json.dumps(content))
