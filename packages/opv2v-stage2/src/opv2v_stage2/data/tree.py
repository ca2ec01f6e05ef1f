"""A data set in the layout of OPV2V or V2XSet, on disk."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from drivelab_shared.errors import UserError, nearest
from drivelab_shared.workers import in_processes
from opv2v_stage2.data.agent_files import AgentFiles, read_agent, read_lidar
from opv2v_stage2.data.agent_yaml import read_agent_yaml
from opv2v_stage2.data.contradictions import contradictions
from opv2v_stage2.data.listing import absences, list_files
from opv2v_stage2.data.pictures import is_worth_decoding, read_picture
from opv2v_stage2.data.recording import AgentFrame, FrameKey

Result = TypeVar("Result")
WORTH_A_PROCESS = 64
"""Files of that many agents take longer to read than a process to start."""

__all__ = ["Tree", "index_tree", "open_tree", "read_lidar"]


@dataclass(frozen=True, eq=False)
class Tree:
    """Which agents recorded what, by moment."""

    root: Path
    """As the user gave it."""
    files: Mapping[str, Mapping[FrameKey, Mapping[str, AgentFiles]]]
    """By split, moment and agent, each in order: agents by number, vehicles before roadside units."""
    missing: tuple[str, ...]
    """What is not there, one line for each kind and place."""
    left_out: tuple[str, ...]
    """What is there and cannot be used, one line for each file; empty unless the user asked to go on without."""
    fingerprint: str
    """Of names and sizes of all files, and of what is left out."""

    @cached_property
    def splits(self) -> dict[str, list[FrameKey]]:
        """Sorted moments of each split."""
        return {split: list(moments) for split, moments in self.files.items()}

    def agents(self, split: str, key: FrameKey) -> tuple[str, ...]:
        """Who recorded a moment: vehicles by number, then roadside units."""
        return tuple(self._of(split, key))

    def read(self, split: str, key: FrameKey, agent: str) -> AgentFrame:
        """What an agent recorded at a moment.

        Raises:
            UserError: there is no such thing, or a file is broken.
        """
        agents = self._of(split, key)
        if agent not in agents:
            expected = f"expected one of the agents {', '.join(agents)}"
            raise UserError(f"{self.root}: {split}/{key}: {expected}, got {agent!r}")
        return read_agent(agents[agent])

    def _of(self, split: str, key: FrameKey) -> Mapping[str, AgentFiles]:
        moments = self.files.get(split, {})
        if key not in moments:
            hint = nearest(str(key), map(str, moments))
            raise UserError(f"{self.root}: expected a frame of {split}, got {str(key)!r}{hint}")
        return moments[key]


def open_tree(data_dir: Path, *, skip_invalid: bool = False) -> Tree:
    """The data set below a root with train, validate, test; below one of these; or in one scenario (split `test`).

    Args:
        data_dir: the folder.
        skip_invalid: read every file now, and leave out the agents whose files are missing or broken.

    Raises:
        UserError: there is nothing, or an agent has no YAML and skip_invalid is off.
    """
    tree = index_tree(data_dir)
    if skip_invalid:
        return _without_invalid(tree)
    without = [files.yaml_path for files in all_files(tree) if not files.has_yaml]
    if without:
        others = f"and {len(without) - 1} more like it; " if len(without) > 1 else ""
        raise UserError(f"{without[0]}: expected this file, got none; {others}check-data lists all that is missing")
    return tree


def index_tree(data_dir: Path) -> Tree:
    """The data set as `open_tree` has it, agents without a YAML file included.

    Raises:
        UserError: there is nothing.
    """
    listing = list_files(data_dir)
    files = {split: _moments(listed) for split, listed in listing.splits.items()}
    missing = tuple(line for listed in listing.splits.values() for line in absences(listed))
    return Tree(data_dir, files, missing, (), listing.digest)


def all_files(tree: Tree) -> list[AgentFiles]:
    """Of all agents at all moments, in order."""
    return [files for moments in tree.files.values() for agents in moments.values() for files in agents.values()]


def each_agent(function: Callable[[AgentFiles], Result], listed: Sequence[AgentFiles]) -> list[Result]:
    """What the function makes of each, in order and with a progress bar."""
    workers = 0 if len(listed) >= WORTH_A_PROCESS else 1
    results = in_processes(function, listed, workers)
    return list(tqdm(results, total=len(listed), desc="agents", leave=False, disable=None))


def _moments(listed: Iterable[AgentFiles]) -> dict[FrameKey, dict[str, AgentFiles]]:
    ordered = sorted(
        listed,
        key=lambda files: (files.key.scenario, int(files.key.frame), files.key.frame, _agent_order(files.folder.name)),
    )
    moments: dict[FrameKey, dict[str, AgentFiles]] = {}
    for files in ordered:
        moments.setdefault(files.key, {})[files.folder.name] = files
    return moments


def _agent_order(agent: str) -> tuple[bool, int, str]:
    return agent.startswith("-"), abs(int(agent)), agent


def _without_invalid(tree: Tree) -> Tree:
    """Only agents of which every file can be read."""
    listed = all_files(tree)
    found = zip(listed, each_agent(problem_of, listed), strict=True)
    problems = {id(files): problem for files, problem in found if problem}
    kept = {
        split: _moments(f for agents in moments.values() for f in agents.values() if id(f) not in problems)
        for split, moments in tree.files.items()
    }
    left_out = tuple(problems.values())
    if not any(kept.values()):
        raise UserError(f"{tree.root}: expected an agent whose files can be read, got none; first: {left_out[0]}")
    fingerprint = hashlib.sha256("\n".join([tree.fingerprint, *left_out]).encode("utf-8", "replace")).hexdigest()
    return replace(tree, files=kept, left_out=left_out, fingerprint=fingerprint)


def problem_of(files: AgentFiles) -> str:
    """Why an agent's files cannot be used; '' if they can."""
    try:
        frame = read_agent(files)
        for contradiction in contradictions(read_agent_yaml(files.yaml_path)):
            return f"{files.yaml_path}: {contradiction}"
        read_lidar(frame)
        for camera in frame.cameras.values():
            if is_worth_decoding(camera.image_path):
                read_picture(camera.image_path)
    except UserError as error:
        return str(error)
    return ""
