"""Every parameter is in the optimizer that may move it, and in no other; slow copies are copies."""

from collections.abc import Iterator

from lapo_mm.diagnose.checks.violation import Violation, counted
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record


def ownership(record: Record, contract: Contract) -> Iterator[Violation]:
    """Who holds what, what requires gradients, what shares memory, and the mode of the slow copies."""
    for module, names in record.parameters.items():
        yield from _holders(record, contract, module)
        movers = contract.movers(module)
        if wrong := [name for name in names if (name in record.trainable) != bool(movers)]:
            found = f"{not movers} for {counted(wrong, module, len(names))}"
            yield Violation("ownership", f"requires_grad of {module}", str(bool(movers)), found)
    for optimizer, count in record.strangers.items():
        if count:
            found = f"{count} that belong to none; was one replaced after the optimizer was built?"
            yield Violation("ownership", optimizer, "tensors of the watched modules", found)
    yield from _copies(record, contract)
    yield from _modes(record, contract)


def _holders(record: Record, contract: Contract, module: str) -> Iterator[Violation]:
    names, movers = record.parameters[module], contract.movers(module)
    for optimizer in dict.fromkeys([*record.held, *contract.moves]):
        expected = names if optimizer in movers else ()
        found = [name for name in names if name in record.held.get(optimizer, ())]
        if len(found) != len(expected):
            what = f"{module} in {optimizer}"
            yield Violation("ownership", what, *(counted(some, module, len(names)) for some in (expected, found)))


def _copies(record: Record, contract: Contract) -> Iterator[Violation]:
    """Slow copies that share memory with anything else."""
    owners: dict[int, set[str]] = {}
    tensors = {module: (*names, *record.buffers[module]) for module, names in record.parameters.items()}
    for module, names in tensors.items():
        for name in names:
            owners.setdefault(record.storages.get(name, 0), set()).add(module)
    owners.pop(0, None)  # without memory
    for slow in contract.targets:
        own = [shared for shared in owners.values() if any(within(module, (slow,)) for module in shared)]
        others = {module for shared in own for module in shared if not within(module, (slow,))}
        if others:
            yield Violation("ownership", slow, "memory of its own", f"memory shared with {', '.join(sorted(others))}")


def _modes(record: Record, contract: Contract) -> Iterator[Violation]:
    for module in record.parameters:
        layers = {layer for step in record.steps for layer in step.train_mode.get(module, ())}
        if layers and within(module, contract.targets):
            yield Violation("ownership", module, "eval mode", f"train mode in {', '.join(sorted(layers))}")
