"""What a change would have done: short trainings from scratch on the same features, with one thing changed in each.

A few hundred steps on a few hundred samples take half a second, and show whether a collapse stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from drivelab_shared.modules import parameter_groups
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.seeding import keyed_rng, seed_step
from v2x_teacher.config import HeadSettings, TrainSettings
from v2x_teacher.diagnose.sample import FRESH, Sample, Section
from v2x_teacher.metrics import displacement, spread_ratio
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.tables import COLLAPSED

NUM_STEPS = 300
LARGE_BATCH = 32
RECIPE = HeadSettings()
"""Of the recipe that does not collapse."""
AS_TRAINED, TOGETHER = "as this run", "all of these changes together"
CURED = 0.2
"""Spread ratio from which on a collapse is over."""
RATES = {0.1: "a tenth of the learning rate", 10.0: "ten times the learning rate"}


def measure_rehearsals(sample: Sample) -> Section:
    """Loss, spread and error after a short training, by what was changed."""
    sample, rows, found = sample.still, [], {}
    for name, settings in variants(sample.trained.settings).items():
        found[name] = rehearsal = rehearse(sample, settings)
        rows += [
            Row(name, "spread x", rehearsal.spread[0]),
            Row(name, "spread y", rehearsal.spread[1]),
            *(Row(name, f"ADE, {split} [m]", value) for split, value in rehearsal.ade_m.items()),
        ]
    names = {1.0: AS_TRAINED} | RATES
    own = found[AS_TRAINED]
    cure = _cure(found)
    facts = {"progress": {factor: found[name].progress for factor, name in names.items()}, "cure": cure}
    title = f"Rehearsals: {NUM_STEPS} steps from scratch"
    table = sample.table("rehearsals", title, rows, [_conclusion(own, cure)])

    def show(report: Report) -> None:
        report.text(
            f"Trained on the {len(sample.train.rows)} training samples of this diagnosis, with their features as they "
            "are now, in eval mode; spread is that of the predictions for them, in shares of the truth's."
        )

    return Section(table, show, facts)


@dataclass(frozen=True)
class Rehearsal:
    """How a short training ended."""

    progress: float
    """Fall of the loss on all training samples; negative where it rose, NaN where it broke."""
    spread: tuple[float, float]
    """Of the predictions for the training samples."""
    ade_m: Mapping[str, float]
    """By split."""


def variants(settings: TrainSettings) -> dict[str, TrainSettings]:
    """The run's settings, and the same with one change each."""
    head, cured = settings.head, RECIPE
    found = {AS_TRAINED: settings}
    found |= {name: replace(settings, head_lr=factor * settings.head_lr) for factor, name in RATES.items()}
    if not head.standardise_features:
        found["standardised features"] = replace(settings, head=replace(head, standardise_features=True))
    if head.targets != cured.targets:
        found["standardised targets"] = replace(settings, head=replace(head, targets=cured.targets))
    if head.init != cured.init:
        found["PyTorch's initialisation, last layer 0"] = replace(settings, head=replace(head, init=cured.init))
    if head.fusion != cured.fusion:
        found["no fusion layers"] = replace(settings, head=replace(head, fusion=cured.fusion))
    if settings.batch_size * settings.accumulation < LARGE_BATCH:
        found[f"batches of {LARGE_BATCH}"] = replace(settings, batch_size=LARGE_BATCH, accumulation=1)
    if len(found) > 1 + len(RATES):
        parts = {name: getattr(cured, name) for name in ("standardise_features", "targets", "init", "fusion")}
        batch_size = max(LARGE_BATCH, settings.batch_size)
        found[TOGETHER] = replace(settings, head=replace(head, **parts), batch_size=batch_size, accumulation=1)
    return found


def rehearse(sample: Sample, settings: TrainSettings) -> Rehearsal:
    """Train a fresh head for a moment on the training samples of this diagnosis."""
    part, head = sample.train, sample.fresh_head(settings.head)
    start = _loss(sample, head, settings)
    _train(sample, head, settings)
    end = _loss(sample, head, settings)
    predicted = {part.split: sample.predict(head, part) for part in sample.parts}
    x, y = spread_ratio(predicted[part.split], part.truth)
    errors = {other.split: displacement(predicted[other.split], other.truth) for other in sample.parts}
    return Rehearsal(start - end, (float(x), float(y)), {name: float(np.nanmean(e)) for name, e in errors.items()})


def _train(sample: Sample, head: TrajectoryHead, settings: TrainSettings) -> None:
    """`fit` in small: AdamW, clipping and a cosine, no checkpoints and no log."""
    optimizer = torch.optim.AdamW(parameter_groups(head, settings.weight_decay), lr=settings.head_lr)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, NUM_STEPS)
    size = min(settings.batch_size * settings.accumulation, len(sample.train.rows))
    tensors = _tensors(sample)
    head.train()
    for step in range(NUM_STEPS):
        seed_step(settings.seed, step, stream=FRESH)
        batch = torch.from_numpy(keyed_rng(settings.seed, step).choice(len(sample.train.rows), size, replace=False))
        optimizer.zero_grad()
        loss = _loss_of(head, settings, {name: values[batch] for name, values in tensors.items()})
        if not torch.isfinite(loss):
            break
        loss.backward()
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(head.parameters(), settings.clip_norm)
        optimizer.step()
        cosine.step()
    head.eval()


def _tensors(sample: Sample) -> dict[str, Tensor]:
    part = sample.train
    arrays = {"features": part.features, "ego": part.ego, "truth": part.truth, "prior": part.prior}
    return {name: torch.from_numpy(values).to(sample.trained.device) for name, values in arrays.items()}


@torch.no_grad()
def _loss(sample: Sample, head: TrajectoryHead, settings: TrainSettings) -> float:
    head.eval()
    return float(_loss_of(head, settings, _tensors(sample)))


def _loss_of(head: TrajectoryHead, settings: TrainSettings, batch: Mapping[str, Tensor]) -> Tensor:
    answer, chosen = head(batch["features"], batch["ego"]), settings.head
    return head.loss(chosen.loss, answer, batch["truth"], batch["prior"], chosen.loss_beta_m)["loss"]


def _cure(found: Mapping[str, Rehearsal]) -> tuple[str, float] | None:
    """The change that brings the largest spread back, a single one if there is one."""
    spreads = {name: max(rehearsal.spread) for name, rehearsal in found.items()}
    together = spreads.pop(TOGETHER, 0.0)
    if spreads[AS_TRAINED] >= COLLAPSED:
        return None
    best = max(spreads, key=spreads.__getitem__)
    if spreads[best] >= CURED:
        return f"{best} alone", spreads[best]
    return (TOGETHER, together) if together >= CURED else None


def _conclusion(own: Rehearsal, cure: tuple[str, float] | None) -> str:
    if max(own.spread) >= COLLAPSED:
        return "As it was trained, it does not collapse in a rehearsal."
    if cure is None:
        return "It collapses in a rehearsal too, whatever is changed."
    return f"It collapses in a rehearsal too. A spread of {cure[1]:.2f} comes back with {cure[0]}."
