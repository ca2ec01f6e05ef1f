"""A scene as JSON: positions in 16 bits and colours in 8, as base64 of little-endian bytes."""

import base64
import json
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

from drivelab_shared.plots import COLOURS
from opv2v_stage2.predict.viewer.contents import ViewedAgent, ViewedBox, ViewedCamera, ViewerScene

LARGEST = 32767
HEIGHT_END_M = 8
"""Upper end of the colours by height."""
MOST_CUT_M = 40


def packed_scene(scene: ViewerScene) -> str:
    """JSON that can stand inside a script element, whatever the agents are called."""
    agents = [_agent(agent, number) for number, agent in enumerate(scene.agents)]
    error_mm = max(500 * agent["step"] for agent in agents)
    fields = {
        "ground_z": scene.ground_z,
        "height_end_m": HEIGHT_END_M,
        "cut_end_m": _cut_end_m(scene),
        "note": f"Lengths in metres. Points are stored to within {error_mm:.1f} mm along each axis.",
        "agents": agents,
        "boxes": [_box(box) for box in scene.boxes],
    }
    return json.dumps(fields, allow_nan=False, separators=(",", ":")).replace("<", r"\u003c")


def quantised(
    points: Float32[np.ndarray, "points 3"],
) -> tuple[Int16[np.ndarray, "points 3"], Float[np.ndarray, "3"], float]:
    """Whole numbers, and the offset and step (metres) with which `offset + step * numbers` are the points again."""
    if not len(points):
        return np.zeros((0, 3), np.int16), np.zeros(3), 1.0
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    offset = (low + high) / 2
    step = max(float((high - low).max()) / 2 / LARGEST, 1e-6)
    return np.round((points - offset) / step).astype(np.int16), offset, step


def _agent(agent: ViewedAgent, number: int) -> dict[str, Any]:
    positions, offset, step = quantised(agent.points)
    largest_m = float(agent.footprint_m.max(initial=1e-3))
    return {
        "name": agent.name,
        "colour": _rgb(COLOURS[number % len(COLOURS)]),
        "main_from_lidar": _listed(agent.main_from_lidar),
        "cameras": [_camera(camera) for camera in agent.cameras],
        "offset": _listed(offset),
        "step": step,
        "positions": _base64(positions.astype("<i2")),
        "paint": _base64(_paint(agent.colours, agent.footprint_m / largest_m)),
        "footprint_m": largest_m,
    }


def _paint(
    colours: UInt8[np.ndarray, "points 3"], footprint: Float32[np.ndarray, " points"]
) -> UInt8[np.ndarray, "points 4"]:
    """Red, green, blue, and the footprint as a share of the largest."""
    return np.concatenate([colours, np.ceil(255 * footprint[:, None]).astype(np.uint8)], axis=1)


def _camera(camera: ViewedCamera) -> dict[str, Any]:
    return {"main_from_camera": _listed(camera.main_from_camera), "tangents": list(camera.tangents)}


def _box(box: ViewedBox) -> dict[str, Any]:
    return {"main_from_box": _listed(box.main_from_box), "half_size": _listed(box.half_size)}


def _cut_end_m(scene: ViewerScene) -> int:
    """Where the slider for the height ends: above all but one point in a thousand."""
    heights = np.concatenate([agent.points[:, 2] for agent in scene.agents]) - scene.ground_z
    top = float(np.quantile(heights, 0.999)) if len(heights) else 0.0
    return int(np.clip(np.ceil(top), HEIGHT_END_M, MOST_CUT_M))


def _rgb(colour: str) -> list[float]:
    """`#rrggbb` as shares."""
    return [round(value / 255, 4) for value in bytes.fromhex(colour[1:])]


def _listed(values: Float[np.ndarray, "*shape"]) -> list[float]:
    return [round(float(value), 6) for value in np.ravel(values)]


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
