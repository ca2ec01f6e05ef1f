"""How far predicted camera poses are from the true ones. All are world_from_camera; the two worlds may differ.

`pose_abs` and `pose_rot` compare inverse(P_0) P_i, and count picture 0, whose error is 0 by construction: 4 pictures
hide a quarter of it. The `_others` columns leave it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

AUC_DEG = (5, 15, 30)
_SHORT_M = 1e-6
"""Two cameras at one place have no direction between them."""

Poses = Float[np.ndarray, "views 4 4"]


def rotation_deg(rotation: Float[np.ndarray, "*batch 3 3"]) -> Float64[np.ndarray, "*batch"] | float:
    """Angle of rotations, 0 to 180 degrees; by atan2, which is exact for small ones, where acos is not."""
    rotation = np.asarray(rotation, np.float64)
    twice_axis = [rotation[..., (k + 2) % 3, (k + 1) % 3] - rotation[..., (k + 1) % 3, (k + 2) % 3] for k in range(3)]
    sine = np.linalg.norm(np.stack(twice_axis, axis=-1), axis=-1)
    return np.degrees(np.arctan2(sine, np.trace(rotation, axis1=-2, axis2=-1) - 1))


def relative_errors(predicted: Poses, truth: Poses) -> tuple[Float64[np.ndarray, " views"], ...]:
    """Metres and degrees by which each pose, seen from the first one, is off; the first is 0."""
    ours, theirs = (np.linalg.inv(poses[0].astype(np.float64)) @ poses for poses in (predicted, truth))
    distance = np.linalg.norm(ours[:, :3, 3] - theirs[:, :3, 3], axis=-1)
    return distance, rotation_deg(np.swapaxes(theirs[:, :3, :3], -1, -2) @ ours[:, :3, :3])


def pose_columns(
    predicted: Poses,
    truth: Poses,
    agent_index: Int[np.ndarray, " views"],
    lidar_from_camera: Poses,
) -> dict[str, float]:
    """Every pose column of the CSVs; NaN where there is nothing to compare.

    Args:
        predicted: Of all pictures, those of the main vehicle first and each vehicle's front camera before its others.
        truth: The same.
        agent_index: Whose picture each is; 0 is the main vehicle.
        lidar_from_camera: Where each camera sits on its vehicle.
    """
    distance, angle = relative_errors(predicted, truth)
    alignment = aligned_errors(predicted, truth)
    cross = cross_agent_errors(*(camera0_poses(poses, agent_index) for poses in (predicted, truth)))
    rigs = cross_agent_errors(*(rig_poses(poses, lidar_from_camera, agent_index) for poses in (predicted, truth)))
    intra = intra_agent_errors(predicted, truth, agent_index)
    return {
        "pose_abs_m": float(distance.mean()),
        "pose_rot_deg": float(angle.mean()),
        "pose_ate_m": alignment.rigid_m,
        "pose_ate_rot_deg": alignment.rigid_deg,
        "cross_agent_pose_trans_m": cross[0],
        "cross_agent_pose_rot_deg": cross[1],
        "intra_agent_rig_pose_trans_m": intra[0],
        "intra_agent_rig_pose_rot_deg": intra[1],
        "pose_abs_others_m": _mean(distance[1:]),
        "pose_rot_others_deg": _mean(angle[1:]),
        "pose_ate_sim3_m": alignment.sim3_m,
        "cross_agent_rig_trans_m": rigs[0],
        "cross_agent_rig_rot_deg": rigs[1],
        **{f"pose_auc_{limit}": value for limit, value in zip(AUC_DEG, pose_auc(predicted, truth), strict=True)},
    }


# --- vehicles ---------------------------------------------------------------------------------------------------------


def camera0_poses(world_from_camera: Poses, agent_index: Int[np.ndarray, " views"]) -> Float[np.ndarray, "agents 4 4"]:
    """The first camera of each vehicle."""
    return world_from_camera[np.unique(agent_index, return_index=True)[1]]


def rig_poses(
    world_from_camera: Poses, lidar_from_camera: Poses, agent_index: Int[np.ndarray, " views"]
) -> Float64[np.ndarray, "agents 4 4"]:
    """world_from_lidar of each vehicle, the mean of what its cameras say: chordal for the rotation."""
    votes = world_from_camera @ np.linalg.inv(np.asarray(lidar_from_camera, np.float64))
    return np.stack([_mean_pose(votes[agent_index == agent]) for agent in np.unique(agent_index)])


def _mean_pose(poses: Poses) -> Float64[np.ndarray, "4 4"]:
    """Source: Hartley et al., Rotation Averaging, IJCV 2013, section 5.3."""
    mean = poses.mean(axis=0)
    left, _, right = np.linalg.svd(mean[:3, :3])
    mean[:3, :3] = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return mean


def cross_agent_errors(
    predicted: Float[np.ndarray, "agents 4 4"], truth: Float[np.ndarray, "agents 4 4"]
) -> tuple[float, float]:
    """Metres and degrees by which the vehicle that is furthest off is, seen from the first; NaN for a lone one.

    Front cameras give the request's figures, rigs the ones that one bad camera does not spoil.
    """
    if len(predicted) < 2:
        return float("nan"), float("nan")
    distance, angle = relative_errors(predicted, truth)
    return float(distance.max()), float(angle.max())


def intra_agent_errors(predicted: Poses, truth: Poses, agent_index: Int[np.ndarray, " views"]) -> tuple[float, float]:
    """Metres and degrees of the other cameras, seen from their vehicle's first: its mean, then that of vehicles."""
    rows = []
    for agent in np.unique(agent_index):
        mine = agent_index == agent
        if mine.sum() > 1:
            rows.append([errors[1:].mean() for errors in relative_errors(predicted[mine], truth[mine])])
    return tuple(np.mean(rows, axis=0).tolist()) if rows else (float("nan"), float("nan"))


