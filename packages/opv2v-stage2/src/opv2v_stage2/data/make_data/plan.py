"""Which scenarios there are, what each is called, and what is special about some of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from drivelab_shared.seeding import keyed_rng
from opv2v_stage2.config import MakeDataSettings

SPLITS = ("train", "validate", "test")
KINDS = ("straight", "crossing", "bend", "crossing", "straight", "bend", "motorway", "crossing")
"""In turn over the scenarios of a split."""
RATE_HZ = 10

WORST = "2021_08_18_19_48_05"
"""First of test: a motorway 600 m from the origin, two vehicles 50 m apart, and a frame 000340."""
WORST_AGENTS, WORST_FRAME = (1045, 1054), 340
HOLE = "2021_09_09_13_20_58"
"""Second of train: nobody has pictures of camera 3."""
ROADSIDE_NUMBER = 2
"""Third of train: a roadside unit is there, too."""
FIRST_START = datetime(2021, 8, 15, 22, 10, 7)
BETWEEN_STARTS = timedelta(hours=1, minutes=7, seconds=13)
DISTANCES_M = ((0.0, 0.3, 0.7, 0.95, 1.0), (6.0, 15.0, 30.0, 55.0, 85.0))
"""Between the first two vehicles: quantiles, and the distances there."""


@dataclass(frozen=True)
class Scenario:
    """What is fixed before a street is built."""

    split: str
    number: int
    """Within its split."""
    seed: int
    name: str
    kind: Literal["straight", "crossing", "bend", "motorway"]
    frames: tuple[str, ...]
    times_s: tuple[float, ...]
    """Of the frames; 0 is the middle of the recording."""
    num_agents: int
    """Vehicles that record."""
    distance_m: float
    """Between the first two of them, at about the middle of the recording."""
    missing_cameras: tuple[int, ...] = ()
    has_roadside: bool = False

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return self.times_s[-1] - self.times_s[0]

    @property
    def is_worst(self) -> bool:
        """The motorway scenario with vehicles 1045 and 1054."""
        return self.name == WORST

    def rng(self, *stream: int) -> np.random.Generator:
        """Random numbers of this scenario; every use has a stream of its own."""
        return keyed_rng(self.seed, SPLITS.index(self.split), self.number, *stream)


def plan_scenarios(settings: MakeDataSettings) -> list[Scenario]:
    """All scenarios, split by split."""
    counts = zip(SPLITS, settings.num_scenarios, strict=True)
    return [_scenario(settings, split, number) for split, count in counts for number in range(count)]


def _scenario(settings: MakeDataSettings, split: str, number: int) -> Scenario:
    rng = keyed_rng(settings.seed, SPLITS.index(split), number, 0)
    is_worst, is_hole = (split, number) == ("test", 0), (split, number) == ("train", 1)
    first = WORST_FRAME if is_worst else 2 * int(rng.integers(30, 100))
    steps = settings.frame_step * np.arange(settings.num_frames)
    # A golden ratio apart, so that few scenarios, too, cover all distances.
    quantile = (number * 0.618 + 0.35 + 0.2 * SPLITS.index(split)) % 1
    start = FIRST_START + (len(SPLITS) * number + SPLITS.index(split)) * BETWEEN_STARTS
    return Scenario(
        split=split,
        number=number,
        seed=settings.seed,
        name=WORST if is_worst else HOLE if is_hole else start.strftime("%Y_%m_%d_%H_%M_%S"),
        kind="motorway" if is_worst else KINDS[number % len(KINDS)],
        frames=tuple(f"{first + step:06d}" for step in steps),
        times_s=tuple(float(time_s) for time_s in (steps - steps[-1] / 2) / RATE_HZ),
        num_agents=2 if is_worst else 2 + number % 2,
        distance_m=50.0 if is_worst else float(np.interp(quantile, *DISTANCES_M)),
        missing_cameras=(3,) if is_hole else (),
        has_roadside=(split, number) == ("train", ROADSIDE_NUMBER),
    )
