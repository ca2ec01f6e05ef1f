"""Helpers for tests of what make-data writes. The fields are those of the public layouts, spelt out."""

import json
from pathlib import Path

import numpy as np

from v2x_teacher.config import MakeDataSettings

BOX = {"type", "truncated_state", "occluded_state", "2d_box", "3d_dimensions", "3d_location", "rotation"}
SIDE = {
    "image_path",
    "image_timestamp",
    "pointcloud_path",
    "pointcloud_timestamp",
    "calib_camera_intrinsic_path",
    "label_camera_std_path",
    "label_lidar_std_path",
    "intersection_loc",
}
VEHICLE = SIDE | {"calib_lidar_to_camera_path", "calib_lidar_to_novatel_path", "calib_novatel_to_world_path"}
INFRASTRUCTURE = SIDE | {
    "calib_virtuallidar_to_camera_path",
    "calib_virtuallidar_to_world_path",
    "camera_ip",
    "camera_id",
    "lidar_id",
}


def settings_of(folder: Path, layout: str) -> MakeDataSettings:
    """Three short sequences with tiny pictures."""
    return MakeDataSettings(
        data_dir=folder, layout=layout, num_sequences=3, seconds=6.0, width=64, picture_every=10, workers=1
    )


def load(path: Path) -> object:
    return json.loads(path.read_text())


def rows(root: Path, side: str) -> list[dict]:
    return load(root / side / "data_info.json")


def ids(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def matrix(content: dict) -> np.ndarray:
    assert np.shape(content["rotation"]) == (3, 3)
    assert np.shape(content["translation"]) == (3, 1)
    return np.block([[np.array(content["rotation"]), np.array(content["translation"])], [np.zeros((1, 3)), np.ones(1)]])


def intrinsic(path: Path) -> np.ndarray:
    content = load(path)
    if "P" in content:
        assert np.shape(content["P"]) == (12,)
        return np.reshape(content["P"], (3, 4))[:, :3]
    assert np.shape(content["cam_D"]) == (5,)
    return np.reshape(content["cam_K"], (3, 3))


def check_box(entry: dict) -> None:
    assert entry["type"] in {"Car", "Truck", "Van", "Bus"}
    assert entry["truncated_state"] in {0, 1, 2}
    assert entry["occluded_state"] in {0, 1, 2}
    assert set(entry["2d_box"]) == {"xmin", "ymin", "xmax", "ymax"}
    assert set(entry["3d_dimensions"]) == {"h", "w", "l"}
    assert set(entry["3d_location"]) == {"x", "y", "z"}
    assert -np.pi <= entry["rotation"] <= np.pi