# --- trajectories -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlignedErrors:
    """What remains after the best fit of camera centres; NaN with fewer than 3."""

    rigid_m: float
    """ATE: RMSE of camera centres after a rotation and translation."""
    rigid_deg: float
    """Mean angle after the same."""
    sim3_m: float
    """RMSE after a scale, too: hides what the package is about, and is comparable with others' figures."""


def aligned_errors(predicted: Poses, truth: Poses) -> AlignedErrors:
    """Absolute trajectory error of camera centres.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991.
    """
    if len(predicted) < 3:
        return AlignedErrors(*3 * [float("nan")])
    ours, theirs = (poses[:, :3, 3].astype(np.float64) for poses in (predicted, truth))
    ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
    left, sizes, right = np.linalg.svd(theirs.T @ ours)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(signs) @ right
    spread = np.square(ours).sum()
    scale = (sizes * signs).sum() / spread if spread > 0 else 1.0
    turned = rotation @ predicted[:, :3, :3]
    return AlignedErrors(
        rigid_m=_rmse(ours @ rotation.T - theirs),
        rigid_deg=float(rotation_deg(np.swapaxes(truth[:, :3, :3], -1, -2) @ turned).mean()),
        sim3_m=_rmse(scale * ours @ rotation.T - theirs),
    )


def pose_auc(predicted: Poses, truth: Poses, limits_deg: Sequence[float] = AUC_DEG) -> tuple[float, ...]:
    """Area under the share of pairs below an error, up to each limit, 0 to 1; NaN for a single picture.

    The error of a pair is the larger of rotation and direction of translation, degrees. The area is exact.
    """
    i, j = np.triu_indices(len(predicted), k=1)
    if len(i) == 0:
        return tuple(float("nan") for _ in limits_deg)
    ours, theirs = (np.linalg.inv(poses[i].astype(np.float64)) @ poses[j] for poses in (predicted, truth))
    rotation = rotation_deg(np.swapaxes(theirs[:, :3, :3], -1, -2) @ ours[:, :3, :3])
    error = np.maximum(rotation, _direction_deg(ours[:, :3, 3], theirs[:, :3, 3]))
    return tuple(float(np.maximum(0, 1 - error / limit).mean()) for limit in limits_deg)


def _direction_deg(
    ours: Float64[np.ndarray, "pairs 3"], theirs: Float64[np.ndarray, "pairs 3"]
) -> Float64[np.ndarray, " pairs"]:
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(ours, theirs), axis=-1), (ours * theirs).sum(axis=-1)))
    return np.where(np.linalg.norm(theirs, axis=-1) > _SHORT_M, angle, 0.0)


def _rmse(offsets: Float64[np.ndarray, "points 3"]) -> float:
    return float(np.sqrt(np.square(offsets).sum(axis=-1).mean()))


def _mean(values: Float64[np.ndarray, " values"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
