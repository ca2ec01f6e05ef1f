"""When the steps of a training began."""

from collections.abc import Sequence
from typing import NamedTuple

from drivelab_shared.timing import Measured


class Tick(NamedTuple):
    """The start of a training step."""

    cpu_s: float
    transitions: int
    """That this step trains on."""


def between(ticks: Sequence[Tick], warm_up: int) -> Measured:
    """What was done from the start of step `warm_up` to the start of the last one."""
    return Measured(sum(tick.transitions for tick in ticks[warm_up:-1]), ticks[-1].cpu_s - ticks[warm_up].cpu_s)
