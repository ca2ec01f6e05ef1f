"""Clouds seen from above: ahead is up, left is left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, UInt8

from drivelab_shared.plots import COLOURS
from opv2v_stage2.clouds.cloud import Cloud, moved

PAPER, INK, BOX = (16, 18, 22), (225, 225, 225), (255, 255, 255)
HEIGHT_RANGE_M = (-0.5, 6.0)
"""Blue is the ground, red is this high and higher."""
SCALES_M = (1, 2, 5, 10, 20, 50, 100, 200)
MARGIN_PX = 12

Colour = Literal["height", "agent", "cloud", "own"]


@dataclass(frozen=True, eq=False)
class OverheadBoxes:
    """Vehicles in the frame of the clouds."""

    cloud_from_box: Float[np.ndarray, "boxes 4 4"]
    half_size: Float[np.ndarray, "boxes 3"]


def overhead(
    clouds: Sequence[Cloud],
    range_m: float,
    *,
    colour_by: Colour = "height",
    boxes: OverheadBoxes | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    size_px: int = 640,
) -> UInt8[np.ndarray, "size size 3"]:
    """A square picture of clouds that share a frame, with a bar that says how long some metres are.

    Args:
        clouds: What to draw; higher points cover lower ones.
        range_m: Half the side of the square.
        colour_by: `height` above the ground, the `agent` that saw a point, which `cloud` it belongs to, or its `own`
            colour. Where a cloud has no agents or colours, it counts as one agent, or falls back to height.
        boxes: Drawn as outlines with a line to their front.
        centre: x and y in the middle.
        size_px: Side of the picture.
    """
    import cv2

    px_per_m = size_px / 2 / range_m
    picture = np.full((size_px, size_px, 3), PAPER, np.uint8)
    points = np.concatenate([cloud.points for cloud in clouds])
    colours = np.concatenate([_colours(cloud, index, colour_by) for index, cloud in enumerate(clouds)])
    order = np.argsort(np.concatenate([cloud.heights for cloud in clouds]), kind="stable")
    columns, rows = np.floor(_pixels(points[order], centre, px_per_m, size_px)).T
    inside = (columns >= 0) & (columns < size_px) & (rows >= 0) & (rows < size_px)
    picture[rows[inside].astype(int), columns[inside].astype(int)] = colours[order][inside]
    if boxes is not None:
        for transform, half in zip(boxes.cloud_from_box, boxes.half_size, strict=True):
            outline = np.round(_pixels(_outline(transform, half), centre, px_per_m, size_px)).astype(np.int32)
            cv2.polylines(picture, [outline], isClosed=False, color=BOX, lineType=cv2.LINE_AA)
    _draw_scale(picture, px_per_m)
    return picture


def _pixels(
    points: Float[np.ndarray, "points axes"], centre: tuple[float, float], px_per_m: float, size_px: int
) -> Float64[np.ndarray, "points 2"]:
    """Column and row."""
    ahead, left = (points[:, axis].astype(np.float64) - centre[axis] for axis in (0, 1))
    # Clipped far outside: what is drawn needs small whole numbers.
    return np.clip(size_px / 2 - px_per_m * np.stack([left, ahead], axis=-1), -1e4, 1e4)


def _outline(cloud_from_box: Float[np.ndarray, "4 4"], half_size: Float[np.ndarray, " 3"]) -> np.ndarray:
    """Once around the box, and from its middle to its front."""
    corners = np.array([(1, 0), (1, 1), (-1, 1), (-1, -1), (1, -1), (1, 0), (0, 0)])
    return moved(np.column_stack([corners * half_size[:2], np.zeros(len(corners))]), cloud_from_box)


def _colours(cloud: Cloud, index: int, colour_by: Colour) -> UInt8[np.ndarray, "points 3"]:
    if colour_by == "own" and cloud.colours is not None:
        return cloud.colours
    if colour_by in ("agent", "cloud"):
        palette = np.array([[int(code[at : at + 2], 16) for at in (1, 3, 5)] for code in COLOURS], np.uint8)
        which = cloud.agent if colour_by == "agent" and cloud.agent is not None else np.full(len(cloud), index)
        return palette[which % len(palette)]
    return height_colours(cloud.heights)


def height_colours(heights: Float[np.ndarray, " points"]) -> UInt8[np.ndarray, "points 3"]:
    """Blue on the ground, over green, to red. Source of the scale: Mikhailov, Turbo, 2019."""
    import cv2

    low, high = HEIGHT_RANGE_M
    # The darkest tenth would not show on the paper.
    share = 0.1 + 0.9 * np.clip((heights - low) / (high - low), 0, 1)
    scale = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return scale[np.round(share * 255).astype(int)]


def _draw_scale(picture: UInt8[np.ndarray, "size size 3"], px_per_m: float) -> None:
    import cv2

    size_px = len(picture)
    metres = max((m for m in SCALES_M if m * px_per_m <= size_px / 4), default=SCALES_M[0])
    row, left = size_px - MARGIN_PX, MARGIN_PX
    right = left + round(metres * px_per_m)
    cv2.line(picture, (left, row), (right, row), INK, 2)
    place = (left, row - 7)
    cv2.putText(picture, f"{metres} m", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
