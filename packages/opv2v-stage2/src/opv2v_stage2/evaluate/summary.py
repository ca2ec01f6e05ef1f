"""summary_<split>.json: means of every column, and what they were measured on and with."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from drivelab_shared.networks import WEIGHTS
from drivelab_shared.origin import command_line, commit, machine
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import FrameList, hash_v2
from opv2v_stage2.evaluate.chosen import effective_modality
from opv2v_stage2.evaluate.methods import Method
from opv2v_stage2.metrics.columns import TEXTS, Value
from opv2v_stage2.metrics.scale import mult_err
from opv2v_stage2.trained import TrainedRun


def summary(
    frames: FrameList,
    rows: Mapping[tuple[str, str], list[dict[str, Value]]],
    methods: Sequence[Method],
    settings: EvaluateSettings,
    trained: TrainedRun,
) -> dict[str, Any]:
    """The document, in the request's form."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for (method, mode), found in rows.items():
        metrics.setdefault(method, {})[mode] = {f"{name}_mean": value for name, value in means(found).items()}
    return {
        "split": settings.split,
        "frames": [f"{frame.sequence}/{frame.frame}" for frame in frames.frames],
        "metrics": metrics,
        "model_paths": {method.name: str(method.folder) for method in methods if method.folder is not None},
        "meta": {
            "hash_v2": hash_v2(frames.frames),
            "pair_policy": frames.pair_policy,
            "seed": settings.seed,
            "modality": effective_modality(trained, settings),
            "keep_camera_poses": settings.keep_camera_poses,
            "keep_main_agent_poses": settings.keep_main_agent_poses,
            "gps_noise_m": settings.table_noise_m,
            "height_window_m": [settings.pc_filter_z_min, settings.pc_filter_z_max],
            "height_window_frame": "above the ground",
            "weights": {
                method.name: hashlib.sha256((method.folder / WEIGHTS).read_bytes()).hexdigest()
                for method in methods
                if method.folder is not None
            },
            "commit": commit(),
            "command": command_line(),
            "machine": machine(settings.threads),
            "torch": torch.__version__,
        },
    }


def means(rows: list[dict[str, Value]]) -> dict[str, float]:
    """Of every numeric column, over the frames in which it is defined; and the multiplicative errors of scale."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in TEXTS))
    found = {}
    for name in names:
        values = np.array([row[name] for row in rows if row.get(name) is not None], np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            found[name] = float(values.mean())
            if name.endswith("scale_to_gt_log_err"):
                found["scale_to_gt_mult_err"] = mult_err(values, "legacy")
                found["scale_to_gt_mult_err_geometric"] = mult_err(values)
            if name == "scale_eff_log_err":
                found["scale_eff_mult_err"] = mult_err(values)
    return found
