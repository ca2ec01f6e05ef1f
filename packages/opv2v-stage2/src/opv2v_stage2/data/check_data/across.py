"""What several agents or splits say about the same thing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from opv2v_stage2.data.check_data.glances import Glance
from opv2v_stage2.data.check_data.problems import Problem
from opv2v_stage2.data.tree import Tree

SAME_PLACE_M = 0.05
OWN_PLACE_M = 1.0


def across_problems(tree: Tree, glances: Mapping[str, Sequence[Glance]]) -> Iterator[Problem]:
    """Leaks between splits, missing files, roadside units, and agents that disagree about the same vehicle.

    Args:
        tree: the data set.
        glances: at its agents, by split.
    """
    yield from _leaks(tree)
    for line in tree.missing:
        if ": no .yaml " not in line:  # an error of each frame already
            source, _, message = line.partition(": ")
            yield Problem("warning", source, message)
    for of_split in glances.values():
        yield from _roadside_units(of_split)
        for at_once in _by_moment(of_split):
            yield from _disagreements(at_once)


def _leaks(tree: Tree) -> Iterator[Problem]:
    """Neighbouring frames of one drive are the same picture to a model."""
    splits: dict[str, list[str]] = defaultdict(list)
    for split, keys in tree.splits.items():
        for scenario in dict.fromkeys(key.scenario for key in keys):
            splits[scenario].append(split)
    for scenario, of in splits.items():
        if len(of) > 1:
            text = f"expected {scenario} in one split, got it in {' and '.join(of)}: a leak"
            yield Problem("error", str(tree.root), text)


def _roadside_units(glances: Sequence[Glance]) -> Iterator[Problem]:
    folders: dict[Path, set[bool | None]] = defaultdict(set)
    for glance in glances:
        if glance.document is not None:
            folders[glance.files.folder].add(glance.document.is_roadside)
    for folder, flags in folders.items():
        is_negative = folder.name.startswith("-")
        if is_negative:
            yield Problem("note", str(folder), "a roadside unit; it is never the main agent")
        if (not is_negative) in flags:
            expected = "RSU: true of a negative id" if is_negative else "a negative id where RSU is true"
            yield Problem("warning", str(folder), f"expected {expected}, got the opposite")


def _by_moment(glances: Sequence[Glance]) -> Iterator[list[Glance]]:
    moments: dict[object, list[Glance]] = defaultdict(list)
    for glance in glances:
        if glance.document is not None:
            moments[glance.files.key].append(glance)
    return iter(moments.values())


def _disagreements(glances: Sequence[Glance]) -> Iterator[Problem]:
    """The same id at one moment is the same vehicle, and an agent's own id is the name of its folder."""
    first: dict[int, tuple[np.ndarray, str]] = {}
    agents = {int(glance.files.folder.name): glance.document.true_ego_pos for glance in glances}
    for glance in glances:
        source = str(glance.files.yaml_path)
        for name, vehicle in glance.document.vehicles.items():
            state = np.concatenate([vehicle.location + vehicle.center, vehicle.extent])
            before, whose = first.setdefault(name, (state, glance.files.folder.name))
            if (off := float(np.abs(state - before).max())) > SAME_PLACE_M:
                text = f"vehicles.{name}: expected the box that agent {whose} has, got one off by {off:.2f} m"
                yield Problem("warning", source, text)
            if name == int(glance.files.folder.name):
                yield Problem("warning", source, f"vehicles.{name}: expected other vehicles, got the agent itself")
            elif name in agents and np.hypot(*(vehicle.location - agents[name][:3])[:2]) > OWN_PLACE_M:
                text = f"vehicles.{name}: expected the place of the agent of that name, got another: ids disagree"
                yield Problem("warning", source, text)
