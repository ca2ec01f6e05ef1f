"""Does the head learn at a sensible pace? Gradients by part, and how far the learning rate can take a weight."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from drivelab_shared.modules import grad_norm
from drivelab_shared.networks import CONFIG, read_description
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.seeding import keyed_rng, seed_step
from v2x_teacher.config import TrainSettings
from v2x_teacher.diagnose.causes import NO_GRADIENT
from v2x_teacher.diagnose.sample import FRESH, Sample, Section, anatomy
from v2x_teacher.fit import Schedule
from v2x_teacher.models.build import build_trainable_backbone
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.storage import FORMAT, load_teacher
from v2x_teacher.trained import TEACHER

NUM_BATCHES = 8
START, END = "start", "end"


def measure_learning(sample: Sample) -> Section:
    """Gradient norms per part before and after training, AdamW's step over the weights, and the reach of a bias."""
    trained = sample.trained
    settings = trained.settings
    trained_network = _as_trained(sample)
    gradients = {START: _gradients(sample, _at_the_start(sample)), END: _gradients(sample, trained_network)}
    rows = [Row(name, f"gradient, {when}", value) for when, found in gradients.items() for name, value in found.items()]
    for name, module in _learning_parts(trained_network):
        rate = settings.backbone_lr if name == BACKBONE else settings.head_lr
        rows.append(Row(name, "AdamW step [%]", 100 * rate / _typical_weight(module)))
    reach, needed = reach_of(settings, _num_steps(sample)), _needed(sample)
    rows.append(Row("bias of an output", "reach [units]", reach))
    rows.append(Row("bias of an output", "needed [units]", needed))
    dead = _dead_part(gradients[END])
    sentences = [
        f"AdamW moves every number by about the learning rate, whatever the gradient: {reach:.3g} target units in "
        f"{_num_steps(sample)} steps, where the mean target is {needed:.3g} away."
    ]
    table = sample.table("learning", "Learning: gradients and the way a weight can go", rows, sentences)

    def show(report: Report) -> None:
        report.text(
            f"Norms of gradients are means over {NUM_BATCHES} batches of training samples, before clipping, in train "
            "mode; start and end are those of the training. AdamW's step is in percent of the typical weight. Reach is "
            "how far a number can move in all steps together, needed how far the mean target is, in target units."
        )

    facts = {"dead_part": dead, "reach": reach, "needed": needed, "head_lr": settings.head_lr}
    return Section(table, show, facts)


BACKBONE = "backbone"


def reach_of(settings: TrainSettings, steps: int) -> float:
    """Sum of the head's learning rates over a training: what AdamW can move a number by when it never turns."""
    schedule = Schedule.of(settings, steps)
    return settings.head_lr * sum(schedule.share_at(step) for step in range(steps))


def _num_steps(sample: Sample) -> int:
    description = read_description(sample.trained.folder / "models" / TEACHER / CONFIG, FORMAT)
    return int(description["facts"]["steps"])


def _needed(sample: Sample) -> float:
    part, head = sample.train, sample.trained.teacher.head
    truth, before = (torch.from_numpy(values).to(sample.trained.device) for values in (part.truth, part.prior))
    return float(head.targets(truth, before).nanmean(dim=0).abs().max())


def _at_the_start(sample: Sample) -> Teacher:
    settings = sample.trained.settings
    network = Teacher(
        sample.fresh_head(settings.head), _backbone(sample), settings.head.pooling, sample.trained.inputs.num_cameras
    )
    return network.to(sample.trained.device)


def _as_trained(sample: Sample) -> Teacher:
    folder = sample.trained.folder / "models" / TEACHER
    return load_teacher(folder, _backbone(sample)).module.to(sample.trained.device)


def _backbone(sample: Sample) -> nn.Module | None:
    """A backbone that learns, fresh: the one of the opened run is frozen."""
    settings = sample.trained.settings
    if sample.trained.inputs.trainable_backbone is None:
        return None
    return build_trainable_backbone(
        settings.backbone, settings.head.pooling, train_vision=settings.train_vision, lora_rank=settings.lora_rank
    )


def _learning_parts(network: Teacher) -> Iterator[tuple[str, nn.Module]]:
    for name, module in anatomy(network.head):
        if any(True for _ in module.parameters()):
            yield name, module
    if network.backbone is not None:
        yield BACKBONE, network.backbone


def _gradients(sample: Sample, network: Teacher) -> dict[str, float]:
    """Mean norm per part over some batches as training would draw them."""
    settings, inputs, head = sample.trained.settings, sample.trained.inputs, network.head
    size = min(settings.batch_size, len(sample.train.rows))
    found: dict[str, list[float]] = {}
    network.train()
    for number in range(NUM_BATCHES):
        rows = np.sort(keyed_rng(settings.seed, number).choice(sample.train.rows, size, replace=False))
        features, ego, truth, before = inputs.batch(rows, sample.trained.device)
        seed_step(settings.seed, number, stream=FRESH)
        network.zero_grad()
        losses = head.loss(settings.head.loss, network(features, ego), truth, before, settings.head.loss_beta_m)
        losses["loss"].backward()
        for name, module in _learning_parts(network):
            found.setdefault(name, []).append(grad_norm(module.parameters()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _typical_weight(module: nn.Module) -> float:
    """Root mean square of what learns."""
    flat = torch.cat([weight.detach().flatten() for weight in module.parameters() if weight.requires_grad])
    return float(flat.square().mean().sqrt())


def _dead_part(gradients: Mapping[str, float]) -> str | None:
    """The last part of the head that has next to no gradient: everything before it has none either."""
    of_head = {name: value for name, value in gradients.items() if name != BACKBONE}
    largest = max(of_head.values())
    dead = [name for name, value in of_head.items() if value <= NO_GRADIENT * largest]
    return dead[-1] if dead else None
