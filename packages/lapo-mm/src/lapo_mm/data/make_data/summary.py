"""What `make-data` prints: how much there is, how good it is, and what it took."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lapo_mm.data.episodes import Episode, References


class Tally:
    """Counts episodes as they pass by. `modes` are the names of the numbers in `infos["mode"]`, if there are any."""

    def __init__(self, modes: Sequence[str] = ()) -> None:
        self._modes = modes
        self._steps_by_mode = np.zeros(len(modes), np.int64)
        self._returns: list[float] = []
        self._num_steps = 0
        self._start_s = cpu_seconds()

    def over(self, episodes: Iterable[Episode]) -> Iterator[Episode]:
        """The same episodes."""
        for episode in episodes:
            self._returns.append(float(episode.rewards.sum()))
            self._num_steps += len(episode)
            if self._modes:
                self._steps_by_mode += np.bincount(episode.infos["mode"][:-1], minlength=len(self._modes))
            yield episode

    def text(self, folder: Path, references: References | None) -> str:
        """The folder, and what is known of all episodes together."""
        returns = np.array(self._returns)
        megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        lines = [
            f"{folder}: {len(returns)} episodes, {self._num_steps} steps, {megabytes:.1f} MB, "
            f"{cpu_seconds() - self._start_s:.0f} CPU-s",
            f"return: mean {returns.mean():.2f}, from {returns.min():.2f} to {returns.max():.2f}",
        ]
        if references is not None:
            scores = references.score(returns)
            low, middle, high = np.quantile(scores, [0.1, 0.5, 0.9])
            lines.append(
                f"score: mean {scores.mean():.1f}, quantiles 10/50/90 % {low:.1f} / {middle:.1f} / {high:.1f}; "
                f"0 is a return of {references.random:.2f}, 100 of {references.expert:.2f} ({references.source})"
            )
        if self._modes:
            shares = self._steps_by_mode / self._num_steps
            lines.append(
                "modes: " + ", ".join(f"{name} {share:.1%}" for name, share in zip(self._modes, shares, strict=True))
            )
        return "\n".join(lines)


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
