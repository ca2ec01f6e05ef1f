"""Where another vehicle really is: the ground plans of two vehicles, compared around what GPS says.

Each vehicle's features are lifted to a grid around it: every cell, at several heights, looks up the pictures it
projects into. The grid of the other vehicle is turned and shifted around its prior pose, and the agreement of the two,
weighed by how likely GPS makes each pose, gives a mean. Agreement counts for nothing before training, so the start is
GPS itself; and where GPS is good the prior is narrow, so that it stays so.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from opv2v_stage2.rotations import inverse_rigid, rigid, yaw_matrix

CELL_M = 1.0
REACH_M = 32.0
"""Half the side of a grid."""
HEIGHTS_M = (-1.9, 0.0, 2.0, 5.0)
"""Above the lidar: the ground, and what stands on it."""
SHIFT_CELLS = 7
YAW_STEPS = 9
YAW_REACH = 2.5
"""Turns up to so many standard deviations are tried."""
FINE = 3
"""Agreement is interpolated to so many steps per cell."""
GAIN_PACE = 30.0
"""How fast the weight of agreement is learned, relative to other weights: it starts at 0 and has far to go."""
PLAN_CHANNELS = 8
LIFTED_CHANNELS = 16


class PoseSearch(nn.Module):
    """Refines the poses of other vehicles relative to the first one.

    Args:
        channels: of the feature maps that are lifted.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, LIFTED_CHANNELS, 1)
        lifted = LIFTED_CHANNELS * len(HEIGHTS_M)
        self.plan = nn.Sequential(
            nn.Conv2d(lifted, 32, 3, padding=1),
            nn.GroupNorm(8, 32),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GroupNorm(8, 32),
            nn.GELU(),
            nn.Conv2d(32, PLAN_CHANNELS, 3, padding=1),
        )
        self.gain = nn.Parameter(torch.zeros(()))

    def plans(
        self,
        maps: Float[Tensor, "vehicles views channels height width"],
        intrinsics: Float[Tensor, "vehicles views 3 3"],
        rig_poses: Float[Tensor, "vehicles views 4 4"],
        size_px: tuple[int, int],
    ) -> Float[Tensor, "vehicles plan_channels cells cells"]:
        """Features of the ground around each vehicle, zero where no camera looks. Rows run along x, columns along y.

        Args:
            maps: features of its pictures.
            intrinsics: in pixels of the pictures.
            rig_poses: lidar_from_camera.
            size_px: height and width of the pictures.
        """
        vehicles, views = maps.shape[:2]
        reduced = self.reduce(maps.flatten(0, 1))
        cells = round(2 * REACH_M / CELL_M)
        points = _grid_points(cells, maps.device)
        camera_from_lidar = inverse_rigid(rig_poses).flatten(0, 1)
        in_camera = points @ camera_from_lidar[:, :3, :3].mT + camera_from_lidar[:, None, :3, 3]
        depth_z = in_camera[..., 2]
        is_ahead = depth_z > 0.5
        pixels = (in_camera / depth_z.clamp(min=0.5)[..., None]) @ intrinsics.flatten(0, 1).mT
        height, width = size_px
        where = torch.stack([2 * pixels[..., 0] / width - 1, 2 * pixels[..., 1] / height - 1], dim=-1)
        where = torch.where(is_ahead[..., None], where, 2.0)  # outside: zeros
        looked_up = functional.grid_sample(reduced, where[:, None], align_corners=False)[:, :, 0]
        is_seen = (is_ahead & (where.abs() < 1).all(-1)).view(vehicles, views, 1, -1)
        total = looked_up.view(vehicles, views, LIFTED_CHANNELS, -1).sum(1)
        lifted = total / is_seen.sum(1).clamp(min=1)
        plan = self.plan(lifted.reshape(vehicles, -1, cells, cells))
        is_known = is_seen.any(1).view(vehicles, len(HEIGHTS_M), cells, cells).any(1)[:, None].to(plan)
        # Without the mean, two places agree by what is special about them and not by how much of them overlaps.
        mean = (plan * is_known).sum((2, 3), keepdim=True) / is_known.sum((2, 3), keepdim=True).clamp(min=1)
        return functional.normalize(plan - mean, dim=1) * is_known

    def forward(
        self,
        first: Float[Tensor, "pairs plan_channels cells cells"],
        other: Float[Tensor, "pairs plan_channels cells cells"],
        prior: Float[Tensor, "pairs 4 4"],
        position_std: Float[Tensor, " pairs"],
        yaw_std: Float[Tensor, " pairs"],
    ) -> Float[Tensor, "pairs 4 4"]:
        """The pose of the other vehicles' lidars in the frames of the first.

        Args:
            first: plans of the first vehicles.
            other: plans of the others.
            prior: first_from_other as GPS has it.
            position_std: its standard deviation, metres.
            yaw_std: its standard deviation, radians.
        """
        steps = torch.linspace(-YAW_REACH, YAW_REACH, YAW_STEPS, device=prior.device)
        yaws = yaw_std[:, None] * steps
        turned = _turned(other, prior, yaws)
        agreement = _correlation(first, turned)
        shifts = torch.linspace(-SHIFT_CELLS, SHIFT_CELLS, agreement.shape[-1], device=prior.device) * CELL_M
        dx, dy = torch.meshgrid(shifts, shifts, indexing="ij")
        log_prior = -(dx**2 + dy**2) / (2 * position_std[:, None, None] ** 2)
        log_prior = log_prior[:, None] - (steps**2 / 2)[None, :, None, None]
        posterior = (GAIN_PACE * self.gain * agreement + log_prior).flatten(1).softmax(1).view_as(agreement)
        shift = torch.stack([(posterior * dx).sum((1, 2, 3)), (posterior * dy).sum((1, 2, 3))], dim=1)
        yaw = (posterior.sum((2, 3)) * yaws).sum(1)
        moved = prior @ _turn(yaw)
        return rigid(moved[:, :3, :3], moved[:, :3, 3] + functional.pad(shift, (0, 1)))


