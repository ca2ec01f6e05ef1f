"""The compact model: MapAnything's interface on two CPU cores.

    pictures + rays -> stem -> attention within and across pictures -> decoder -> depth over the ground plane
                                                      |-> scale factor
                                       stem maps -> pose search -> where the other vehicles are

It starts as the baseline that knows no picture: a flat ground, a limit to how far one sees, and GPS.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from opv2v_stage2.config import ModelSettings
from opv2v_stage2.geometry import LIDAR_HEIGHT_M
from opv2v_stage2.models.compact.decoder import Decoder
from opv2v_stage2.models.compact.encoder import STEM_CHANNELS, Attention, Stem, position_map
from opv2v_stage2.models.compact.pose_search import PoseSearch
from opv2v_stage2.models.interface import Prediction, View
from opv2v_stage2.rotations import (
    inverse_rigid,
    matrix_of_pose,
    pose_of_matrix,
    rigid,
    rotation_from_vector,
    yaw_matrix,
)

CAMERAS = 4
FARTHEST_M = 40.0
"""Depth before training of what is not ground."""
TYPICAL_SCALE_M = 15.0
"""Scale factor before training: the usual mean distance of labels."""
MOST_CONFIDENT = 20.0
RIG_PACE = 10.0
"""A vehicle whose cameras nobody has measured: how fast their poses are learned, relative to weights."""
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class CompactModel(nn.Module):
    """Depth, validity, scale and poses from the pictures of one or several vehicles.

    All views of a list have the same size, and `agent_index` is the same in all samples of a view.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, inputs = settings.channels, 3 + 3 + 1 + 2
        self.stem = Stem(inputs, channels)
        self.camera_embedding = nn.Embedding(CAMERAS, channels)
        self.agent_embedding = nn.Embedding(2, channels)  # the first vehicle, and every other
        self.attention = Attention(
            channels, settings.layers, settings.heads, checkpointing=settings.gradient_checkpointing
        )
        self.decoder = Decoder(channels, inputs)
        self.scale_head = _zero_headed(channels, 1)
        self.pose_head = _zero_headed(2 * channels, 3)
        self.rig = nn.Parameter(torch.zeros(CAMERAS, 6))
        self.log_focal = nn.Parameter(torch.zeros(()))  # of cameras that nobody has calibrated
        self.pose_search = PoseSearch(STEM_CHANNELS[0]) if settings.pose_search else None

    def forward(self, views: Sequence[View]) -> list[Prediction]:
        """Predictions of all views; see `models.interface`.

        Raises:
            ValueError: a picture's sides are no multiples of 8, or the views do not belong together.
        """
        images = _stacked(views, "img")
        samples, num_views, _, height, width = images.shape
        if height % 8 or width % 8:
            raise ValueError(f"img: expected sides that are multiples of 8, got {height} x {width}")
        agents = [int(view["agent_index"][0]) if "agent_index" in view else 0 for view in views]
        cameras = torch.stack([_camera_index(view, number) for number, view in enumerate(views)], dim=1)
        rig = self._rig(views, cameras)
        intrinsics = self._intrinsics(views, images)
        rays = pixel_rays(intrinsics, height, width)
        knows_rig = all("rig_poses" in view for view in views)
        pixels, prior_depth = _known_pixels(images, rays, rig if knows_rig else None, _given_depth(views, rays))

        half, quarter, eighth = self.stem(pixels)
        tokens = eighth + position_map(*eighth.shape[-2:], eighth.shape[1]).to(eighth)
        tokens = tokens.flatten(2).mT.view(samples, num_views, -1, eighth.shape[1])
        is_other = torch.tensor([min(agent, 1) for agent in agents], device=images.device)
        tokens = tokens + self.camera_embedding(cameras)[:, :, None] + self.agent_embedding(is_other)[None, :, None]
        tokens = self.attention(tokens)
        coarse = tokens.flatten(0, 1).mT.reshape_as(eighth)
        log_depth, validity, confidence = self.decoder(pixels, half, quarter, coarse).unflatten(1, (samples, num_views))

        scale = TYPICAL_SCALE_M * self.scale_head(tokens.mean((1, 2)))[:, 0].exp()
        depth = scale[:, None, None, None] * (log_depth + (prior_depth / TYPICAL_SCALE_M).log()).exp()
        first_from_lidar = self._vehicle_poses(views, agents, tokens, half, intrinsics, rig, (height, width))
        camera_pose = inverse_rigid(rig[:, :1]) @ first_from_lidar @ rig
        return _predictions(rays, depth, camera_pose, scale, confidence, validity)

    @torch.no_grad()
    def infer(self, views: Sequence[View], *, apply_mask: bool = True, **_: Any) -> list[Prediction]:
        """The same in eval mode, with what can be derived. Other switches of MapAnything's mean nothing here."""
        was_training = self.training
        self.eval()
        try:
            predictions = self.forward(views)
        finally:
            self.train(was_training)
        return [_derived(prediction, view, apply_mask) for prediction, view in zip(predictions, views, strict=True)]

    def _intrinsics(self, views: Sequence[View], images: Tensor) -> Float[Tensor, "samples views 3 3"]:
        if all("intrinsics" in view for view in views):
            return _stacked(views, "intrinsics").to(images)
        samples, num_views, _, height, width = images.shape
        focal = width / 2 * self.log_focal.exp()
        matrix = torch.eye(3, device=images.device).repeat(samples, num_views, 1, 1)
        matrix[..., 0, 0], matrix[..., 1, 1] = focal, focal
        matrix[..., 0, 2], matrix[..., 1, 2] = width / 2, height / 2
        return matrix

    def _rig(self, views: Sequence[View], cameras: Tensor) -> Float[Tensor, "samples views 4 4"]:
        """lidar_from_camera: as given, or one that is learned for each camera number."""
        if all("rig_poses" in view for view in views):
            return _stacked(views, "rig_poses").to(self.rig)
        learned = RIG_PACE * self.rig[cameras]
        return rigid(rotation_from_vector(learned[..., :3]), learned[..., 3:])

    def _vehicle_poses(
        self,
        views: Sequence[View],
        agents: Sequence[int],
        tokens: Tensor,
        half: Tensor,
        intrinsics: Tensor,
        rig: Tensor,
        size_px: tuple[int, int],
    ) -> Float[Tensor, "samples views 4 4"]:
        """first_lidar_from_lidar of every view's vehicle."""
        samples, num_views = rig.shape[:2]
        own = torch.eye(4, device=rig.device).repeat(samples, 1, 1)
        by_agent = {agents[0]: own}
        members = {agent: [v for v in range(num_views) if agents[v] == agent] for agent in dict.fromkeys(agents)}
        others = [agent for agent in members if agent != agents[0]]
        has_prior = all("camera_poses" in view for view in views)
        if others and has_prior:
            by_agent |= self._refined(views, members, half, intrinsics, rig, size_px)
        elif others:
            first = tokens[:, members[agents[0]]].mean((1, 2))
            for agent in others:
                seen = torch.cat([first, tokens[:, members[agent]].mean((1, 2))], dim=1)
                by_agent[agent] = _planar(self.pose_head(seen))
        return torch.stack([by_agent[agent] for agent in agents], dim=1)

    def _refined(
        self,
        views: Sequence[View],
        members: Mapping[int, Sequence[int]],
        half: Tensor,
        intrinsics: Tensor,
        rig: Tensor,
        size_px: tuple[int, int],
    ) -> dict[int, Float[Tensor, "samples 4 4"]]:
        """Poses of the other vehicles: as given, or better."""
        samples, num_views = rig.shape[:2]
        given = _stacked(views, "camera_poses").to(rig)
        first, *others = members
        world_from_lidar = {agent: given[:, own[0]] @ inverse_rigid(rig[:, own[0]]) for agent, own in members.items()}
        priors = {agent: inverse_rigid(world_from_lidar[first]) @ world_from_lidar[agent] for agent in others}
        is_even = len({len(own) for own in members.values()}) == 1
        if self.pose_search is None or not is_even or not all("pose_std" in view for view in views):
            return priors
        maps = half.view(samples, num_views, *half.shape[1:])
        plans = {
            agent: self.pose_search.plans(maps[:, own], intrinsics[:, own], rig[:, own], size_px)
            for agent, own in members.items()
        }
        std = {agent: views[own[0]]["pose_std"].to(rig) for agent, own in members.items()}
        refined = {}
        for agent in others:
            metres, degrees = torch.hypot(std[first], std[agent]).clamp(min=1e-3).unbind(1)
            yaw = degrees * (math.pi / 180)
            # The first vehicle's yaw error moves the other one sideways.
            sideways = std[first][:, 1] * (math.pi / 180) * priors[agent][:, :2, 3].norm(dim=1)
            refined[agent] = self.pose_search(
                plans[first], plans[agent], priors[agent], torch.hypot(metres, sideways / math.sqrt(2)), yaw
            )
        return refined


