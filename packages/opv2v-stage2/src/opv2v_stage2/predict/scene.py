"""From what a model said about some agents to what is shown and written."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from opv2v_stage2.data.recording import CAMERAS, AgentFrame, CameraView
from opv2v_stage2.inference import AgentReconstruction
from opv2v_stage2.predict.viewer import ViewedAgent, ViewedBox, ViewedCamera

OVERLAP = 1.25
"""How much wider than its pixel a point is drawn, so that slanted surfaces do not fall apart."""
MOST_SLANT = 4.0
"""How many times wider than its pixel a surface may be taken to be."""
MOST_FOOTPRINT_M = 1.5
REACH_M = 250.0
"""Points further than this from their camera are left out: one stray point would cost all others their precision."""


def viewed_agents(
    reconstructions: Sequence[AgentReconstruction], frames: Mapping[str, AgentFrame], min_validity: float
) -> list[ViewedAgent]:
    """The agents with their valid points within reach; pictures that the data lack give neither points nor a camera."""
    return [_viewed(one, frames[one.agent], min_validity) for one in reconstructions]


def true_boxes(frames: Mapping[str, AgentFrame], main: str) -> list[ViewedBox]:
    """The vehicles that any of the agents has hit, each once, as they truly stand around the main agent."""
    main_from_world = np.linalg.inv(frames[main].world_from_lidar)
    boxes = {}
    for frame in frames.values():
        for number, box_id in enumerate(frame.boxes.ids):
            main_from_box = main_from_world @ frame.boxes.world_from_box[number]
            boxes.setdefault(int(box_id), ViewedBox(main_from_box, frame.boxes.half_size[number]))
    return list(boxes.values())


def _viewed(one: AgentReconstruction, frame: AgentFrame, min_validity: float) -> ViewedAgent:
    cameras, clouds = [], []
    for number in CAMERAS:
        if number not in frame.cameras:
            continue
        camera = _camera(frame.cameras[number], one.main_from_lidar @ one.lidar_from_camera[number])
        cameras.append(camera)
        with np.errstate(invalid="ignore", over="ignore"):  # a point that is no place is not kept: NaN is not less
            distance_m = np.linalg.norm(one.points[number] - camera.main_from_camera[:3, 3], axis=-1)
            kept = (one.validity[number] >= min_validity) & (distance_m < REACH_M)
            footprint_m = _footprint_m(one.points[number], distance_m, camera)
        clouds.append((one.points[number][kept], one.colours[number][kept], footprint_m[kept]))
    empty = (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.float32))
    points, colours, footprint_m = (np.concatenate(parts) for parts in zip(empty, *clouds, strict=True))
    return ViewedAgent(one.agent, one.main_from_lidar, cameras, points, colours, footprint_m)


def _camera(view: CameraView, main_from_camera: Float[np.ndarray, "4 4"]) -> ViewedCamera:
    """The axis goes through the middle of the picture, so the principal point tells half its size."""
    (fx, _, cx), (_, fy, cy), _ = view.intrinsics
    return ViewedCamera(main_from_camera, (float(cx / fx), float(cy / fy)))


def _footprint_m(
    points: Float32[np.ndarray, "height width 3"], distance_m: Float[np.ndarray, "height width"], camera: ViewedCamera
) -> Float32[np.ndarray, "height width"]:
    """That of the pixel, or as far as the next points of the same surface are: streets are seen at a slant."""
    pixel = distance_m * 2 * camera.tangents[0] / points.shape[1]
    gap = np.maximum(_gap_m(points, 0), _gap_m(points, 1))
    width = np.where(gap < 2 * MOST_SLANT * pixel, np.clip(gap, pixel, MOST_SLANT * pixel), pixel)
    return np.minimum(OVERLAP * width, MOST_FOOTPRINT_M).astype(np.float32)


def _gap_m(points: Float32[np.ndarray, "height width 3"], axis: int) -> Float32[np.ndarray, "height width"]:
    """Distance to the nearer neighbour along an axis: the other one may belong to something behind."""
    gap = np.linalg.norm(np.diff(points, axis=axis), axis=-1)
    end = np.full_like(gap.take([0], axis), np.inf)
    return np.minimum(np.concatenate([end, gap], axis), np.concatenate([gap, end], axis))