def _turn(yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 4 4"]:
    return rigid(yaw_matrix(yaw), yaw.new_zeros(*yaw.shape, 3))


def _grid_points(cells: int, device: torch.device) -> Float[Tensor, "points 3"]:
    """Middles of the cells at all heights, in the lidar frame."""
    along = (torch.arange(cells, device=device) + 0.5) * CELL_M - REACH_M
    heights = torch.tensor(HEIGHTS_M, device=device)
    z, x, y = torch.meshgrid(heights, along, along, indexing="ij")
    return torch.stack([x, y, z], dim=-1).view(-1, 3)


def _turned(
    other: Float[Tensor, "pairs channels cells cells"],
    prior: Float[Tensor, "pairs 4 4"],
    yaws: Float[Tensor, "pairs yaws"],
) -> Float[Tensor, "pairs yaws channels cells cells"]:
    """The others' plans as they lie in the first one's frame under each turn, with room to be shifted."""
    pairs, channels, cells, _ = other.shape
    turns = yaws.shape[1]
    first_from_other = prior[:, None] @ _turn(yaws)
    other_from_first = inverse_rigid(first_from_other).flatten(0, 1)
    wide = cells + 2 * SHIFT_CELLS
    along = (torch.arange(wide, device=other.device) + 0.5 - wide / 2) * CELL_M
    x, y = torch.meshgrid(along, along, indexing="ij")
    points = torch.stack([x, y], dim=-1).view(1, -1, 2)
    moved = points @ other_from_first[:, :2, :2].mT + other_from_first[:, None, :2, 3]
    where = (moved / REACH_M).flip(-1).view(pairs * turns, wide, wide, 2)
    repeated = other[:, None].expand(-1, turns, -1, -1, -1).reshape(pairs * turns, channels, cells, cells)
    return functional.grid_sample(repeated, where, align_corners=False).view(pairs, turns, channels, wide, wide)


def _correlation(
    first: Float[Tensor, "pairs channels cells cells"], turned: Float[Tensor, "pairs yaws channels wide wide"]
) -> Float[Tensor, "pairs yaws steps steps"]:
    """Agreement per row of cells under every turn and shift; entry [.., i, j] moves the other by (i, j) steps.

    Moving the other by d compares first(p) with other(p - d), so the largest index of the window is the smallest shift.
    """
    wide, cells, steps = turned.shape[-1], first.shape[-1], 2 * SHIFT_CELLS + 1
    # By Fourier transform: a convolution with so large a kernel would take ten times as long. Nothing wraps around.
    spectrum = torch.fft.rfft2(turned) * torch.fft.rfft2(first, s=(wide, wide)).conj()[:, None]
    product = torch.fft.irfft2(spectrum.sum(2), s=(wide, wide))[..., :steps, :steps]
    agreement = product.flip(-1, -2) / cells
    size = FINE * 2 * SHIFT_CELLS + 1
    return functional.interpolate(agreement, size=(size, size), mode="bicubic", align_corners=True)
