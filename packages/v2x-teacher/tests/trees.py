"""Small V2X-Seq-SPD and DAIR-V2X-C trees from explicit drives, written field by field from the published schema.

Never by make-data: a reader that is tested with our own writer proves only that the two agree.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

START_US = 1_626_155_123_000_000
AXIS_ANGLES = {"x": 0.0, "y": np.pi / 2, "-x": np.pi, "-y": -np.pi / 2}
LIDAR_IN_NOVATEL = (0.3, 1.2, 1.7)
FOCAL_PX, CENTRE_PX = 1000.0, (960.0, 540.0)
CAMERA_BELOW_LIDAR_M = 0.3
POLE_IN_WORLD = (2700.0, 1750.0, 6.0)
POLE_YAW = np.pi / 2
PICTURE = io.BytesIO()
Image.new("RGB", (64, 36), (90, 120, 150)).save(PICTURE, "JPEG")


@dataclass(frozen=True)
class Drive:
    """One sequence: the vehicle's GNSS/INS at each of its frames. Metres, radians, seconds."""

    sequence: str
    split: str
    times_s: np.ndarray
    positions: np.ndarray
    yaws: np.ndarray
    """Where the vehicle heads, whatever the axes of its frame are called."""


def straight(
    sequence: str = "0000",
    split: str = "train",
    *,
    frames: int = 60,
    speed: float = 10.0,
    yaw: float = 0.0,
    origin: tuple[float, float] = (2636.0, 1745.0),
    start_s: float = 0.0,
) -> Drive:
    """At 10 Hz, straight on."""
    seconds = np.arange(frames) / 10
    positions = np.array(origin) + speed * seconds[:, None] * [np.cos(yaw), np.sin(yaw)]
    return Drive(sequence, split, start_s + seconds, positions, np.full(frames, yaw))


def three_drives() -> list[Drive]:
    """One per split, half a minute apart."""
    return [
        straight("0000", "train"),
        straight("0001", "val", yaw=1.0, start_s=30.0, origin=(2900.0, 1500.0)),
        straight("0002", "test", yaw=-2.0, start_s=60.0),
    ]


def write_spd(parent: Path, drives: list[Drive], *, pair_every: int = 1, forward_axis: str = "x") -> Path:
    """`parent`/V2X-Seq-SPD and its split file inside. Frame ids run on across sequences, as in the real data."""
    root = parent / "V2X-Seq-SPD"
    vehicle, infrastructure, cooperative = _sides(root, drives, pair_every, forward_axis)
    for row in vehicle:
        del row["batch_id"], row["batch_start_id"], row["batch_end_id"]
    for row in infrastructure:
        del row["batch_id"], row["valid_batch_splits"]
    pairs = [
        {
            "vehicle_frame": vehicle_id,
            "infrastructure_frame": other_id,
            "vehicle_sequence": sequence,
            "infrastructure_sequence": sequence,
            "system_error_offset": {"delta_x": -1.1, "delta_y": 0.66},
        }
        for vehicle_id, other_id, sequence in cooperative
    ]
    for vehicle_id, _, _ in cooperative:
        write_json(root / "cooperative" / "label" / f"{vehicle_id}.json", [])
    _write_lists(root, vehicle, infrastructure, pairs)
    write_splits(root / "cooperative-split-data-spd.json", drives, vehicle, infrastructure, cooperative, "sequence_id")
    return root


