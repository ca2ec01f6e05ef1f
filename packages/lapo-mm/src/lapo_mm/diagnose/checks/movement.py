"""Every optimizer moves all parameters of its modules, bit for bit, and no others; nobody else moves them."""

from collections.abc import Iterator

from lapo_mm.diagnose.checks.violation import Violation, counted
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record


def moved_by(record: Record, optimizer: str, module: str) -> set[str]:
    """Parameters of a module that an optimizer changed in some step."""
    names = {
        name
        for step in record.steps
        for one in step.optimizer_steps
        if one.optimizer == optimizer
        for name in one.moved
    }
    return names.intersection(record.parameters[module])


def movement(record: Record, contract: Contract) -> Iterator[Violation]:
    """The table of optimizer and module in both directions, and whether steps were taken as they should be."""
    for step in record.steps:
        if step.failure:
            yield Violation("movement", "the training step", "an end without error", step.failure)
    for optimizer in dict.fromkeys([*contract.moves, *record.held]):
        counts = [sum(one.optimizer == optimizer for one in step.optimizer_steps) for step in record.steps]
        if max(counts) > 1:
            yield Violation("movement", optimizer, "one step in a training step", f"{max(counts)}")
        if any(counts):
            yield from _moved(record, contract, optimizer)
        elif optimizer in contract.moves:
            yield Violation("movement", optimizer, "steps", "none")
    yield from _outside(record, contract)


def _moved(record: Record, contract: Contract, optimizer: str) -> Iterator[Violation]:
    for module, names in record.parameters.items():
        expected = names if optimizer in contract.movers(module) else ()
        found = moved_by(record, optimizer, module)
        if len(found) != len(expected):
            what = f"{module} moved by {optimizer}"
            yield Violation("movement", what, *(counted(some, module, len(names)) for some in (expected, found)))


def _outside(record: Record, contract: Contract) -> Iterator[Violation]:
    moved = {name for step in record.steps for name in step.moved_outside}
    for module, names in record.parameters.items():
        found = moved.intersection(names)
        if found and not within(module, contract.targets):
            what = f"{module} moved outside of all optimizers"
            yield Violation("movement", what, "none", counted(found, module, len(names)))
