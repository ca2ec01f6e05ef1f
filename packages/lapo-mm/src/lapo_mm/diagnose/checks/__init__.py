"""What a contract says against what a watch has noted: six checks, each in both directions where there are two."""

from lapo_mm.diagnose.checks.hygiene import hygiene
from lapo_mm.diagnose.checks.movement import movement
from lapo_mm.diagnose.checks.ownership import ownership
from lapo_mm.diagnose.checks.reach import reach
from lapo_mm.diagnose.checks.signal import signal
from lapo_mm.diagnose.checks.targets import targets
from lapo_mm.diagnose.checks.violation import Violation
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record

CHECKS = {
    "ownership": ownership,
    "reach": reach,
    "movement": movement,
    "hygiene": hygiene,
    "targets": targets,
    "signal": signal,
}
MIN_STEPS = 3
"""Momentum and what is left in `.grad` show from the second step on."""

__all__ = ["CHECKS", "MIN_STEPS", "Violation", "check"]


def check(record: Record, contract: Contract) -> list[Violation]:
    """Everything in which the notes differ from the contract.

    Raises:
        ValueError: too few steps were watched, or the contract names a module that was not.
    """
    if len(record.steps) < MIN_STEPS and not any(step.failure for step in record.steps):
        raise ValueError(f"record: expected at least {MIN_STEPS} training steps, got {len(record.steps)}")
    _require_names(record, contract)
    return [violation for find in CHECKS.values() for violation in find(record, contract)]


def _require_names(record: Record, contract: Contract) -> None:
    declared = [*contract.moves.values(), *contract.reaches.values(), *contract.erased.values(), contract.senses]
    modules = {name for names in declared for name in names} | {*contract.targets, *contract.targets.values()}
    unknown = [name for name in sorted(modules) if not any(within(module, (name,)) for module in record.parameters)]
    if unknown:
        raise ValueError(f"contract: expected some of {', '.join(record.parameters)}, got {unknown[0]!r}")
