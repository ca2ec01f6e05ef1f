"""Train: data set -> samples -> features of the backbone, once -> trajectory head -> a run folder with a report."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.job import run_job
from drivelab_shared.modules import num_parameters
from drivelab_shared.networks import save_network
from drivelab_shared.runs import Run
from drivelab_shared.seeding import seed_step
from v2x_teacher.config import TrainSettings
from v2x_teacher.data.labels import TIMES_S, implausible
from v2x_teacher.data.make_data import ensure_data
from v2x_teacher.fit import Schedule, fit
from v2x_teacher.inputs import Inputs, in_chunks, open_inputs
from v2x_teacher.metrics import displacement, spread_ratio
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.storage import build_teacher
from v2x_teacher.trained import EGO_MLP, ONE_CAMERA, TEACHER

PACKAGE = "v2x-teacher"
HORIZONS_S = (2.5, 3.5, 4.5)


def train(settings: TrainSettings) -> None:
    """Train as the settings say; the run folder holds everything that the other verbs need.

    Raises:
        UserError: the data or a setting is wrong.
    """
    run_job(
        PACKAGE,
        settings,
        settings.run_dir,
        prepare=lambda: ensure_data(settings.data_dir),
        stages=lambda run, stop: _train_stages(settings, run, stop),
    )


def _train_stages(settings: TrainSettings, run: Run, stop: StopSignal) -> None:
    with run.accelerator.main_process_first():
        inputs = open_inputs(settings, run.accelerator.device)
    run.require("data", inputs.fingerprint, "the data have changed: start a new run")
    impossible = {what: int(which.sum()) for what, which in implausible(inputs.samples).items()}
    run.note(samples=inputs.counts(), forward_axis=inputs.samples.forward_axis, implausible=impossible)
    inputs.rows("val")  # an empty split is refused before anything is learned
    _fit_stage(TEACHER, settings, inputs, run, stop)
    if settings.baselines:
        if inputs.knows_motion:
            _fit_stage(EGO_MLP, settings, inputs.without_pictures(), run, stop)
        if settings.backbone.cameras == "both":
            with run.accelerator.main_process_first():
                alone = inputs.with_cameras("vehicle", run.accelerator.device)
            _fit_stage(ONE_CAMERA, settings, alone, run, stop)
    if run.accelerator.is_main_process and settings.evaluate:
        from v2x_teacher.evaluate import evaluate_run  # here: reports need matplotlib

        evaluate_run(run.folder, run.accelerator.device)
    run.accelerator.wait_for_everyone()


def _fit_stage(stage: str, settings: TrainSettings, inputs: Inputs, run: Run, stop: StopSignal) -> None:
    """Train one network and keep it as models/<stage> of the run."""
    rows, device = inputs.rows("train"), run.accelerator.device
    if settings.accumulation > len(rows):
        expected = f"1 to {len(rows)}, as many as there are training samples"
        raise UserError(f"accumulation: expected {expected}, got {settings.accumulation}")
    seed_step(settings.seed, 0, stream=100)
    steps = inputs.samples.truth.shape[1]
    network = build_teacher(settings.head, *inputs.head_shape(), steps, inputs.num_cameras, inputs.trainable_backbone)
    residual = inputs.samples.truth - inputs.prior
    network.module.head.fit_units(
        _features_for_units(network.module, inputs, rows, device), inputs.samples.ego, residual, rows,
        settings.head.targets, settings.head.target_scale,
    )  # fmt: skip
    learned = _learned(network.module)
    run.accelerator.print(f"{stage}: {_described(learned, inputs)}")
    batch_size = min(settings.batch_size, len(rows) // settings.accumulation)
    num_steps = settings.steps or settings.epochs * (len(rows) // (batch_size * settings.accumulation))
    training = _Training(stage, settings, inputs, rows, run)
    fit(
        run, stop, stage, network.module, training.loss, len(rows), batch_size, Schedule.of(settings, num_steps),
        training.validate, select=settings.select,
    )  # fmt: skip
    network.facts.update(learned_parameters=learned, steps=num_steps, samples=len(rows))
    if run.accelerator.is_main_process:
        save_network(run.folder / "models" / stage, network)
    run.accelerator.wait_for_everyone()


def _learned(teacher: Teacher) -> dict[str, int]:
    """Parameters that learn, by part."""
    parts = {"head": teacher.head} | ({"backbone": teacher.backbone} if teacher.backbone is not None else {})
    return {name: sum(p.numel() for p in part.parameters() if p.requires_grad) for name, part in parts.items()}


def _described(learned: Mapping[str, int], inputs: Inputs) -> str:
    """What learns and what does not, and who decided it."""
    text = ", ".join(f"{count:,} parameters of the {part}" for part, count in learned.items()) + " learn"
    if inputs.backbone is None:
        return f"{text}; it reads the motion alone"
    frozen = num_parameters(inputs.backbone) - learned.get("backbone", 0)
    variable = os.environ.get("FREEZE_BACKBONE", "")
    # Said only where the variable decided: a flag beats it.
    has_decided = variable and (variable.lower() in ("true", "1")) == inputs.settings.freeze_backbone
    decided = f" (FREEZE_BACKBONE={variable})" if has_decided else ""
    return f"{text}; {frozen:,} of the backbone are frozen{decided}"


def _features_for_units(teacher: Teacher, inputs: Inputs, rows: np.ndarray, device: torch.device) -> np.ndarray | None:
    """What the standardiser learns its units from. Of a backbone that learns: its features before the first step."""
    if inputs.features is not None or inputs.cameras is None or not teacher.head.standardises:
        return inputs.features
    features = np.zeros((len(inputs.samples), *inputs.head_shape()), dtype=np.float32)
    teacher.to(device).eval()
    with torch.no_grad():
        for chunk in in_chunks(rows, inputs.settings.backbone.batch_size):
            features[chunk] = teacher.pooled(inputs.backbone_inputs(chunk, device)).float().cpu().numpy()
    return features


@dataclass(eq=False)
class _Training:
    """Loss and validation of one stage."""

    stage: str
    settings: TrainSettings
    inputs: Inputs
    rows: np.ndarray
    run: Run

    def loss(self, network: nn.Module, batch: np.ndarray) -> Mapping[str, Tensor]:
        inputs, device = self.inputs, self.run.accelerator.device
        head = self.run.accelerator.unwrap_model(network).head
        features, ego, truth, prior = inputs.batch(self.rows[batch], device)
        chosen = self.settings.head
        return head.loss(chosen.loss, network(features, ego), truth, prior, chosen.loss_beta_m)

    def validate(self, network: Teacher) -> Mapping[str, float]:
        """Figures in metres on the validation split, and the two lines by which a collapse can be seen."""
        rows = np.flatnonzero(self.inputs.samples.mask("val"))
        truth = self.inputs.samples.truth[rows]
        predicted = self.inputs.method(network, rows, self.run.accelerator.device).trajectories
        errors = displacement(predicted, truth)
        spread = spread_ratio(predicted, truth)
        # Every step of these samples is known: what is not a number here was predicted, and must be seen.
        figures = {"ade_m": float(errors.mean()), "fde_m": float(errors[:, -1].mean())}
        figures |= {f"l2_{h:g}s_m": float(errors[:, round(h * 10) - 1].mean()) for h in HORIZONS_S}
        figures |= {"spread_x": float(spread[0]), "spread_y": float(spread[1])}
        mean = self.inputs.samples.truth[self.rows].mean(axis=0)
        figures["train_mean_ade_m"] = float(displacement(np.broadcast_to(mean, truth.shape), truth).mean())
        if self.stage == TEACHER and self.run.accelerator.is_main_process:
            print(range_line(truth, predicted, figures), file=sys.stderr)
            print(debug_line(truth, predicted, figures), file=sys.stderr)
        return figures


def range_line(truth: np.ndarray, predicted: np.ndarray, figures: Mapping[str, float]) -> str:
    """The request's `[Range]` line, over the whole split and per axis, with the spread that a collapse cannot fake.

    A constant trajectory has nearly the range of the truth; what it lacks is any difference between samples.
    """

    def ranges(values: np.ndarray) -> str:
        low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
        return f"x [{low[0]:.1f}, {high[0]:.1f}] y [{low[1]:.1f}, {high[1]:.1f}]"

    return (
        f"[Range] GT: {ranges(truth)} | Pred: {ranges(predicted)} | "
        f"Spread (1 = as the truth): x {figures['spread_x']:.2f} y {figures['spread_y']:.2f}"
    )


def debug_line(truth: np.ndarray, predicted: np.ndarray, figures: Mapping[str, float]) -> str:
    """The request's `[Debug T=4.5s]` line for the first sample, beside the split's error and what a mean scores."""
    end, ours = truth[0, -1], predicted[0, -1]
    return (
        f"[Debug T={TIMES_S[-1]:.1f}s] GT: [{end[0]:.2f}, {end[1]:.2f}] | Pred: [{ours[0]:.2f}, {ours[1]:.2f}] | "
        f"Error: {np.linalg.norm(end - ours):.2f}m | Val L2 (ADE): {figures['ade_m']:.2f}m, "
        f"train mean: {figures['train_mean_ade_m']:.2f}m"
    )
