"""CPU time of several ways to do the same, taken in turns so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from drivelab_shared.results import Row
from drivelab_shared.runs import Progress
from drivelab_shared.stats import Interval, bootstrap, group_draws


class Measured(NamedTuple):
    """How much was done in how many seconds of CPU time, all threads of the process together."""

    units: int
    cpu_s: float


Work = Callable[[], Measured]


def timed(work: Callable[[], int]) -> Work:
    """Measure a function from call to return; it returns how many units it did."""

    def measured() -> Measured:
        start = time.process_time()
        units = work()
        return Measured(units, time.process_time() - start)

    return measured


@dataclass(frozen=True, eq=False)
class Timings:
    """[repeats, (units, CPU seconds)] by name. Intervals draw whole repeats anew, the same for all names."""

    by_name: dict[str, np.ndarray]

    def rate(self, name: str) -> Interval:
        """Units per CPU-second."""
        return self._interval(self.by_name[name], lambda sums: sums[..., 0] / sums[..., 1])

    def times(self, name: str, baseline: str) -> Interval:
        """How many times as fast as the baseline, paired by repeat."""
        both = np.concatenate([self.by_name[name], self.by_name[baseline]], axis=1)
        return self._interval(both, lambda s: s[..., 0] / s[..., 1] / (s[..., 2] / s[..., 3]))

    def milliseconds(self, name: str) -> Interval:
        """CPU time of one unit."""
        return self._interval(self.by_name[name], lambda sums: 1000 * sums[..., 1] / sums[..., 0])

    def rows(self, metric: str, baseline: str) -> Iterator[Row]:
        """Rate and ratio of every name."""
        for name in self.by_name:
            yield Row(name, metric, **vars(self.rate(name)))
            if name != baseline:
                yield Row(name, f"times {baseline}", **vars(self.times(name, baseline)))

    def _interval(self, repeats: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
        return bootstrap(repeats[None], statistic, group_draws(len(repeats)))


def interleave(label: str, works: Mapping[str, Work], repeats: int) -> Timings:
    """Do every work once to warm up, then `repeats` times in turns."""
    found: dict[str, list[Measured]] = {name: [] for name in works}
    with Progress(label, repeats + 1) as bar:
        for repeat in range(repeats + 1):
            for name, work in works.items():
                measured = work()
                if repeat:
                    found[name].append(measured)
            bar.update(repeat + 1)
    return Timings({name: np.array(measured, dtype=float) for name, measured in found.items()})