def write_dair(parent: Path, drives: list[Drive], *, pair_every: int = 1, forward_axis: str = "x") -> Path:
    """`parent`/cooperative-vehicle-infrastructure and its split file inside."""
    root = parent / "cooperative-vehicle-infrastructure"
    vehicle, infrastructure, cooperative = _sides(root, drives, pair_every, forward_axis)
    for row in vehicle:
        for field in ("sequence_id", "frame_id", "start_frame_id", "end_frame_id", "num_frames"):
            del row[field]
    for row in infrastructure:
        for field in ("sequence_id", "frame_id", "valid_frames_splits", "num_frames"):
            del row[field]
    pairs = [
        {
            "infrastructure_image_path": f"infrastructure-side/image/{other_id}.jpg",
            "infrastructure_pointcloud_path": f"infrastructure-side/velodyne/{other_id}.pcd",
            "vehicle_image_path": f"vehicle-side/image/{vehicle_id}.jpg",
            "vehicle_pointcloud_path": f"vehicle-side/velodyne/{vehicle_id}.pcd",
            "cooperative_label_path": f"cooperative/label_world/{vehicle_id}.json",
            "system_error_offset": {"delta_x": "", "delta_y": ""},
        }
        for vehicle_id, other_id, _ in cooperative
    ]
    for vehicle_id, _, _ in cooperative:
        write_json(root / "cooperative" / "label_world" / f"{vehicle_id}.json", [])
    _write_lists(root, vehicle, infrastructure, pairs)
    write_splits(root / "cooperative-split-data.json", drives, vehicle, infrastructure, cooperative, "batch_id")
    return root


