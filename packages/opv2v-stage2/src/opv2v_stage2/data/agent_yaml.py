"""The YAML file of one agent at one moment: what OPV2V and V2XSet write down, in their own frames and units.

Poses are [x, y, z, roll, yaw, pitch], metres and degrees, in CARLA's left-handed world; `geometry` converts them.
Source: OpenCOOD, docs/md_files/data_intro.md and data_annotation_tutorial.md.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from opv2v_stage2.data.recording import CAMERAS

MAX_BYTES = 16 << 20
"""A hundred times the largest official file."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """A camera as the file has it."""

    cords: Float64[np.ndarray, "6"]
    """Pose in the world."""
    extrinsic: Float64[np.ndarray, "4 4"]
    """UE lidar points to UE camera axes, although the official text calls it "camera to LiDAR"."""
    intrinsic: Float64[np.ndarray, "3 3"]
    """Pixels."""


@dataclass(frozen=True, eq=False)
class VehicleState:
    """Another vehicle that the agent's lidar has hit."""

    angle: Float64[np.ndarray, "3"]
    """Roll, yaw, pitch in degrees."""
    center: Float64[np.ndarray, "3"]
    """From `location` to the middle of the box along the axes of the world, metres."""
    extent: Float64[np.ndarray, "3"]
    """Half of length, width and height, metres."""
    location: Float64[np.ndarray, "3"]
    """In the world, metres."""
    speed: float
    """km/h."""


@dataclass(frozen=True, eq=False)
class AgentDocument:
    """What the file holds."""

    lidar_pose: Float64[np.ndarray, "6"]
    true_ego_pos: Float64[np.ndarray, "6"]
    predicted_ego_pos: Float64[np.ndarray, "6"]
    """What GNSS says."""
    ego_speed: float
    """km/h."""
    plan_trajectory: Float64[np.ndarray, "points 3"]
    """x, y and speed."""
    cameras: Mapping[int, CameraCalibration]
    """By number; some files lack some."""
    vehicles: Mapping[int, VehicleState]
    """By id, which is the same for all agents."""
    is_roadside: bool | None
    """`RSU`; None where the file does not say."""


