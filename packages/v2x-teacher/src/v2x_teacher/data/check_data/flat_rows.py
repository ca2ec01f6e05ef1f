"""Where the finished trajectories of a flat folder come from. They say it themselves: some continue each other."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.findings import named
from v2x_teacher.data.labels import NUM_ROWS, RATE_HZ
from v2x_teacher.data.recording import Pair, Problem

JUMP_M = 20.0
"""Between two rows: 720 km/h at 10 Hz. Here a list goes from one drive to another, or over a long hole."""


@dataclass(frozen=True, eq=False)
class RowList:
    """The list of positions that the trajectories are windows of, as far as it can be told."""

    continuing: float
    """Share of trajectories that repeat a piece of the one with the next lower id, row by row."""
    jumping: float
    """Share that jump by more than 20 m from one row to the next."""
    ids_per_row: float
    """Frame ids that one row is on average, where trajectories continue each other without a jump; NaN if unknown."""

    @property
    def are_windows(self) -> bool:
        """Whether they were cut out of one list."""
        return self.continuing > 0.5

    @cached_property
    def sentences(self) -> list[str]:
        """The diagnosis."""
        found = []
        if self.are_windows:
            text = f"{self.continuing:.0%} of the trajectories repeat a piece of the one before them, row by row"
            found.append(f"{text}: they are windows of {NUM_ROWS} rows over one list.")
        if self.jumping:
            text = f"{self.jumping:.0%} of them jump by more than {JUMP_M:g} m from one row to the next"
            found.append(f"{text}: there the list goes on with another drive, or after a hole, and so does the window.")
        if self.are_windows and self.ids_per_row > 1.05:
            seconds = (NUM_ROWS - 1) / RATE_HZ * self.ids_per_row
            text = f"Elsewhere one row is {self.ids_per_row:.2f} frame ids on average, so {NUM_ROWS} rows are about"
            found.append(f"{text} {seconds:.1f} s and not {(NUM_ROWS - 1) / RATE_HZ:g} s.")
        return found


def row_list(evidence: Evidence) -> RowList:
    """Of a flat folder."""
    pairs, rows = evidence.recording.pairs, evidence.recording.row_trajectories
    order = sorted(range(len(pairs)), key=lambda index: _number(pairs[index]))
    jumps = np.linalg.norm(np.diff(rows, axis=1), axis=-1).max(axis=1, initial=0.0) > JUMP_M
    shifts, ids = [], []
    for before, after in itertools.pairwise(order):
        shift = _shift(rows[before], rows[after])
        shifts.append(shift)
        distance = _number(pairs[after])[0] - _number(pairs[before])[0]
        if shift and distance > 0 and not jumps[before] and not jumps[after]:
            ids.append((distance, shift))
    sums = np.sum(ids, axis=0) if ids else (np.nan, np.nan)
    continuing = float(np.mean([shift is not None for shift in shifts])) if shifts else 0.0
    return RowList(continuing, float(jumps.mean()) if len(jumps) else 0.0, float(sums[0] / sums[1]))


def leaking_rows(evidence: Evidence) -> Iterator[Problem]:
    """Trajectories of one split that contain positions of another: windows over the border of the splits."""
    if not evidence.is_flat:
        return
    pairs, rows = evidence.recording.pairs, evidence.recording.row_trajectories
    of_place: dict[bytes, set[str]] = defaultdict(set)
    for pair, trajectory in zip(pairs, rows, strict=True):
        for place in trajectory:
            of_place[place.tobytes()].add(pair.split)
    torn = [
        pair.vehicle_id
        for pair, trajectory in zip(pairs, rows, strict=True)
        if pair.split != "train" and any("train" in of_place[place.tobytes()] for place in trajectory)
    ]
    if torn:
        others = sum(pair.split != "train" for pair in pairs)
        found = f"training positions in {len(torn)} of {others} other trajectories"
        text = f"expected positions of one split only, got {found}"
        source = f"{evidence.recording.root}/ground_truth_trajectories/{torn[0]}.npy"
        yield Problem("warning", source, f"{text}, a leak: {named(torn)}")


def _number(pair: Pair) -> tuple[int, str]:
    name = pair.vehicle_id
    return (int(name) if name.isascii() and name.isdigit() else -1, name)


def _shift(before: Float64[np.ndarray, "rows 2"], after: Float64[np.ndarray, "rows 2"]) -> int | None:
    """How many rows later the second window over the same list starts; None if it is none of the same list."""
    for start in np.flatnonzero((before == after[0]).all(axis=1)):
        if start and np.array_equal(before[start:], after[: len(before) - start]):
            return int(start)
    return None
