"""Poses between vehicles at several noises of GPS: of GPS alone, and of the last model."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import FrameList, ListedFrame
from opv2v_stage2.data.store import Store
from opv2v_stage2.evaluate.chosen import batched, listed_samples
from opv2v_stage2.evaluate.frame_metrics import Moment
from opv2v_stage2.evaluate.methods import Method, gps_poses
from opv2v_stage2.metrics.columns import Value
from opv2v_stage2.metrics.pose import pose_columns
from opv2v_stage2.views import Noise


def poses_over_noise(
    store: Store, frames: FrameList, methods: Sequence[Method], settings: EvaluateSettings
) -> dict[tuple[str, float], list[dict[str, Value]]]:
    """Errors by method and noise (metres, and as many degrees of yaw), a row per frame."""
    listed = listed_samples(store, frames, "coop")
    models = [method for method in methods if not method.is_baseline and method.modality == "gps"][-1:]
    found: dict[tuple[str, float], list[dict[str, Value]]] = {}
    for number, metres in enumerate(settings.pose_noise_m):
        noise = Noise(metres, metres)
        for start, some in batched(listed):
            samples, key = [sample for _, sample in some], (settings.seed, 1, number, start)
            poses = {"GPS": list(gps_poses(store, samples, noise, key))}
            for method in models:
                with torch.no_grad():
                    poses[method.name] = [one.camera_pose for one in method.predict(store, samples, noise, key)]
            for name, predicted in poses.items():
                rows = found.setdefault((name, metres), [])
                for (frame, sample), pose in zip(some, predicted, strict=True):
                    errors = _cross_columns(frame, Moment(store, sample), pose)
                    rows.append({"method": name, "gps_noise_m": metres, **errors})
    return found


def _cross_columns(frame: ListedFrame, moment: Moment, pose: np.ndarray) -> dict[str, Value]:
    columns: Mapping[str, float] = pose_columns(pose, moment.camera_pose, moment.agent_index, moment.rig)
    kept = {name: value for name, value in columns.items() if name.startswith("cross_agent")}
    return {"sequence": frame.sequence, "frame": frame.frame, "baseline_bucket": frame.baseline_bucket, **kept}
