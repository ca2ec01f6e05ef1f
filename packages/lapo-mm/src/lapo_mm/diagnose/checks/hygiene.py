"""What an optimizer finds in `.grad` is the gradient of its losses on this batch, nothing stale, summed or erased."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lapo_mm.diagnose.checks.violation import Violation
from lapo_mm.diagnose.contract import Contract
from lapo_mm.diagnose.watch import OptimizerStep, Record, TrainingStep

TOLERANCE = 1e-4
"""Kernels of GPUs sum in any order."""
ROUNDING = 1e-2
"""Share of a module's gradient that is added to a tensor's own as the measure of a difference: a tensor whose gradients
cancel out consists of rounding."""


@dataclass(frozen=True)
class Difference:
    """Between `.grad` and the fresh gradients, of the tensor in which it is largest."""

    share: float
    """Its norm over that of the fresh gradient; infinite where the module should have none."""
    tensor: str
    step: int
    """Training step, counting from 1."""
    is_empty: bool
    """Whether there was nothing in `.grad`, or zeros."""


def hygiene(record: Record, contract: Contract) -> Iterator[Violation]:
    """Modules on which an optimizer found something else."""
    for optimizer in contract.moves:
        for module in record.parameters:
            if optimizer not in contract.movers(module):
                continue
            worst = worst_difference(record, contract, optimizer, module)
            if worst is not None and not worst.share <= TOLERANCE:
                losses = " + ".join(contract.teachers(module)) or "no loss"
                what, expected = f".grad of {module} when {optimizer} steps", f"the gradient of {losses}"
                found = "nothing" if worst.is_empty else f"one that is off by {worst.share:.3g} times its norm"
                where = f"{worst.tensor.removeprefix(f'{module}.')}, step {worst.step}"
                yield Violation("hygiene", what, expected, f"{found} ({where})")


def worst_difference(record: Record, contract: Contract, optimizer: str, module: str) -> Difference | None:
    """The largest one over all steps and tensors; None where the optimizer took no step."""
    found = [
        difference
        for number, step in enumerate(record.steps, start=1)
        for one in step.optimizer_steps
        if one.optimizer == optimizer
        for difference in _differences(record, contract, step, one, number, module)
    ]
    return max(found, key=lambda one: (math.isnan(one.share), one.share), default=None)


def _differences(
    record: Record, contract: Contract, step: TrainingStep, one: OptimizerStep, number: int, module: str
) -> Iterator[Difference]:
    factor = _clip_factor(record, contract, step, one.optimizer)
    fresh = {name: factor * gradient for name, gradient in _fresh(record, contract, step, module).items()}
    rounding = ROUNDING * _norm(fresh.values())
    for name in record.parameters[module]:
        zero = torch.zeros_like(step.before[name])
        expected, found = (
            zero if gradient is None else gradient for gradient in (fresh.get(name), one.gradients[name])
        )
        off, size = _norm([found - expected]), _norm([expected]) + rounding
        share = off / size if size else math.inf if off else 0.0
        yield Difference(share, name, number, is_empty=not found.any())


def _fresh(record: Record, contract: Contract, step: TrainingStep, module: str) -> Mapping[str, Tensor]:
    """Sum of the fresh gradients of the losses that teach the module, by full name."""
    losses, sums = contract.teachers(module), {}
    for one in step.passes:
        if one.loss in losses:
            for name in record.parameters[module]:
                if (gradient := one.gradients[name]) is not None:
                    sums[name] = sums[name] + gradient if name in sums else gradient
    return sums


def _clip_factor(record: Record, contract: Contract, step: TrainingStep, optimizer: str) -> float:
    """As torch.nn.utils.clip_grad_norm_ over all that the optimizer moves; 1 where nothing is clipped."""
    if (limit := contract.clip_norms.get(optimizer)) is None:
        return 1.0
    modules = [module for module in record.parameters if optimizer in contract.movers(module)]
    fresh = [gradient for module in modules for gradient in _fresh(record, contract, step, module).values()]
    return min(1.0, limit / (_norm(fresh) + 1e-6))


def _norm(tensors: Iterable[Tensor]) -> float:
    return sum(float(tensor.square().sum()) for tensor in tensors) ** 0.5
