"""What the watch has noted, as tables: words for people, figures for results.json."""

from collections.abc import Sequence
from dataclasses import dataclass

from drivelab_shared.results import Row
from lapo_mm.diagnose.checks.hygiene import worst_difference
from lapo_mm.diagnose.checks.movement import moved_by
from lapo_mm.diagnose.checks.reach import Reach, losses_of, reach_of
from lapo_mm.diagnose.checks.targets import average_error
from lapo_mm.diagnose.contract import Contract
from lapo_mm.diagnose.request import Answers
from lapo_mm.diagnose.watch import Record


@dataclass(frozen=True)
class Section:
    """One table."""

    name: str
    title: str
    meaning: str
    """How to read it."""
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    rows: Sequence[Row]

    def plain(self) -> str:
        """For a terminal."""
        return f"{self.title}\n{self.meaning}\n\n{aligned(self.header, self.body)}"


def aligned(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A grid of text in columns."""
    lines = [header, *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def ownership_section(record: Record) -> Section:
    """Module by optimizer."""
    body, rows = [], []
    for module, names in record.parameters.items():
        held = {optimizer: len(found.intersection(names)) for optimizer, found in record.held.items()}
        trainable = len(record.trainable.intersection(names))
        holders = [name if count == len(names) else f"{name} ({count})" for name, count in held.items() if count]
        body.append([module, str(len(names)), str(trainable), ", ".join(holders) or "nobody"])
        rows += [Row(module, "tensors", len(names)), Row(module, "tensors that require gradients", trainable)]
        rows += [Row(module, "tensors held", count, at=optimizer) for optimizer, count in held.items()]
    return Section(
        "ownership",
        "Who holds what",
        "Tensors of each module, how many of them require gradients, and the optimizers in whose groups they are.",
        ["module", "tensors", "require gradients", "held by"],
        body,
        rows,
    )


def reach_section(record: Record) -> Section:
    """Module by loss."""
    losses = losses_of(record)
    found = {module: [reach_of(record, loss, module) for loss in losses] for module in record.parameters}
    rows = [
        Row(module, "gradient norm", reach.norm if reach.reached else None, at=loss)
        for module, reaches in found.items()
        for loss, reach in zip(losses, reaches, strict=True)
    ]
    return Section(
        "gradients",
        "Which loss reaches what",
        "Norm of the gradient that each loss alone puts on a module, mean over the steps; none: no path leads there.",
        ["module", *losses],
        [[module, *map(reach_cell, reaches)] for module, reaches in found.items()],
        rows,
    )


def reach_cell(reach: Reach) -> str:
    """`none`, `zero`, or the norm and what is odd about it."""
    if not reach.reached:
        return "none"
    odd = {"not reached": reach.missed, "dead": reach.dead, "not finite": reach.broken}
    remarks = [f"{len(names)} {remark}" for remark, names in odd.items() if names]
    size = "zero" if reach.norm == 0 else f"{reach.norm:.3g}"
    return ", ".join([size, *remarks])


def movement_section(record: Record) -> Section:
    """Module by optimizer."""
    optimizers, body, rows = list(record.held), [], []
    for module, names in record.parameters.items():
        cells = [module]
        for optimizer in optimizers:
            moved, change = moved_by(record, optimizer, module), _relative_change(record, optimizer, module)
            part = "" if len(moved) == len(names) else f", {len(moved)} of {len(names)} tensors"
            cells.append(f"{change:.3g}{part}" if moved else "none")
            rows.append(Row(module, "relative change per step", change, at=optimizer))
        body.append(cells)
    return Section(
        "movement",
        "Which optimizer moves what",
        "Norm of a module's change over its own norm, mean over the steps; none: bit for bit the same after each step.",
        ["module", *optimizers],
        body,
        rows,
    )


def _relative_change(record: Record, optimizer: str, module: str) -> float:
    names, changes = record.parameters[module], []
    for step in record.steps:
        size = sum(float(step.before[name].square().sum()) for name in names) ** 0.5
        for one in step.optimizer_steps:
            if one.optimizer == optimizer:
                changes.append(sum(one.moved.get(name, 0.0) ** 2 for name in names) ** 0.5 / (size or 1.0))
    return sum(changes) / max(1, len(changes))


def hygiene_section(record: Record, contract: Contract) -> Section:
    """Module by the optimizer that moves it."""
    body, rows = [], []
    for module in record.parameters:
        for optimizer in contract.movers(module):
            worst = worst_difference(record, contract, optimizer, module)
            if worst is not None:
                losses = " + ".join(contract.teachers(module))
                body.append([module, optimizer, losses, "exact" if worst.share == 0 else f"off by {worst.share:.3g}"])
                rows.append(Row(module, "difference of .grad [of its norm]", worst.share, at=optimizer))
    return Section(
        "hygiene",
        "What optimizers find in .grad",
        "Against the fresh gradient of the losses on the same batch, over the latter's norm, in the worst step.",
        ["module", "optimizer", "losses", ".grad at its step"],
        body,
        rows,
    )


def targets_section(record: Record, contract: Contract) -> Section:
    """Every slow copy."""
    errors = {slow: average_error(record, slow, fast, contract.tau) for slow, fast in contract.targets.items()}
    return Section(
        "targets",
        "How slow copies follow",
        f"Largest distance from (1 - tau) * slow + tau * fast with tau = {contract.tau:g}; 1e-07 is rounding.",
        ["slow copy", "follows", "largest error"],
        [[slow, fast, f"{errors[slow]:.1e}"] for slow, fast in contract.targets.items()],
        [Row(slow, "largest error", error) for slow, error in errors.items()],
    )


def request_section(answers: Answers) -> Section:
    """The lines of `test_gradient_flow.py`."""
    tick = {True: "yes", False: "NO"}
    return Section(
        "request",
        "What test_gradient_flow.py says",
        "The request's own checks of obs_encoder.image_encoder.conv1.weight around one critic update of the script.",
        ["check", "answer", "what it cannot see"],
        [
            [
                "optimizer configuration right?",
                tick[answers.is_configured],
                "losses, the other modules, modules that were replaced",
            ],
            [
                "gradient reaches the encoder? (method 2)",
                f"{tick[answers.gets_gradient]}, norm {answers.grad_norm:.3g}",
                "whether anybody uses it: it says yes to the request's own bug",
            ],
            [
                "parameters really updated? (method 1)",
                f"{tick[answers.is_updated]}, by {answers.change:.3g}",
                "the training loop, the other losses, optimizers and layers, the targets",
            ],
        ],
        [
            Row("optimizer configuration right?", "yes", int(answers.is_configured)),
            Row("method 2: gradient reaches the encoder?", "yes", int(answers.gets_gradient)),
            Row("method 2: gradient reaches the encoder?", "norm of conv1.weight.grad", answers.grad_norm),
            Row("method 1: parameters really updated?", "yes", int(answers.is_updated)),
            Row("method 1: parameters really updated?", "largest change of conv1.weight", answers.change),
        ],
    )