def normalised(images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Colours from 0 to 1 as the `dinov2` norm has them."""
    mean, std = _colour_units(images.device)
    return (images - mean) / std


def _colour_units(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    mean, std = torch.tensor([IMAGE_MEAN, IMAGE_STD], device=device)[..., None, None]
    return mean, std


def _stacked(views: Sequence[View], key: str) -> Tensor:
    return torch.stack([view[key] for view in views], dim=1)


def _given_depth(views: Sequence[View], rays: Tensor) -> Float[Tensor, "samples views height width"]:
    """Metres along the ray where a view has `depth_z`, 0 elsewhere."""
    if not all("depth_z" in view for view in views):
        return torch.zeros_like(rays[..., 0])
    return _stacked(views, "depth_z").to(rays) / rays[..., 2]


def _known_pixels(
    images: Tensor, rays: Tensor, rig: Tensor | None, given_depth: Tensor
) -> tuple[Float[Tensor, "pictures inputs height width"], Float[Tensor, "samples views height width"]]:
    """What the network sees of each pixel, and the depth it starts from, metres along the ray.

    Colours, the ray (in the vehicle's frame where the rig is known), the inverse distance of flat ground, and whether
    and by how much a measured depth differs from the start.
    """
    if rig is None:
        inverse_depth = torch.full_like(given_depth, 1 / TYPICAL_SCALE_M)
    else:
        rays = torch.einsum("svij,svhwj->svhwi", rig[..., :3, :3], rays)
        camera_height = (rig[..., 2, 3] + LIDAR_HEIGHT_M).clamp(min=0.2)[..., None, None]
        inverse_depth = (-rays[..., 2] / camera_height).clamp(min=1 / FARTHEST_M, max=10.0)
    is_given = given_depth > 0
    difference = torch.where(is_given, (given_depth.clamp(min=0.1) * inverse_depth).log(), 0.0)
    known = [
        images,
        rays.movedim(-1, 2),
        *(plane[:, :, None] for plane in (inverse_depth, is_given.to(images), difference)),
    ]
    return torch.cat(known, dim=2).flatten(0, 1), 1 / inverse_depth


def _camera_index(view: View, number: int) -> Tensor:
    given = view.get("camera_index")
    return torch.full((len(view["img"]),), number % CAMERAS, device=view["img"].device) if given is None else given


def pixel_rays(intrinsics: Tensor, height: int, width: int) -> Float[Tensor, "samples views height width 3"]:
    """Unit vectors through the centres of the pixels, camera frame."""
    u = torch.arange(width, device=intrinsics.device) + 0.5
    v = torch.arange(height, device=intrinsics.device) + 0.5
    focal, centre = intrinsics[..., [0, 1], [0, 1]], intrinsics[..., :2, 2]
    x = ((u - centre[..., :1]) / focal[..., :1])[..., None, :].expand(*focal.shape[:-1], height, width)
    y = ((v - centre[..., 1:]) / focal[..., 1:])[..., None].expand_as(x)
    return nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], dim=-1), dim=-1)


def _planar(motion: Float[Tensor, "samples 3"]) -> Float[Tensor, "samples 4 4"]:
    """A pose on the ground from x and y in tens of metres and yaw."""
    return rigid(yaw_matrix(motion[:, 2]), nn.functional.pad(10 * motion[:, :2], (0, 1)))


def _predictions(
    rays: Tensor, depth: Tensor, camera_pose: Tensor, scale: Tensor, confidence: Tensor, validity: Tensor
) -> list[Prediction]:
    points_camera = depth[..., None] * rays
    rotation, translation = camera_pose[..., :3, :3], camera_pose[..., :3, 3]
    points = torch.einsum("svij,svhwj->svhwi", rotation, points_camera) + translation[:, :, None, None]
    quats, trans = pose_of_matrix(camera_pose)
    confident = 1 + (MOST_CONFIDENT - 1) * torch.sigmoid(confidence - 3)
    return [
        {
            "pts3d": points[:, v],
            "pts3d_cam": points_camera[:, v],
            "ray_directions": rays[:, v],
            "depth_along_ray": depth[:, v, ..., None],
            "cam_trans": trans[:, v],
            "cam_quats": quats[:, v],
            "metric_scaling_factor": scale[:, None],
            "conf": confident[:, v],
            "non_ambiguous_mask": validity[:, v] > 0,
            "non_ambiguous_mask_logits": validity[:, v],
        }
        for v in range(rays.shape[1])
    ]


def _derived(prediction: Prediction, view: View, apply_mask: bool) -> Prediction:
    """What `infer` adds; with `apply_mask`, zeros where the prediction is not valid."""
    rays, image = prediction["ray_directions"], view["img"]
    mean, std = _colour_units(image.device)
    height, width = image.shape[-2:]
    derived = prediction | {
        "img_no_norm": (image * std + mean).movedim(1, -1),
        "depth_z": prediction["depth_along_ray"] * rays[..., 2:],
        "intrinsics": view["intrinsics"].to(image) if "intrinsics" in view else _intrinsics_of(rays, height, width),
        "camera_poses": matrix_of_pose(prediction["cam_quats"], prediction["cam_trans"]),
    }
    if apply_mask:
        mask = prediction["non_ambiguous_mask"][..., None]
        derived |= {key: derived[key] * mask for key in ("pts3d", "pts3d_cam", "depth_along_ray", "depth_z")}
        derived["mask"] = mask
    return derived


def _intrinsics_of(
    rays: Float[Tensor, "samples height width 3"], height: int, width: int
) -> Float[Tensor, "samples 3 3"]:
    """The matrix behind rays that the model chose itself: square pixels around the middle."""
    slope = rays[:, 0, -1, 0] / rays[:, 0, -1, 2]
    matrix = torch.eye(3, device=rays.device).repeat(len(rays), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = (width / 2 - 0.5) / slope
    matrix[:, 0, 2], matrix[:, 1, 2] = width / 2, height / 2
    return matrix


def _zero_headed(inputs: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, inputs), nn.GELU(), last)
