"""What senses the world answers differently to different observations."""

from collections.abc import Iterator

from lapo_mm.diagnose.checks.violation import Violation
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.watch import Record


def signal(record: Record, contract: Contract) -> Iterator[Violation]:
    """Modules that say the same whatever they see, in every batch: gradients may reach them and teach them nothing."""
    for module in record.parameters:
        answers = [step.differs[module] for step in record.steps if module in step.differs]
        if answers and not any(answers) and within(module, contract.senses):
            yield Violation("signal", f"output of {module}", "differences between samples", "the same for all of them")
