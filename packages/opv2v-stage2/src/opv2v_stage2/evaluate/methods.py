"""What is compared: trained models, and the baselines that every table prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from opv2v_stage2.config import Modality, ModelSettings
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.inference import PER_AGENT, Prediction, predict_samples
from opv2v_stage2.models.compact import CompactModel
from opv2v_stage2.views import Noise, camera_poses, given_poses

BATCH = 4
Predict = Callable[[Store, Sequence[Sample], Noise, tuple[int, ...]], list[Prediction]]


@dataclass(frozen=True, eq=False)
class Method:
    """A row of the tables."""

    name: str
    """Also the name of its folder."""
    modality: str
    """What it is given beside pictures."""
    predict: Predict
    is_baseline: bool = False


def model_method(name: str, model: nn.Module, modality: Modality, device: torch.device) -> Method:
    """A trained model."""

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        return predict_samples(model, store, samples, modality, noise, key, device)

    return Method(name, modality, predict)


def remembered(method: Method) -> Method:
    """The same method, asked once for the same question: another one builds on its answers."""
    answers: dict[tuple, list[Prediction]] = {}

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        question = (tuple(samples), noise, key)
        if question not in answers:
            answers[question] = method.predict(store, samples, noise, key)
        return answers[question]

    return replace(method, predict=predict)


def lidar_scaled(name: str, teacher: Method) -> Method:
    """A model whose depth is multiplied by one number per vehicle, the median of what its lidar says."""

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        scaled = []
        for sample, found in zip(samples, teacher.predict(store, samples, noise, key), strict=True):
            depth = found.depth_z.copy()
            for number, row in enumerate(sample.rows):
                labels, own = store.arrays["labels_z"][row], slice(PER_AGENT * number, PER_AGENT * (number + 1))
                labelled = labels > 0
                if labelled.any():
                    depth[own] *= np.median(labels[labelled] / found.depth_z[own][labelled])
            scaled.append(replace(found, depth_z=depth))
        return scaled

    return Method(name, f"{teacher.modality} + lidar", predict, is_baseline=True)


def flat_ground(settings: ModelSettings, modality: Modality, device: torch.device) -> Method:
    """A plane of ground, a limit to sight, poses as they are given: what the compact model starts from."""
    model = CompactModel(replace(settings, kind="compact", path=None)).to(device).eval()
    inner = model_method("flat_ground", model, modality, device).predict

    def predict(store: Store, samples: Sequence[Sample], noise: Noise, key: tuple[int, ...]) -> list[Prediction]:
        # It has no opinion on the sky; where it is as good as certain, the tables would call it a model.
        found = inner(store, samples, noise, key)
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
