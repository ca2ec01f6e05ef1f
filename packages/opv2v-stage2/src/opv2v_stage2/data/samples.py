"""Which agents of a moment belong together: one vehicle, or a main vehicle and its nearest. Cars are never mixed."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from opv2v_stage2.data.recording import FrameKey, is_roadside
from opv2v_stage2.data.store import Store

CURRICULUM_M = (15.0, 30.0, 60.0)
"""Distances up to which vehicles cooperate in the first three steps of the curriculum; then all do."""


@dataclass(frozen=True)
class Sample:
    """Agents of one moment."""

    key: FrameKey
    rows: tuple[int, ...]
    """Of the store; the main vehicle first."""
    distance_m: float
    """From the main vehicle to the farthest of the others, on the ground; 0 without others."""


def single_samples(store: Store) -> list[Sample]:
    """Every vehicle alone. Roadside units, whose height above the ground nobody knows, are left out."""
    return [Sample(key, (row,), 0.0) for row, key in enumerate(store.keys) if not is_roadside(store.agents[row])]


def coop_samples(store: Store, num_agents: int) -> list[Sample]:
    """Every vehicle with its nearest ones, where there are enough of them."""
    samples = []
    for key, by_agent in store.rows_of.items():
        rows = [row for agent, row in by_agent.items() if not is_roadside(agent)]
        for main in rows:
            others = sorted((row for row in rows if row != main), key=lambda row: _apart(store, main, row))
            chosen = tuple(others[: num_agents - 1])
            if len(chosen) == num_agents - 1:
                samples.append(Sample(key, (main, *chosen), max(_apart(store, main, row) for row in chosen)))
    return samples


def sample_of(store: Store, key: FrameKey, agents: tuple[str, ...]) -> Sample:
    """The agents as named, the main one first.

    Raises:
        KeyError: the moment lacks one.
    """
    rows = tuple(store.rows_of[key][agent] for agent in agents)
    return Sample(key, rows, max((_apart(store, rows[0], other) for other in rows[1:]), default=0.0))


def curriculum(samples: list[Sample], steps: int) -> list[tuple[int, list[Sample]]]:
    """(first step, samples) of each phase: near vehicles at first, all of them from half-way on."""
    starts = [round(steps * share) for share in (0, 1 / 6, 2 / 6, 3 / 6)]
    pools = [[sample for sample in samples if sample.distance_m <= reach] for reach in CURRICULUM_M] + [samples]
    phases = []
    for start, pool in zip(starts, pools, strict=True):
        if len(pool) >= max(1, len(samples) // 4):  # too few near ones would be learned by heart
            phases.append((start if phases else 0, pool))
    return [phase for phase, after in pairwise([*phases, (steps + 1, [])]) if phase[0] < after[0]]


def _apart(store: Store, first: int, other: int) -> float:
    return float(np.linalg.norm(store.positions[first] - store.positions[other]))
