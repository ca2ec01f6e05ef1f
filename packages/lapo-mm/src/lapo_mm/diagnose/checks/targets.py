"""Every slow copy moves by exactly the share tau towards what it follows; buffers are copied."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from lapo_mm.diagnose.checks.violation import Violation
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record, TrainingStep

TOLERANCE = 1e-7
"""Times 1 + |value|: the rounding of a 32-bit average."""

Tensors = Mapping[str, Tensor]


def targets(record: Record, contract: Contract) -> Iterator[Violation]:
    """Slow copies that do something else. What they follow is the network as the step's optimizers left it."""
    for slow, fast in contract.targets.items():
        for number, step in reversed(list(enumerate(record.steps, start=1))):  # they are alike before the first one
            if step.failure:
                continue
            if sentence := _parameters(record, step, slow, fast, contract.tau) or _buffers(record, step, slow, fast):
                expected = f"{contract.tau:g} * {fast} + {1.0 - contract.tau:g} * {slow}, and the buffers of {fast}"
                yield Violation("targets", slow, expected, f"{sentence}, in step {number}")
                break


def average_error(record: Record, slow: str, fast: str, tau: float) -> float:
    """Largest distance of a parameter of the slow copy from what it should be, over all steps; 1e-7 is rounding."""
    steps = [step for step in record.steps if not step.failure]
    return max((_off(record, step, slow, fast, tau, step.after) for step in steps), default=0.0)


def _names(by_module: Mapping[str, tuple[str, ...]], slow: str) -> list[str]:
    return [name for module, names in by_module.items() if within(module, (slow,)) for name in names]


def _parameters(record: Record, step: TrainingStep, slow: str, fast: str, tau: float) -> str:
    """What is wrong with the parameters, or nothing."""
    off = _off(record, step, slow, fast, tau, step.after)
    if off <= TOLERANCE:
        return ""
    if all(step.before[name].equal(step.after[name]) for name in _names(record.parameters, slow)):
        return "no change at all"
    if _off(record, step, slow, fast, 1.0 - tau, step.after) <= TOLERANCE:
        return "the two shares swapped"
    if _off(record, step, slow, fast, tau, step.before) <= TOLERANCE:
        return f"an average with {fast} from before the step"
    return f"a difference of {off:.3g}"


def _off(record: Record, step: TrainingStep, slow: str, fast: str, tau: float, followed: Tensors) -> float:
    """Largest distance from the average of the old slow copy and what it followed, over 1 + |average|."""
    distances = []
    for name in _names(record.parameters, slow):
        old, new = (tensors[name].cpu().double() for tensors in (step.before, step.after))
        average = old + tau * (followed[fast + name.removeprefix(slow)].cpu().double() - old)
        distances.append(((new - average).abs() / (1.0 + average.abs())).max())
    return float(torch.stack(distances).max())  # NaN, unlike Python's max, if there is one


def _buffers(record: Record, step: TrainingStep, slow: str, fast: str) -> str:
    for name in _names(record.buffers, slow):
        if not step.after[name].equal(step.after[fast + name.removeprefix(slow)]):
            return f"other buffers ({name.removeprefix(slow + '.')})"
    return ""
