"""From raw clouds to filtered ones: one crop for both clouds of a pair, then a vote among predictions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from drivelab_shared.errors import UserError
from opv2v_stage2.clouds.crops import Crop
from opv2v_stage2.clouds.voting import vote
from opv2v_stage2.config import FilterSettings
from opv2v_stage2.filter.cameras import placed, read_cameras
from opv2v_stage2.filter.pairs import Pair


def filtered(pairs: Sequence[Pair], settings: FilterSettings) -> list[Pair]:
    """The same pairs with what is left of their clouds.

    Raises:
        UserError: a camera file is broken, or frames cannot vote.
    """
    cameras = read_cameras(settings.camera_yaml)
    if cameras and len(pairs) > 1:
        _require_places(pairs, "cameras cannot be placed around several clouds")
    result = []
    for pair, survives in zip(pairs, _voted(pairs, settings), strict=True):
        crop = Crop(
            z_min=settings.z_min,
            z_max=settings.z_max,
            radius=settings.radius_max,
            lidars=(np.eye(4),) if settings.lidar_view else (),
            cameras=placed(cameras, pair.predicted.frame),
            min_views=settings.min_visible_views if cameras else 0,
        )
        predicted = pair.predicted.at(survives & crop.keeps(pair.predicted))
        measured = None if pair.measured is None else crop.of(pair.measured)
        result.append(replace(pair, predicted=predicted, measured=measured))
    return result


def _voted(pairs: Sequence[Pair], settings: FilterSettings) -> list[Bool[np.ndarray, " points"]]:
    """Which predicted points survive the vote of their scenario's frames."""
    kept = [np.ones(len(pair.predicted), dtype=bool) for pair in pairs]
    if settings.vote_min_frames == 1:
        return kept
    _require_places(pairs, "frames cannot vote")
    scenarios = [pair.predicted.frame.scenario for pair in pairs]
    for scenario in dict.fromkeys(scenarios):
        members = [index for index, name in enumerate(scenarios) if name == scenario]
        if len(members) < settings.vote_min_frames:
            found = f"{len(members)} of scenario {scenario or 'without a name'}"
            raise UserError(f"vote_min_frames: expected at least {settings.vote_min_frames} frames, got {found}")
        clouds = [pairs[index].predicted for index in members]
        for index, survives in zip(members, vote(clouds, settings.vote_voxel, settings.vote_min_frames), strict=True):
            kept[index] = survives
    return kept


def _require_places(pairs: Sequence[Pair], otherwise: str) -> None:
    for pair in pairs:
        if pair.predicted.frame.world_from_cloud is None:
            raise UserError(f"{pair.path}: expected a sidecar with world_from_cloud, got none: {otherwise}")
