"""Every loss puts a gradient on the parameters that it may reach, on all of them, and on no others."""

from collections.abc import Iterator
from dataclasses import dataclass

from lapo_mm.diagnose.checks.violation import Violation, counted
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record


@dataclass(frozen=True)
class Reach:
    """What a loss puts on the parameters of a module, over all of its backward passes. Full names."""

    reached: tuple[str, ...]
    """Gets a gradient in some pass, be it zero."""
    missed: tuple[str, ...]
    """Gets none in some pass."""
    dead: tuple[str, ...]
    """Is reached, and the gradient is zero in all passes."""
    broken: tuple[str, ...]
    """The gradient is not finite in some pass."""
    norm: float
    """Of the gradient of the whole module, mean over the passes."""


def reach_of(record: Record, loss: str, module: str) -> Reach:
    """How a loss reaches a module."""
    names = record.parameters[module]
    passes = [one.gradients for step in record.steps for one in step.passes if one.loss == loss]
    found = {name: [one[name] for one in passes if one[name] is not None] for name in names}
    norms = [sum(float(one[name].square().sum()) for name in names if one[name] is not None) ** 0.5 for one in passes]
    return Reach(
        reached=tuple(name for name in names if found[name]),
        missed=tuple(name for name in names if len(found[name]) < len(passes)),
        dead=tuple(name for name in names if found[name] and not any(one.any() for one in found[name])),
        broken=tuple(name for name in names if not all(bool(one.isfinite().all()) for one in found[name])),
        norm=sum(norms) / max(1, len(norms)),
    )


def losses_of(record: Record) -> list[str]:
    """Names of all losses that came through `backward`, in the order in which they first did."""
    return list(dict.fromkeys(one.loss for step in record.steps for one in step.passes))


def reach(record: Record, contract: Contract) -> Iterator[Violation]:
    """Losses that were never computed, unknown ones, and the table of loss and module in both directions."""
    found = losses_of(record)
    for loss in found:
        if loss not in contract.reaches:
            yield Violation("reach", "losses", f"some of {', '.join(contract.reaches)}", f"{loss!r}")
    for loss, modules in contract.reaches.items():
        if loss not in found:
            yield Violation("reach", f"{loss} loss", "one in every step", "none")
            continue
        for module in record.parameters:
            yield from _between(record, loss, module, is_declared=within(module, modules))


def _between(record: Record, loss: str, module: str, *, is_declared: bool) -> Iterator[Violation]:
    reach, total = reach_of(record, loss, module), len(record.parameters[module])
    what = f"{loss} loss on {module}"
    if not is_declared:
        if reach.reached:
            yield Violation("reach", what, "no gradient", f"one on {counted(reach.reached, module, total)}")
        return
    if reach.missed:
        yield Violation("reach", what, "a gradient", f"none on {counted(reach.missed, module, total)}")
    if reach.dead:
        yield Violation("reach", what, "a gradient", f"zero on {counted(reach.dead, module, total)}")
    if reach.broken:
        yield Violation("reach", what, "finite gradients", f"others on {counted(reach.broken, module, total)}")
