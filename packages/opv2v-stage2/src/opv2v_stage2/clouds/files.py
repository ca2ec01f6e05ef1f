"""Clouds in files. What the points mean stands beside them: `scene.npy` has a `scene.npy.json`.

| file | holds | without a sidecar |
|---|---|---|
| .npy | points [n, 3], like the request's caches; nothing else | x forward, y left, z up; the ground is asked for |
| .ply | points and colours; no agents | the same |
| .pcd | points in OPV2V's own frame, y to the right; nothing else | the lidar of an OPV2V vehicle |
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from drivelab_shared.arrays import write_rows
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from opv2v_stage2.clouds.cloud import AXES, Cloud, CloudFrame
from opv2v_stage2.clouds.ply import read_ply, write_ply
from opv2v_stage2.data.pcd import read_pcd, write_pcd
from opv2v_stage2.geometry import is_rotation

UE_AXES = "x forward, y right, z up"
"""Of PCD files; left-handed."""
SUFFIXES = (".npy", ".ply", ".pcd")
MAX_SIDECAR_BYTES = 1 << 16
MAX_POINTS = 50_000_000


def write_cloud(path: Path, cloud: Cloud) -> None:
    """Write points and sidecar, in the form that the suffix of `path` says. Makes missing folders.

    Raises:
        ValueError: another suffix.
    """
    axes = AXES
    if path.suffix == ".npy":
        write_rows(path, [cloud.points], len(cloud), (3,))
    elif path.suffix == ".ply":
        write_ply(path, cloud.points, cloud.colours)
    elif path.suffix == ".pcd":
        write_pcd(path, _mirrored(cloud.points), np.ones(len(cloud), np.float32), "binary")
        axes = UE_AXES
    else:
        raise ValueError(f"{path}: expected one of {', '.join(SUFFIXES)}")
    world = cloud.frame.world_from_cloud
    facts = {
        "axes": axes,
        "unit": "metre",
        "lidar": cloud.frame.lidar,
        "ground_z": float(cloud.frame.ground_z),
        "world_from_cloud": None if world is None else world.tolist(),
    }
    replace_text(sidecar(path), json.dumps(facts, indent=2) + "\n")


def read_cloud(path: Path, ground_z: float | None = None) -> Cloud:
    """Points in our axes, with what the sidecar says of their frame.

    Args:
        path: .npy, .ply or .pcd.
        ground_z: Height of the ground in the frame of the cloud; takes the place of what the sidecar says.

    Raises:
        UserError: the file or its sidecar is missing or damaged, or nobody says where the ground is.
    """
    points, colours = _read_points(path)
    if not np.isfinite(points).all():
        count = int((~np.isfinite(points)).any(axis=1).sum())
        raise UserError(f"{path}: expected finite coordinates, got {count} points without")
    frame, axes = _read_frame(path, ground_z)
    return Cloud(_mirrored(points) if axes == UE_AXES else points, frame, colours)


def sidecar(path: Path) -> Path:
    """Where the facts about a cloud's frame are."""
    return path.with_name(f"{path.name}.json")


def _mirrored(points: Float32[np.ndarray, "points 3"]) -> Float32[np.ndarray, "points 3"]:
    return points * np.array([1, -1, 1], np.float32)


# --- points -----------------------------------------------------------------------------------------------------------


def _read_points(path: Path) -> tuple[Float32[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"] | None]:
    if path.suffix == ".pcd":
        return read_pcd(path).points, None
    if path.suffix == ".ply":
        return read_ply(path)
    if path.suffix == ".npy":
        return _read_npy(path), None
    raise UserError(f"{path}: expected one of {', '.join(SUFFIXES)}")


def _read_npy(path: Path) -> Float32[np.ndarray, "points 3"]:
    """Mapped first, so that a header which says more than there is never costs memory."""
    try:
        points = np.lib.format.open_memmap(path, mode="r")  # of objects it makes none
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise UserError(f"{path}: expected points in a .npy file, got: {' '.join(str(error).split())}") from None
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f" or len(points) > MAX_POINTS:
        raise UserError(f"{path}: expected float points [n, 3], got {points.dtype} {list(points.shape)}")
    with np.errstate(over="ignore"):
        return np.array(points, np.float32)


# --- frame ------------------------------------------------------------------------------------------------------------


def _read_frame(path: Path, ground_z: float | None) -> tuple[CloudFrame, str]:
    """The frame, and the axes that the file has."""
    if sidecar(path).exists():
        frame, axes = _read_sidecar(sidecar(path))
        return (frame if ground_z is None else replace(frame, ground_z=ground_z)), axes
    if path.suffix == ".pcd":
        return (CloudFrame() if ground_z is None else CloudFrame(ground_z=ground_z)), UE_AXES
    if ground_z is None:
        expected = f"{sidecar(path).name} beside it, or the setting ground_z (-1.93 for a vehicle's lidar)"
        raise UserError(f"{path}: expected {expected}, got neither: heights would mean nothing")
    return CloudFrame(ground_z=ground_z, is_assumed=True), AXES


def _read_sidecar(path: Path) -> tuple[CloudFrame, str]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_SIDECAR_BYTES:
                raise ValueError(f"more than {MAX_SIDECAR_BYTES >> 10} KiB")
            facts = json.loads(file.read())
        frame = CloudFrame(str(facts["lidar"]), float(facts["ground_z"]), _pose(facts["world_from_cloud"]))
        if facts["axes"] not in (AXES, UE_AXES) or not np.isfinite(frame.ground_z):
            raise ValueError(f"axes {str(facts['axes'])[:40]!r} and ground_z {frame.ground_z}")
        return frame, facts["axes"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        expected = f"axes ({AXES!r} or {UE_AXES!r}), lidar, ground_z and world_from_cloud"
        raise UserError(f"{path}: expected {expected}, got: {' '.join(str(error).split())[:100]}") from None


def _pose(rows: object) -> Float64[np.ndarray, "4 4"] | None:
    if rows is None:
        return None
    pose = np.array(rows, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or not is_rotation(pose):
        raise ValueError("world_from_cloud that is no right-handed 4x4 pose")
    return pose
