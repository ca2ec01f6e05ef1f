"""Frames of one scene that vote: what only one of them saw is likely to float.

What moves is never in the same place twice, so a vote removes it, too: do not count vehicles after one.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from opv2v_stage2.clouds.cloud import Cloud, moved
from opv2v_stage2.clouds.voxels import voxel_keys


def vote(clouds: Sequence[Cloud], side_m: float, min_frames: int) -> list[Bool[np.ndarray, " points"]]:
    """Which points of each cloud lie in a cube of the world in which that many clouds have a point.

    Raises:
        ValueError: a cloud does not know where it is in the world.
    """
    keys = [_world_keys(cloud, side_m) for cloud in clouds]
    occupied, votes = np.unique(np.concatenate([np.unique(one) for one in keys]), return_counts=True)
    return [votes[np.searchsorted(occupied, one)] >= min_frames for one in keys]


def _world_keys(cloud: Cloud, side_m: float) -> np.ndarray:
    if cloud.frame.world_from_cloud is None:
        raise ValueError("world_from_cloud: expected a pose, got none: frames vote in the world")
    return voxel_keys(moved(cloud.points, cloud.frame.world_from_cloud), side_m)
