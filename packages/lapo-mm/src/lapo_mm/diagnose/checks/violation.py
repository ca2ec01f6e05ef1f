"""What a check finds, in a sentence."""

from collections.abc import Collection
from dataclasses import dataclass

NUM_NAMES = 3
"""Tensors named in a sentence; the others are counted."""


@dataclass(frozen=True)
class Violation:
    """One difference between what a contract says and what happened."""

    check: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}: expected {self.expected}, got {self.found}"


def counted(found: Collection[str], module: str, total: int) -> str:
    """`none`, `all 8 tensors`, or `2 of 8 tensors (conv1.weight, conv1.bias)`; `found` are full names."""
    if not found:
        return "none"
    if len(found) == total:
        return f"all {total} tensors" if total > 1 else "its tensor"
    named = [name.removeprefix(f"{module}.") for name in sorted(found)]
    others = [f"{len(named) - NUM_NAMES} more"] if len(named) > NUM_NAMES else []
    return f"{len(found)} of {total} tensors ({', '.join([*named[:NUM_NAMES], *others])})"
