"""Where stage 2 knows sky from. The absence of a lidar return says nothing: it may have been lost, or out of view."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.models.compact import pixel_rays
from opv2v_stage2.views import flat_views

CERTAIN = 0.2
"""A teacher that holds a pixel for less valid than this is believed."""
BLUER = 0.06
"""By how much blue exceeds red in a clear sky, of 1."""
BRIGHT = 0.85


def negatives(
    source: str, store: Store, samples: list[Sample], teacher: TeacherTargets | None, device: torch.device
) -> Bool[Tensor, "samples views height width"]:
    """Pixels that are sky, as `LossSettings.negatives` says who knows."""
    rows = np.array([sample.rows for sample in samples])
    if source == "truth":
        return torch.isinf(flat_views(store.arrays["dense_z"][rows], device))
    if source == "teacher" and teacher is not None:
        return teacher.validity < CERTAIN
    images = flat_views(store.arrays["images"][rows], device) / 255
    rig, intrinsics = (flat_views(store.arrays[name][rows], device) for name in ("rig", "intrinsics"))
    return sky_by_colour(images, rig, intrinsics)


def sky_by_colour(
    images: Float[Tensor, "samples views height width 3"],
    rig: Float[Tensor, "samples views 4 4"],
    intrinsics: Float[Tensor, "samples views 3 3"],
) -> Bool[Tensor, "samples views height width"]:
    """Bluish or very bright pixels above the horizon. White walls are taken for sky, too.

    Args:
        images: colours from 0 to 1.
        rig: lidar_from_camera.
        intrinsics: pixels.
    """
    rays = pixel_rays(intrinsics, *images.shape[2:4])
    is_above = torch.einsum("svj,svhwj->svhw", rig[..., 2, :3], rays) > 0.02
    is_blue = images[..., 2] > images[..., 0] + BLUER
    is_bright = images.amin(-1) > BRIGHT
    return is_above & (is_blue | is_bright)
