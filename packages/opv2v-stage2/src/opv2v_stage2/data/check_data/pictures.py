"""The lidar projected into the cameras: the quickest way to see a wrong axis, a wrong direction or a wrong camera."""

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from drivelab_shared.errors import UserError
from opv2v_stage2.data.agent_files import read_agent, read_lidar
from opv2v_stage2.data.check_data.glances import Glance
from opv2v_stage2.data.pictures import read_picture
from opv2v_stage2.data.projection import project
from opv2v_stage2.data.recording import CAMERAS, CameraView

WIDTH_PX = 496
GAP_PX = 8
NEAR_M, FAR_M = 3.0, 100.0
DOT_PX = 2
MOST_DOTS = 3000
"""Of one picture; more hide what they lie on."""
WHITE = 255

Overlay = tuple[str, UInt8[np.ndarray, "height width 3"]]
"""Whose, and its pictures side by side."""


def overlays(glances: Mapping[str, Sequence[Glance]], num_pictures: int) -> Iterator[Overlay]:
    """Agents spread over each split, as far as their files can be read; the errors of others are in the list."""
    for split, of_split in glances.items():
        usable = [glance for glance in of_split if glance.is_usable and glance.sweep is not None]
        for index in np.linspace(0, len(usable) - 1, min(num_pictures, len(usable))).round().astype(int):
            files = usable[index].files
            try:
                yield f"{split}: {files.key}, agent {files.folder.name}", _overlay(usable[index])
            except UserError:
                continue


def _overlay(glance: Glance) -> UInt8[np.ndarray, "height width 3"]:
    """All four cameras of an agent; white where there is none."""
    frame = read_agent(glance.files)
    points, _ = read_lidar(frame)
    drawn = {number: draw_points(points, camera) for number, camera in frame.cameras.items()}
    height = max((picture.shape[0] for picture in drawn.values()), default=WIDTH_PX * 3 // 4)
    board = np.full((2 * height + GAP_PX, 2 * WIDTH_PX + GAP_PX, 3), WHITE, np.uint8)
    for number in CAMERAS:
        if number in drawn:
            row, column = number // 2 * (height + GAP_PX), number % 2 * (WIDTH_PX + GAP_PX)
            board[row : row + drawn[number].shape[0], column : column + WIDTH_PX] = drawn[number]
    return board


def draw_points(points: Float[np.ndarray, "points 3"], camera: CameraView) -> UInt8[np.ndarray, "height width 3"]:
    """A camera's picture with every point of the lidar frame that it looks at, coloured by depth.

    Where there are too many, some at equal steps of their order.
    """
    picture = read_picture(camera.image_path)
    size = WIDTH_PX, round(WIDTH_PX * picture.shape[0] / picture.shape[1])
    board = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_LINEAR)
    pixels, depth_z = project(points, camera, size)
    with np.errstate(invalid="ignore"):
        inside = (depth_z > 0) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1)
    order = np.argsort(-depth_z[inside])[:: 1 + int(inside.sum()) // MOST_DOTS]  # near ones over far ones
    columns, rows = pixels[inside][order].astype(np.int64).T
    colours = _colours(depth_z[inside][order])
    for down in range(DOT_PX):
        for right in range(DOT_PX):
            board[np.minimum(rows + down, size[1] - 1), np.minimum(columns + right, size[0] - 1)] = colours
    return board


def _colours(depth_z: Float[np.ndarray, " points"]) -> UInt8[np.ndarray, "points 3"]:
    """Red near, blue far, by the logarithm of the depth."""
    share = np.log(np.clip(depth_z, NEAR_M, FAR_M) / NEAR_M) / np.log(FAR_M / NEAR_M)
    levels = np.round(255 * (1 - share)).astype(np.uint8)[:, None]
    return cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1] if len(levels) else np.zeros((0, 3), np.uint8)
