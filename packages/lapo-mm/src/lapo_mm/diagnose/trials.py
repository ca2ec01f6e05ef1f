"""Small networks, broken and correct ones, each judged by the contract of what it was meant to be."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

from drivelab_shared.seeding import seed_step
from lapo_mm.algorithms import Algorithm, build
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.diagnose.checks import CHECKS, MIN_STEPS, Violation, check
from lapo_mm.diagnose.contract import contract_of
from lapo_mm.diagnose.faults import CORRECT, FAULTS, Case
from lapo_mm.diagnose.request import Answers, ask
from lapo_mm.diagnose.steps import random_batch, watched
from lapo_mm.models.shapes import Shapes

SHAPES = Shapes(image=(3, 16, 16), state=6, lidar=(16, 2), action=2)
SETTINGS = TrainSettings(hidden_sizes=(32, 32))
BATCH_SIZE = 32


@dataclass(frozen=True)
class Trial:
    """What came of a case."""

    name: str
    is_faulty: bool
    violations: Sequence[Violation]
    answers: Answers | None
    """Of the request's own checks."""

    @property
    def is_right(self) -> bool:
        """Whether a fault was found, or what is correct left in peace."""
        return self.is_faulty == bool(self.violations)

    @property
    def finders(self) -> list[str]:
        """Checks that found something."""
        return [name for name in CHECKS if any(one.check == name for one in self.violations)]


def try_all(seed: int) -> tuple[list[Trial], float]:
    """All faults, then everything that is correct; and the CPU seconds that it took."""
    batches = noise(seed)  # before the clock starts: with its first optimizer, torch loads its compiler
    start = time.process_time()
    trials = [try_out(f"{n} {case.name}", case, batches, is_faulty=True, seed=seed) for n, case in FAULTS.items()]
    trials += [try_out(case.name, case, batches, is_faulty=False, seed=seed) for case in CORRECT]
    return trials, time.process_time() - start


def noise(seed: int) -> list[Batch]:
    """The batches that all cases are judged on."""
    algorithm = _fresh(SETTINGS, seed)
    return [random_batch(algorithm, BATCH_SIZE, seed, number) for number in range(MIN_STEPS)]


def try_out(name: str, case: Case, batches: Sequence[Batch], *, is_faulty: bool, seed: int) -> Trial:
    """Judge one case: the training by our checks, a second one like it by the request's."""
    settings = dataclasses.replace(SETTINGS, **case.changes)
    contract = dataclasses.replace(contract_of(settings), clip_norms=case.clip_norms)
    violations = check(watched(_injected(settings, case, seed), batches, seed), contract)
    return Trial(name, is_faulty, violations, ask(_injected(settings, case, seed), batches[0], seed))


def _injected(settings: TrainSettings, case: Case, seed: int) -> Algorithm:
    algorithm = _fresh(settings, seed)
    case.inject(algorithm)
    return algorithm


def _fresh(settings: TrainSettings, seed: int) -> Algorithm:
    seed_step(seed, 0)
    algorithm = build(SHAPES, settings)
    algorithm.start_training()
    return algorithm
