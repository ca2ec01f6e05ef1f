"""Relative poses, within a vehicle and between vehicles.

Poses are camera-to-world: P_i takes points of camera i to a world that is the same for all. So what two cameras have
relative to one another, whatever the world, is inverse(P_i) P_j. P_i inverse(P_j), which the request has, is right for
world-to-camera poses; here its error grows with the distance from the origin.
"""

import math
from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from opv2v_stage2.losses.robust import knee
from opv2v_stage2.losses.targets import Targets
from opv2v_stage2.rotations import chordal_mean, geodesic_angle, inverse_rigid, relative_pose, rigid

KNEE = 0.05
"""Where errors go from square to linear: radians, and shares of the length."""
SIGMAS = 3.0
"""Within so many standard deviations a prior is met."""

Poses = Float[Tensor, "samples poses 4 4"]


class PairwisePoseConsistencyLoss(nn.Module):
    """Errors of relative poses, a mean over the pairs within vehicles and one over the pairs between them.

    Args:
        pairs: compare vehicles (`rig`), each by the mean of what its cameras say, or every pair of cameras (`views`).
            Pairs within a vehicle are always of cameras.
        relative: `inv_i_j` for camera-to-world poses, `i_inv_j` for the request's formula.
        target: of pairs between vehicles: the truth, or the prior, within three standard deviations of which nothing is
            asked. Within a vehicle the rig is known, and a prior has nothing to say.
        normalise_m: translations count relative to their true length, or to this where that is shorter.
    """

    def __init__(
        self,
        *,
        pairs: Literal["rig", "views"] = "rig",
        relative: Literal["inv_i_j", "i_inv_j"] = "inv_i_j",
        target: Literal["truth", "prior"] = "truth",
        normalise_m: float = 5.0,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.relative = relative
        self.target = target
        self.normalise_m = normalise_m

    def forward(
        self, camera_pose: Float[Tensor, "samples views 4 4"], targets: Targets
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Loss within vehicles and loss between vehicles; 0, without a gradient, where there are no pairs.

        Raises:
            ValueError: the target is a prior, and there is none.
        """
        return self.intra(camera_pose, targets), self.cross(camera_pose, targets)

    def intra(self, camera_pose: Float[Tensor, "samples views 4 4"], targets: Targets) -> Float[Tensor, ""]:
        """The first half of `forward`."""
        pairs = [pair for views in targets.vehicles for pair in combinations(views, 2)]
        return self._truth_error(camera_pose, targets.camera_pose, pairs)

    def cross(self, camera_pose: Float[Tensor, "samples views 4 4"], targets: Targets) -> Float[Tensor, ""]:
        """The second half of `forward`."""
        owner = [vehicle for vehicle, views in enumerate(targets.vehicles) for _ in views]
        views = [view for group in targets.vehicles for view in group]
        pairs = [(i, j) for (a, i), (b, j) in combinations(zip(owner, views, strict=True), 2) if a != b]
        poses, truth, prior, std = camera_pose, targets.camera_pose, targets.prior_pose, targets.pose_std
        if self.pairs == "rig":
            pairs = list(combinations(range(len(targets.vehicles)), 2))
            poses, truth = rig_poses(poses, targets), rig_poses(truth, targets)
            prior = None if prior is None else rig_poses(prior, targets)
            std = None if std is None else std[:, [group[0] for group in targets.vehicles]]
        if self.target == "truth":
            return self._truth_error(poses, truth, pairs)
        if prior is None or std is None:
            raise ValueError("prior_pose: expected poses and their standard deviations for the target prior, got none")
        return self._prior_error(poses, prior, std, pairs)

    def _truth_error(self, predicted: Poses, truth: Poses, pairs: list[tuple[int, int]]) -> Float[Tensor, ""]:
        if not pairs:
            return predicted.new_zeros(())
        target = self._relative(truth, pairs)
        rotation_rad, translation_m = pose_errors(self._relative(predicted, pairs), target)
        return (knee(rotation_rad, KNEE) + knee(translation_m / self._length(target), KNEE)).mean()

    def _prior_error(
        self, predicted: Poses, prior: Poses, std: Float[Tensor, "samples poses 2"], pairs: list[tuple[int, int]]
    ) -> Float[Tensor, ""]:
        if not pairs:
            return predicted.new_zeros(())
        target = self._relative(prior, pairs)
        rotation_rad, translation_m = pose_errors(self._relative(predicted, pairs), target)
        i, j = (list(indices) for indices in zip(*pairs, strict=True))
        metres, yaw = std[..., 0], std[..., 1] * (math.pi / 180)
        # A wrong yaw of vehicle i moves vehicle j sideways, the more the further away it is.
        sideways = yaw[:, i] * torch.linalg.vector_norm(target[..., :3, 3], dim=-1)
        std_m = (metres[:, i].square() + metres[:, j].square() + sideways.square()).sqrt()
        std_rad = torch.hypot(yaw[:, i], yaw[:, j])
        beyond_m = (translation_m - SIGMAS * std_m).relu() / self._length(target)
        return ((rotation_rad - SIGMAS * std_rad).relu() + beyond_m).mean()

    def _relative(self, poses: Poses, pairs: list[tuple[int, int]]) -> Float[Tensor, "samples pairs 4 4"]:
        i, j = (poses[:, list(indices)] for indices in zip(*pairs, strict=True))
        return relative_pose(i, j) if self.relative == "inv_i_j" else i @ inverse_rigid(j)

    def _length(self, relative: Float[Tensor, "samples pairs 4 4"]) -> Float[Tensor, "samples pairs"]:
        return torch.linalg.vector_norm(relative[..., :3, 3], dim=-1).clamp(min=self.normalise_m)


def rig_poses(
    camera_pose: Float[Tensor, "samples views 4 4"], targets: Targets
) -> Float[Tensor, "samples vehicles 4 4"]:
    """world_from_lidar of every vehicle: the mean of what its cameras say, each through its place on the vehicle."""
    world_from_lidar = camera_pose @ inverse_rigid(targets.rig_pose)
    groups = [world_from_lidar[:, views] for views in targets.vehicles]
    return torch.stack([rigid(chordal_mean(group[..., :3, :3]), group[..., :3, 3].mean(1)) for group in groups], dim=1)


def pose_errors(
    predicted: Float[Tensor, "*batch 4 4"], target: Float[Tensor, "*batch 4 4"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Angle in radians and distance in metres."""
    angle = geodesic_angle(predicted[..., :3, :3].mT @ target[..., :3, :3])
    return angle, torch.linalg.vector_norm(predicted[..., :3, 3] - target[..., :3, 3], dim=-1)
