"""CPU time of several ways to do the same, taken in turns so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from drivelab_shared.results import Row
from drivelab_shared.runs import Progress
from drivelab_shared.seeding import keyed_rng
from drivelab_shared.stats import Interval

Seconds = Float[np.ndarray, " repeats"]
NUM_DRAWS = 1000


class Clock:
    """CPU seconds by part, all threads of the process together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside under this name."""
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start


Work = Callable[[Clock], None]


def interleave(label: str, works: Mapping[str, Work], repeats: int) -> dict[str, dict[str, Seconds]]:
    """Do every work once to warm up, then `repeats` times in turns. Seconds by work and part."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in works}
    with Progress(label, repeats + 1) as bar:
        for repeat in range(repeats + 1):
            for name, work in works.items():
                clock = Clock()
                work(clock)
                for part, seconds in clock.seconds.items():
                    if repeat:
                        found[name].setdefault(part, []).append(seconds)
            bar.update(repeat + 1)
    return {
        name: {part: np.array(seconds, dtype=float) for part, seconds in parts.items()} for name, parts in found.items()
    }


def total(parts: Mapping[str, Seconds]) -> Seconds:
    """Of all parts, repeat by repeat."""
    return np.sum(list(parts.values()), axis=0)


def median(values: Seconds) -> Interval:
    """Median over repeats; the interval draws repeats anew."""
    drawn = np.median(keyed_rng(len(values)).choice(values, (NUM_DRAWS, len(values))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(values) > 1 else (np.nan, np.nan)
    return Interval(float(np.median(values)), float(low), float(high), len(values))


def row(name: str, metric: str, values: Seconds) -> Row:
    """The median over repeats as a row of results.json."""
    return Row(name, metric, **vars(median(values)))
