"""Figures that are logged while a model learns: a look at the validation split, not the evaluation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from opv2v_stage2.config import TrainSettings
from opv2v_stage2.data.samples import coop_samples, single_samples
from opv2v_stage2.data.store import Store
from opv2v_stage2.losses.targets import Targets
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.views import Noise, make_targets, make_views

MOST_SAMPLES = 24
BATCH = 4
NOISE = Noise(1.0, 1.0)
"""Of GPS, at which poses are looked at."""
KEY = 7


def validation(
    store: Store | None, settings: TrainSettings, device: torch.device, *, coop: bool
) -> Callable[[nn.Module], Mapping[str, float]]:
    """A function that measures a model on the same samples each time; of nothing where there is no split.

    Its figures: `depth_mae_m` and `abs_rel` at lidar labels, `scale_error` (how many times off the size of the cloud
    is), `validity` (mean), and with several vehicles `cross_m` and `gps_cross_m`, by how much the distance vector
    between vehicles is off, predicted and as GPS has it.
    """
    if store is None:
        return lambda _: {}
    samples = coop_samples(store, settings.num_agents) if coop else single_samples(store)
    samples = samples[:: max(1, len(samples) // MOST_SAMPLES)][:MOST_SAMPLES]

    def measure(model: nn.Module) -> Mapping[str, float]:
        found: list[dict[str, float]] = []
        for start in range(0, len(samples), BATCH):
            arguments = (store, samples[start : start + BATCH], settings.modality, NOISE, (KEY, start), device)
            targets = make_targets(*arguments, dense=False)
            seen = Reconstruction.of(model.infer(make_views(*arguments), apply_mask=False))
            found.append(_figures(seen, targets))
        return {name: float(np.mean([figures[name] for figures in found])) for name in (found[0] if found else ())}

    return measure


def _figures(seen: Reconstruction, targets: Targets) -> dict[str, float]:
    labelled = targets.depth_z > 0
    predicted, truth = seen.depth_z[labelled], targets.depth_z[labelled]
    per_vehicle = 4
    size = [
        (depth * labelled).unflatten(1, (-1, per_vehicle)).sum((2, 3, 4)) for depth in (seen.depth_z, targets.depth_z)
    ]
    figures = {
        "depth_mae_m": (predicted - truth).abs().mean(),
        "abs_rel": ((predicted - truth).abs() / truth).mean(),
        "scale_error": (size[0] / size[1]).log().abs().mean().exp(),
        "validity": seen.validity_logits.sigmoid().mean(),
    }
    if targets.agent_index.max() > 0:
        figures["cross_m"] = _apart(seen.camera_pose, targets.camera_pose)
        if targets.prior_pose is not None:
            figures["gps_cross_m"] = _apart(targets.prior_pose, targets.camera_pose)
    return {name: float(value) for name, value in figures.items()}


def _apart(pose: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Between the front cameras of the first two vehicles, metres."""
    return (pose[:, 4, :3, 3] - truth[:, 4, :3, 3]).norm(dim=1).mean()