def edit(path: Path, change: Callable[[list | dict], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def rotation_z(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _sides(
    root: Path, drives: list[Drive], pair_every: int, forward_axis: str
) -> tuple[list[dict], list[dict], list[tuple[str, str, str]]]:
    """Rows with the fields of both layouts, and (vehicle id, infrastructure id, sequence) of each pair."""
    vehicle, infrastructure, cooperative = [], [], []
    for drive in drives:
        first = len(vehicle)
        for index, seconds in enumerate(drive.times_s):
            vehicle_id = f"{len(vehicle):06d}"
            stamp = START_US + round(seconds * 1e6)
            _write_vehicle_frame(root, vehicle_id, drive.positions[index], drive.yaws[index], forward_axis)
            vehicle.append(
                _row(vehicle_id, stamp, drive.sequence, "lidar_to_camera", "lidar_to_novatel", "novatel_to_world")
                # The old numbering of the real rows, in which no id is where it says.
                | {"batch_start_id": "004015", "batch_end_id": "004226"}
                | {"start_frame_id": f"{first:06d}", "end_frame_id": f"{first + len(drive.times_s) - 1:06d}"}
            )
            if index % pair_every:
                continue
            other_id = f"{len(infrastructure):06d}"
            _write_infrastructure_frame(root, other_id)
            infrastructure.append(
                # 30 ms after the vehicle.
                _row(other_id, stamp + 30_000, drive.sequence, "virtuallidar_to_camera", "virtuallidar_to_world")
                | {"camera_ip": "172.20.1.1", "camera_id": "yizhuang06_camera", "lidar_id": "yizhuang06_lidar"}
                | {"valid_frames_splits": [], "valid_batch_splits": []}
            )
            cooperative.append((vehicle_id, other_id, drive.sequence))
    return vehicle, infrastructure, cooperative


def _row(frame_id: str, stamp_us: int, sequence: str, *calibrations: str) -> dict:
    return {
        "image_path": f"image/{frame_id}.jpg",
        "image_timestamp": str(stamp_us - 20_000),
        "pointcloud_path": f"velodyne/{frame_id}.pcd",
        "pointcloud_timestamp": str(stamp_us),
        "calib_camera_intrinsic_path": f"calib/camera_intrinsic/{frame_id}.json",
        **{f"calib_{name}_path": f"calib/{name}/{frame_id}.json" for name in calibrations},
        "label_camera_std_path": f"label/camera/{frame_id}.json",
        "label_lidar_std_path": f"label/lidar/{frame_id}.json",
        "intersection_loc": "yizhuang06",
        "frame_id": frame_id,
        "num_frames": "60",
        "sequence_id": sequence,
        "batch_id": sequence,
    }


def _write_vehicle_frame(root: Path, frame_id: str, position: np.ndarray, yaw: float, forward_axis: str) -> None:
    side, angle = root / "vehicle-side", AXIS_ANGLES[forward_axis]
    _write_picture(side / "image" / f"{frame_id}.jpg")
    calibration = side / "calib"
    world = {"rotation": rotation_z(yaw - angle).tolist(), "translation": [[position[0]], [position[1]], [21.0]]}
    write_json(calibration / "novatel_to_world" / f"{frame_id}.json", world)
    # The lidar looks ahead, whatever axis that is in the frame of the GNSS/INS.
    mounting = {"rotation": rotation_z(angle).tolist(), "translation": [[value] for value in LIDAR_IN_NOVATEL]}
    write_json(calibration / "lidar_to_novatel" / f"{frame_id}.json", {"transform": mounting})
    # The camera looks ahead: its x is the lidar's -y, its y the lidar's -z, its z the lidar's x.
    camera = {"rotation": [[0, -1, 0], [0, 0, -1], [1, 0, 0]], "translation": [[0], [-CAMERA_BELOW_LIDAR_M], [0]]}
    write_json(calibration / "lidar_to_camera" / f"{frame_id}.json", camera)
    lens = [FOCAL_PX, 0, CENTRE_PX[0], 0, FOCAL_PX, CENTRE_PX[1], 0, 0, 1]
    write_json(calibration / "camera_intrinsic" / f"{frame_id}.json", {"cam_K": lens, "cam_D": [0, 0, 0, 0, 0]})


def _write_infrastructure_frame(root: Path, frame_id: str) -> None:
    side = root / "infrastructure-side"
    _write_picture(side / "image" / f"{frame_id}.jpg")
    world = {
        "rotation": rotation_z(POLE_YAW).tolist(),
        "translation": [[value] for value in POLE_IN_WORLD],
        "relative_error": {"delta_x": "", "delta_y": ""},
    }
    write_json(side / "calib" / "virtuallidar_to_world" / f"{frame_id}.json", world)
    camera = {"rotation": [[0, -1, 0], [0, 0, -1], [1, 0, 0]], "translation": [[0], [0], [0]]}
    write_json(side / "calib" / "virtuallidar_to_camera" / f"{frame_id}.json", camera)
    lens = [FOCAL_PX, 0, CENTRE_PX[0], 0, 0, FOCAL_PX, CENTRE_PX[1], 0, 0, 0, 1, 0]
    write_json(side / "calib" / "camera_intrinsic" / f"{frame_id}.json", {"P": lens})


def _write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURE.getvalue())


def _write_lists(root: Path, vehicle: list[dict], infrastructure: list[dict], pairs: list[dict]) -> None:
    write_json(root / "vehicle-side" / "data_info.json", vehicle)
    write_json(root / "infrastructure-side" / "data_info.json", infrastructure)
    write_json(root / "cooperative" / "data_info.json", pairs)


def write_splits(
    path: Path,
    drives: list[Drive],
    vehicle: list[dict],
    infrastructure: list[dict],
    cooperative: list[tuple[str, str, str]],
    group: str,
) -> None:
    """A split file with all four lists."""
    of = {drive.sequence: drive.split for drive in drives}

    def lists(found: list[tuple[str, str]]) -> dict[str, list[str]]:
        by_split = {split: [name for name, sequence in found if of[sequence] == split] for split in of.values()}
        return {"train": [], "val": [], "test": [], "test_A": []} | by_split

    def frame_id(row: dict) -> str:
        return Path(row["pointcloud_path"]).stem

    write_json(
        path,
        {
            "batch_split": lists([(drive.sequence, drive.sequence) for drive in drives]),
            "vehicle_split": lists([(frame_id(row), row[group]) for row in vehicle]),
            "infrastructure_split": lists([(frame_id(row), row[group]) for row in infrastructure]),
            "cooperative_split": lists([(vehicle_id, sequence) for vehicle_id, _, sequence in cooperative]),
        },
    )
