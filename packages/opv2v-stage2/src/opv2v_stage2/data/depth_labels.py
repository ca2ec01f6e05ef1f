"""Lidar points as depth labels of pixels, at the size that the model sees.

Points are projected at that size, not a finished map shrunk: that would lose most of them. Lidar and camera sit apart,
so the camera is shown points that it cannot see; those lie behind others that are nearer, and are dropped.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from drivelab_shared.seeding import keyed_rng
from opv2v_stage2.config import LabelSettings
from opv2v_stage2.data.projection import project
from opv2v_stage2.data.recording import CameraView

OCCLUSION_SIZE = (800, 600)
"""Width and height at which points are compared with their neighbours, whatever the model sees."""


def depth_labels(
    points: Float[np.ndarray, "points 3"],
    camera: CameraView,
    size: tuple[int, int],
    settings: LabelSettings,
    key: tuple[int, ...],
) -> Float32[np.ndarray, "height width"]:
    """Depth along the camera's axis in metres, 0 where there is no label.

    Args:
        points: right-handed lidar frame, metres.
        camera: where the picture was taken from.
        size: width and height of the result, pixels.
        settings: what counts as visible, and how many labels are kept.
        key: of the random numbers that choose them.
    """
    points = points[np.linalg.norm(points[:, :2], axis=1) > settings.own_body_m]
    points = points[is_visible(points, camera, settings)]
    return thinned(z_buffer(*project(points, camera, size), size), settings.coverage, key)


def is_visible(
    points: Float[np.ndarray, "points 3"], camera: CameraView, settings: LabelSettings
) -> Bool[np.ndarray, " points"]:
    """Points in the picture that lie behind no other point of their neighbourhood."""
    pixels, depth_z = project(points, camera, OCCLUSION_SIZE)
    inside = _is_inside(pixels, depth_z, OCCLUSION_SIZE)
    nearest = z_buffer(pixels, depth_z, OCCLUSION_SIZE)
    nearest[nearest == 0] = np.inf
    nearest = cv2.erode(nearest, np.ones((settings.occlusion_window_px,) * 2, np.uint8))  # the least of its window
    visible = np.zeros(len(points), np.bool_)
    columns, rows = np.floor(pixels[inside]).astype(np.int64).T
    limit = (1 + settings.occlusion_ratio) * nearest[rows, columns] + settings.occlusion_m
    visible[inside] = depth_z[inside] <= limit
    return visible


def z_buffer(
    pixels: Float[np.ndarray, "points 2"], depth_z: Float[np.ndarray, " points"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """The nearest point of each pixel, 0 where there is none.

    Args:
        pixels: column and row; the edge of the picture is 0.
        depth_z: metres.
        size: width and height, pixels.
    """
    inside = _is_inside(pixels, depth_z, size)
    columns, rows = np.floor(pixels[inside]).astype(np.int64).T
    nearest = np.full(size[0] * size[1], np.inf, np.float32)
    np.minimum.at(nearest, rows * size[0] + columns, depth_z[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = 0
    return nearest.reshape(size[1], size[0])


def thinned(
    labels: Float32[np.ndarray, "height width"], coverage: float, key: tuple[int, ...]
) -> Float32[np.ndarray, "height width"]:
    """The labels, or as many of them at random as cover that share of the picture."""
    most = max(1, round(coverage * labels.size))
    labelled = np.flatnonzero(labels)
    if len(labelled) <= most:
        return labels
    kept = keyed_rng(*key).choice(labelled, most, replace=False)
    few = np.zeros_like(labels)
    few.flat[kept] = labels.flat[kept]
    return few


def shrunk(depth_z: Float[np.ndarray, "rows columns"], size: tuple[int, int]) -> Float32[np.ndarray, "height width"]:
    """A sparse depth map at another size: each pixel keeps the nearest of the values that fall into it, 0 for none."""
    rows, columns = np.nonzero(depth_z > 0)
    scale = np.array(size) / np.array(depth_z.shape[::-1])
    return z_buffer((np.stack([columns, rows], axis=1) + 0.5) * scale, depth_z[rows, columns], size)


def _is_inside(
    pixels: Float[np.ndarray, "points 2"], depth_z: Float[np.ndarray, " points"], size: tuple[int, int]
) -> Bool[np.ndarray, " points"]:
    with np.errstate(invalid="ignore"):
        return (depth_z > 0) & (pixels >= 0).all(axis=1) & (pixels < np.array(size)).all(axis=1)