def read_agent_yaml(path: Path) -> AgentDocument:
    """What the file holds, every number checked.

    Raises:
        UserError: the file is missing or broken; the message names the file and the key.
    """
    try:
        return _document(_load(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def write_agent_yaml(path: Path, document: AgentDocument) -> None:
    """Write the file with the keys and types of the official ones. Makes missing folders."""
    content: dict[str, object] = {
        "ego_speed": float(document.ego_speed),
        "lidar_pose": document.lidar_pose.tolist(),
        "plan_trajectory": document.plan_trajectory.tolist(),
        "predicted_ego_pos": document.predicted_ego_pos.tolist(),
        "true_ego_pos": document.true_ego_pos.tolist(),
        "vehicles": {int(name): _plain(vehicle) for name, vehicle in document.vehicles.items()},
    }
    if document.is_roadside is not None:
        content["RSU"] = document.is_roadside
    content |= {f"camera{number}": _plain(camera) for number, camera in document.cameras.items()}
    replace_text(path, yaml.dump(content, Dumper=_DUMPER, default_flow_style=False))


def _plain(entry: CameraCalibration | VehicleState) -> dict[str, object]:
    return {name: np.asarray(value, np.float64).tolist() for name, value in vars(entry).items()}


def _load(path: Path) -> Mapping:
    """The mapping in a YAML file; no tag of it runs.

    Raises:
        ValueError: there is none, as `expected X, got Y`.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES >> 20} MiB, got {size >> 20}")
            content = file.read()
    except OSError as error:
        raise ValueError(f"expected a YAML file, got: {error.strerror}") from None
    try:
        document = yaml.load(content, Loader=_LOADER)  # noqa: S506 - both loaders are safe ones
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"expected YAML, got: {' '.join(str(error).split())}") from None
    if not isinstance(document, Mapping):
        raise ValueError(f"expected keys and values, got {_shown(document)}")
    return document


def _document(content: Mapping) -> AgentDocument:
    cameras = {number: f"camera{number}" for number in CAMERAS if f"camera{number}" in content}
    vehicles = _mapping(content, "vehicles", default={})
    true_ego_pos = _numbers(content, "true_ego_pos", 6)
    return AgentDocument(
        lidar_pose=_numbers(content, "lidar_pose", 6),
        true_ego_pos=true_ego_pos,
        predicted_ego_pos=_numbers(content, "predicted_ego_pos", 6),
        ego_speed=float(_numbers(content, "ego_speed")),
        plan_trajectory=_trajectory(content),
        cameras={number: _camera(_mapping(content, key), key) for number, key in cameras.items()},
        vehicles={_id(name): _vehicle(_mapping(vehicles, name), f"vehicles.{name}") for name in vehicles},
        is_roadside=_flag(content, "RSU"),
    )


def _camera(content: Mapping, where: str) -> CameraCalibration:
    intrinsic = _numbers(content, "intrinsic", 3, 3, where=where)
    if not (intrinsic[0, 0] > 0 and intrinsic[1, 1] > 0 and np.array_equal(intrinsic[2], [0, 0, 1])):
        expected = "focal lengths > 0 and a last row 0 0 1"
        raise ValueError(f"{where}.intrinsic: expected {expected}, got {intrinsic.tolist()}")
    extrinsic = _numbers(content, "extrinsic", 4, 4, where=where)
    if not np.array_equal(extrinsic[3], [0, 0, 0, 1]):
        raise ValueError(f"{where}.extrinsic: expected a last row 0 0 0 1, got {extrinsic[3].tolist()}")
    return CameraCalibration(_numbers(content, "cords", 6, where=where), extrinsic, intrinsic)


def _vehicle(content: Mapping, where: str) -> VehicleState:
    triples = {name: _numbers(content, name, 3, where=where) for name in ("angle", "center", "extent", "location")}
    if not (triples["extent"] > 0).all():
        raise ValueError(f"{where}.extent: expected half sizes > 0, got {triples['extent'].tolist()}")
    return VehicleState(**triples, speed=float(_numbers(content, "speed", where=where)))


def _trajectory(content: Mapping) -> Float64[np.ndarray, "points 3"]:
    """Roadside units have none."""
    points = content.get("plan_trajectory")
    if points is None:
        return np.zeros((0, 3))
    if not isinstance(points, list):
        raise ValueError(f"plan_trajectory: expected a list of [x, y, speed], got {_shown(points)}")
    return _numbers(content, "plan_trajectory", len(points), 3).reshape(-1, 3)


def _mapping(content: Mapping, key: object, *, default: Mapping | None = None) -> Mapping:
    value = content.get(key)
    value = default if value is None else value
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: expected keys and values, got {_shown(value)}")
    return value


def _id(name: object) -> int:
    if not isinstance(name, int) or isinstance(name, bool) or not 0 <= name < 1 << 62:
        raise ValueError(f"vehicles: expected whole numbers as ids, got {_shown(name)}")
    return name


def _flag(content: Mapping, key: str) -> bool | None:
    value = content.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{key}: expected true or false, got {_shown(value)}")
    return value


def _numbers(content: Mapping, key: str, *shape: int, where: str = "") -> Float64[np.ndarray, "..."]:
    """Finite numbers of that shape.

    Raises:
        ValueError: anything else, as `where.key: expected X, got Y`.
    """
    name = f"{where}.{key}" if where else key
    if key not in content:
        raise ValueError(f"{name}: expected {_described(shape)}, got no such key")
    try:
        return np.array(_nested(content[key], shape), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected {_described(shape)}, got {_shown(content[key])}") from None


def _nested(value: object, shape: tuple[int, ...]) -> float | list:
    """Level by level, because aliases can make a short file endlessly wide."""
    if shape:
        if not isinstance(value, list) or len(value) != shape[0]:
            raise ValueError
        return [_nested(entry, shape[1:]) for entry in value]
    # YAML takes a number without a dot, such as 1e-06, for text.
    number = float(value)  # type: ignore[arg-type]
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _described(shape: tuple[int, ...]) -> str:
    return f"{' x '.join(map(str, shape))} finite numbers" if shape else "a finite number"


def _shown(value: object) -> str:
    """For a message: short, on one line, and without unfolding what aliases repeat."""
    if isinstance(value, (list, Mapping)):
        return f"{'a list' if isinstance(value, list) else 'a mapping'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
