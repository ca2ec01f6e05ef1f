"""What is compared: trained models, and the baselines that every table prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from opv2v_stage2.config import Modality, ModelSettings
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.inference import PER_AGENT, Prediction, predict_samples
from opv2v_stage2.models.compact import CompactModel
from opv2v_stage2.views import Noise, camera_poses, given_poses

Predict = Callable[[Store, Sequence[Sample], Noise, tuple[int, ...]], list[Prediction]]
Refine = Callable[[Store, Sequence[Sample], list[Prediction]], list[Prediction]]


@dataclass(frozen=True, eq=False)
class Method:
    """A row of the tables. It predicts, or refines what its source has predicted."""

    name: str
    """Also the name of its folder."""
    modality: str
    """What it is given beside pictures."""
    predict: Predict | None = None
    refine: Refine | None = None
    source: str = ""
    """Name of the method that is refined."""
    is_baseline: bool = False
    folder: Path | None = None
    """Of the model."""


def model_method(name: str, model: nn.Module, modality: Modality, device: torch.device, folder: Path | None) -> Method:
    """A trained model."""

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        return predict_samples(model, store, samples, modality, noise, key, device)

    return Method(name, modality, predict, folder=folder)


def lidar_scaled(source: Method) -> Method:
    """A model whose depth is multiplied by one number per vehicle, the median of what its lidar says."""

    def refine(store: Store, samples: Sequence[Sample], predictions: list[Prediction]) -> list[Prediction]:
        scaled = []
        for sample, found in zip(samples, predictions, strict=True):
            depth = found.depth_z.copy()
            for number, row in enumerate(sample.rows):
                labels, own = store.arrays["labels_z"][row], slice(PER_AGENT * number, PER_AGENT * (number + 1))
                labelled = labels > 0
                if labelled.any():
                    depth[own] *= np.median(labels[labelled] / found.depth_z[own][labelled])
            scaled.append(replace(found, depth_z=depth))
        return scaled

    name, modality = f"{source.name}_lidar_scaled", f"{source.modality} + lidar"
    return Method(name, modality, refine=refine, source=source.name, is_baseline=True)


def flat_ground(settings: ModelSettings, modality: Modality, device: torch.device) -> Method:
    """A plane of ground, a limit to sight, poses as they are given: what the compact model starts from."""
    model = CompactModel(replace(settings, kind="compact", path=None)).to(device).eval()
    inner = model_method("flat_ground", model, modality, device, None).predict

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        found = inner(store, samples, noise, key)
        # It has no opinion on the sky, and none on scale.
        return [replace(one, validity=np.ones_like(one.validity), scale=float("nan")) for one in found]

    return Method("flat_ground", modality, predict, is_baseline=True)


def oracle(*, dense: bool) -> Method:
    """True poses and labels through the same pipeline: the floor of every metric. Dense, where the data know it."""
    name = "dense_oracle" if dense else "oracle"

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        found = []
        for sample in samples:
            depth = _flat(store.arrays["dense_z" if dense else "labels_z"][list(sample.rows)])
            known = np.isfinite(depth) & (depth > 0)
            pose = _flat(camera_poses(store, np.array([sample.rows])))[0]
            found.append(
                Prediction(np.where(known, depth, 1.0).astype(np.float32), known.astype(np.float32), pose, np.nan)
            )
        return found

    return Method(name, "truth", predict, is_baseline=True)


def gps_poses(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> np.ndarray:
    """first_camera_from_camera [samples, views, 4, 4] as GPS and the rig have it, and as a model is told."""
    given = given_poses(store, np.array([sample.rows for sample in samples]), "gps", noise, key)
    given = given.reshape(len(samples), -1, 4, 4)
    return np.linalg.inv(given[:, :1]) @ given


def _flat(array: np.ndarray) -> np.ndarray:
    """[agents, 4, ...] or [1, agents, 4, 4, 4] with agents and cameras as one axis of views."""
    return array.reshape(1, -1, 4, 4) if array.ndim == 5 else array.reshape(-1, *array.shape[2:])
