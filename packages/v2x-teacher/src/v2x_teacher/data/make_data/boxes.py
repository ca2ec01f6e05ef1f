"""The other road users as one unit labels them: in the frame of its lidar, and as rectangles in its picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from drivelab_shared.scenes import Camera
from v2x_teacher.data.make_data.sight import Rectangle, is_blocked
from v2x_teacher.data.make_data.traffic import Actor, Drive

REACH_M = 100.0
CORNERS = np.array([(x, y, z) for z in (-0.5, 0.5) for x, y in ((0.5, 0.5), (0.5, -0.5), (-0.5, -0.5), (-0.5, 0.5))])
"""Of a box of size 1, x forward: front left, front right, rear right, rear left, the lower four first."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """All actors at some times. Lidar frame: x forward, y left, z up; metres and radians."""

    location: Float64[np.ndarray, "times actors 3"]
    """Middle of the box."""
    rotation: Float64[np.ndarray, "times actors"]
    """Heading about z, counted from x."""
    alpha: Float64[np.ndarray, "times actors"]
    """Heading as seen from the camera: 0 for one that drives to the right, growing clockwise from above (KITTI's)."""
    box_px: Float64[np.ndarray, "times actors 4"]
    """xmin, ymin, xmax, ymax inside the picture; zeros outside."""
    truncated: Int64[np.ndarray, "times actors"]
    """0: whole in the picture, 1: cut at its left or right, 2: cut at its top or bottom."""
    occluded: Int64[np.ndarray, "times actors"]
    """Share covered by the rectangle of somebody nearer. 0: less than 5 %, 1: less than half, 2: more."""
    is_seen: Bool[np.ndarray, "times actors"]
    """Within 100 m of the lidar, and not behind a house."""

    @property
    def is_pictured(self) -> Bool[np.ndarray, "times actors"]:
        """In the picture, as far as other things leave it to be seen."""
        return self.box_px[..., 2] > self.box_px[..., 0]


def boxes(
    drive: Drive,
    actors: Sequence[Actor],
    times_s: Float64[np.ndarray, " times"],
    lidar_from_junction: Float64[np.ndarray, "times 4 4"],
    camera_from_lidar: Float64[np.ndarray, "4 4"],
    camera: Camera,
    houses: list[Rectangle],
) -> Boxes:
    """Where the actors are at each time, for a lidar that stands elsewhere each time."""
    if not actors:
        none = np.zeros((len(times_s), 0))
        counts, flags = none.astype(np.int64), none.astype(bool)
        return Boxes(np.zeros((*none.shape, 3)), none, none, np.zeros((*none.shape, 4)), counts, counts, flags)
    sizes = np.array([actor.body.size_m for actor in actors])
    location, rotation = _in_lidar(drive, actors, times_s, lidar_from_junction, sizes[:, 2])
    corners = box_corners(location, rotation, sizes) @ camera_from_lidar[:3, :3].T + camera_from_lidar[:3, 3]
    whole_px = _rectangles(corners, camera)
    edge_px = np.array([camera.width - 1, camera.height - 1, camera.width - 1, camera.height - 1], dtype=np.float64)
    box_px = np.clip(whole_px, 0.0, edge_px)
    is_outside = (box_px[..., :2] >= box_px[..., 2:]).any(axis=-1)
    box_px[is_outside] = 0.0
    is_cut = (np.abs(whole_px - box_px) > 1e-6) & ~is_outside[..., None]
    truncated = np.where(is_cut[..., 0::2].any(axis=-1), 1, np.where(is_cut[..., 1::2].any(axis=-1), 2, 0))
    in_camera = location @ camera_from_lidar[:3, :3].T + camera_from_lidar[:3, 3]
    is_near = np.linalg.norm(location[..., :2], axis=-1) <= REACH_M
    return Boxes(
        location,
        rotation,
        _alpha(in_camera, rotation, camera_from_lidar),
        box_px,
        truncated,
        _occluded(box_px, in_camera[..., 2]),
        is_near & ~_is_hidden(location, rotation, sizes[:, 0], lidar_from_junction, houses),
    )


def box_corners(
    location: Float64[np.ndarray, "*boxes 3"],
    rotation: Float64[np.ndarray, "*boxes"],
    sizes: Float64[np.ndarray, "*any 3"],
) -> Float64[np.ndarray, "*boxes 8 3"]:
    """Corners of boxes of sizes length, width, height, in the order of `CORNERS`."""
    x, y, z = np.moveaxis(CORNERS * sizes[..., None, :], -1, 0)
    cos, sin = np.cos(rotation)[..., None], np.sin(rotation)[..., None]
    turned = np.stack(np.broadcast_arrays(x * cos - y * sin, x * sin + y * cos, z), axis=-1)
    return location[..., None, :] + turned


def wrap(angle: Float64[np.ndarray, "*angles"]) -> Float64[np.ndarray, "*angles"]:
    """The same angle from -pi up to pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _in_lidar(
    drive: Drive,
    actors: Sequence[Actor],
    times_s: Float64[np.ndarray, " times"],
    lidar_from_junction: Float64[np.ndarray, "times 4 4"],
    heights: Float64[np.ndarray, " actors"],
) -> tuple[Float64[np.ndarray, "times actors 3"], Float64[np.ndarray, "times actors"]]:
    """Middles and headings."""
    states = [actor.path.at(np.interp(times_s, drive.times_s, actor.s)) for actor in actors]
    ground = np.stack([position for position, _ in states], axis=1)
    middles = np.concatenate([ground, np.broadcast_to(heights[:, None] / 2, (*ground.shape[:2], 1))], axis=-1)
    turned = np.einsum("tij,taj->tai", lidar_from_junction[:, :3, :3], middles)
    lidar_headings = np.arctan2(lidar_from_junction[:, 1, 0], lidar_from_junction[:, 0, 0])
    headings = np.stack([heading for _, heading in states], axis=1) + lidar_headings[:, None]
    return turned + lidar_from_junction[:, None, :3, 3], wrap(headings)


def _is_hidden(
    location: Float64[np.ndarray, "times actors 3"],
    rotation: Float64[np.ndarray, "times actors"],
    lengths: Float64[np.ndarray, " actors"],
    lidar_from_junction: Float64[np.ndarray, "times 4 4"],
    houses: list[Rectangle],
) -> Bool[np.ndarray, "times actors"]:
    """Whether houses hide front, middle and rear."""
    along = np.stack([np.cos(rotation), np.sin(rotation), np.zeros_like(rotation)], axis=-1) * lengths[:, None] / 2
    junction_from_lidar = np.linalg.inv(lidar_from_junction)
    hidden = np.ones(rotation.shape, dtype=bool)
    for part in (-0.9, 0.0, 0.9):
        points = np.einsum("tij,taj->tai", junction_from_lidar[:, :3, :3], location + part * along)
        points += junction_from_lidar[:, None, :3, 3]
        hidden &= is_blocked(junction_from_lidar[:, :2, 3], points[..., :2], houses)
    return hidden


def _rectangles(
    corners: Float64[np.ndarray, "times actors 8 3"], camera: Camera
) -> Float64[np.ndarray, "times actors 4"]:
    """Smallest rectangles around the corners that lie ahead of the camera; -1, -1, -1, -1 where none do."""
    pixels, depth_z = camera.project(corners.reshape(-1, 3))
    pixels, is_ahead = pixels.reshape(*corners.shape[:3], 2), (depth_z > 0.3).reshape(*corners.shape[:3], 1)
    low = np.where(is_ahead, pixels, np.inf).min(axis=2)
    high = np.where(is_ahead, pixels, -np.inf).max(axis=2)
    return np.where(is_ahead.any(axis=2), np.concatenate([low, high], axis=-1), -1.0)


def _alpha(
    in_camera: Float64[np.ndarray, "times actors 3"],
    rotation: Float64[np.ndarray, "times actors"],
    camera_from_lidar: Float64[np.ndarray, "4 4"],
) -> Float64[np.ndarray, "times actors"]:
    forward = np.stack([np.cos(rotation), np.sin(rotation), np.zeros_like(rotation)], axis=-1)
    forward = forward @ camera_from_lidar[:3, :3].T
    return wrap(-np.arctan2(forward[..., 2], forward[..., 0]) - np.arctan2(in_camera[..., 0], in_camera[..., 2]))


def _occluded(
    box_px: Float64[np.ndarray, "times actors 4"], depth_z: Float64[np.ndarray, "times actors"]
) -> Int64[np.ndarray, "times actors"]:
    mine, others = box_px[:, :, None], box_px[:, None, :]
    overlap = np.minimum(mine[..., 2:], others[..., 2:]) - np.maximum(mine[..., :2], others[..., :2])
    covered = np.clip(overlap, 0.0, None).prod(axis=-1) * (depth_z[:, None, :] < depth_z[:, :, None])
    area = np.maximum((box_px[..., 2:] - box_px[..., :2]).prod(axis=-1), 1e-9)
    return np.digitize(covered.max(axis=-1) / area, [0.05, 0.5])
