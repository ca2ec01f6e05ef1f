"""A dataset seen as a whole: its episodes, their splits, and every problem of all of them."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from drivelab_shared.errors import UserError
from lapo_mm.config import Modality
from lapo_mm.data import hdf5
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.inspection import inspect
from lapo_mm.data.metadata import DATASET_ID, METADATA, interpreted, read_metadata
from lapo_mm.data.minari_files import MAIN_FILE, episode_groups
from lapo_mm.data.problems import Problem
from lapo_mm.data.roles import Roles, assign_roles
from lapo_mm.data.splits import Split, splits

_MOST_NAMED = 10

Visit = Callable[["Survey", "Facts", Episode], None]


@dataclass(frozen=True)
class Facts:
    """What has to be known of an episode once its arrays are gone."""

    index: int
    split: Split
    length: int
    return_: float
    """Sum of the rewards."""
    terminated: bool
    truncated: bool
    content: str
    """Hash of observations and actions."""
    infos: Mapping[str, tuple[tuple[int, ...], str]]
    """Shape of a row and dtype, by key."""


@dataclass
class Survey:
    """A dataset, and what is to be said about it."""

    folder: Path
    info: DatasetInfo | None = None
    roles: Roles | None = None
    problems: list[Problem] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    """Of the usable episodes, in order."""
    num_episodes: int = 0
    """That there are, usable or not."""

    @property
    def errors(self) -> list[Problem]:
        """Problems that stop whoever does not skip what is invalid; the fatal ones stop everybody."""
        return [problem for problem in self.problems if problem.level != "warning"]

    def complain(self, text: str, level: str = "error", episode: int | None = None) -> None:
        """Note a problem of the main file."""
        self.problems.append(Problem(str(self.folder / MAIN_FILE), text, level, episode))


def survey(
    data_dir: Path,
    modalities: Sequence[Modality] = (),
    val_share: float = 0.13,
    visit: Visit = lambda found, facts, episode: None,
) -> Survey:
    """Read every episode once, one at a time.

    Args:
        data_dir: folder of the dataset.
        modalities: use only these; empty means that all observations must be of use.
        val_share: share of the episodes kept for validation.
        visit: called with each episode that is valid by itself, and with what is known by then.
    """
    found = Survey(data_dir)
    metadata: Mapping[str, Any] = {}
    try:
        metadata = read_metadata(data_dir)
        found.info = interpreted(metadata, data_dir)
        found.roles = assign_roles(found.info.observation_space, str(data_dir / METADATA), modalities)
    except UserError as error:
        found.problems.append(Problem.fatal(error))
        if not data_dir.is_dir():
            return found
    try:
        with hdf5.opened(data_dir / MAIN_FILE) as file:
            groups = episode_groups(file)
            found.num_episodes = len(groups)
            _check_names(found, hdf5.names(file), groups)
            if len(groups) < 2:
                found.complain(f"expected at least 2 episodes, one per split, got {len(groups)}", "fatal")
            elif found.roles is not None:
                _read_all(found, groups, val_share, visit)
    except UserError as error:
        found.problems.append(Problem.fatal(error))
    if found.facts:
        found.problems += _disagreements(found, metadata)
        _drop_duplicates(found)
        _check_ends(found)
    _require_splits(found)
    return found


def _check_names(found: Survey, names: Sequence[str], groups: Mapping[int, h5py.Group]) -> None:
    others = [name for name in names if not name.startswith("episode_")]
    if others:
        found.complain(f"expected episodes only, got {', '.join(sorted(others)[:5])}, left unread", "warning")
    links = len(names) - len(others) - len(groups)
    if links:
        found.complain(f"expected episode_<number> with arrays in this file, got {links} of another kind")
    last = max(groups, default=-1)
    missing = itertools.islice((str(index) for index in range(last) if index not in groups), _MOST_NAMED)
    if last >= len(groups):
        found.complain(f"expected episode_0 to episode_{last}, got none for {', '.join(missing)}")


def _read_all(found: Survey, groups: Mapping[int, h5py.Group], val_share: float, visit: Visit) -> None:
    source = str(found.folder / MAIN_FILE)
    split_of = dict(zip(groups, splits(len(groups), val_share), strict=True))
    for index, group in tqdm(groups.items(), desc="reading episodes", unit="episode", leave=False, disable=None):
        episode, problems = inspect(group, found.info, source, index, found.roles)
        found.problems += problems
        if episode is not None:
            declared = hdf5.whole_number(group, "total_steps")
            if declared not in (None, len(episode)):
                found.complain(f"total_steps: expected {len(episode)}, got {declared}", "warning", index)
            facts = _facts(index, split_of[index], episode)
            found.facts.append(facts)
            visit(found, facts, episode)


def _facts(index: int, split: Split, episode: Episode) -> Facts:
    digest = hashlib.sha256()
    for array in (*episode.observations.values(), episode.actions):
        digest.update(np.ascontiguousarray(array).data)
    return Facts(
        index=index,
        split=split,
        length=len(episode),
        return_=float(episode.rewards.sum(dtype=np.float64)),
        terminated=bool(episode.terminations[-1]),
        truncated=bool(episode.truncations[-1]),
        content=digest.hexdigest(),
        infos={key: (array.shape[1:], array.dtype.str) for key, array in episode.infos.items()},
    )


def _disagreements(found: Survey, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    """What metadata.json says and the episodes do not."""
    source = str(found.folder / METADATA)
    if metadata.get("total_episodes") != found.num_episodes:
        text = f"total_episodes: expected {found.num_episodes} as in {MAIN_FILE}, got {metadata.get('total_episodes')}"
        yield Problem(source, text)
    steps = sum(facts.length for facts in found.facts)
    if len(found.facts) == found.num_episodes and metadata.get("total_steps") != steps:
        yield Problem(source, f"total_steps: expected {steps} as in {MAIN_FILE}, got {metadata.get('total_steps')}")
    parts = tuple(found.info.dataset_id.split("/"))
    if not DATASET_ID.fullmatch(found.info.dataset_id) or found.folder.absolute().parts[-len(parts) :] != parts:
        text = f"dataset_id: expected [namespace/]name-v<number> as the folder ends, got {found.info.dataset_id!r:.80}"
        yield Problem(source, f"{text}; Minari will not find it", "warning")
    box = found.info.action_space
    if not (np.isfinite(box.low).all() and np.isfinite(box.high).all()):
        text = "action_space: expected finite bounds, got infinite ones: nothing limits a policy"
        yield Problem(source, text, "warning")


def _drop_duplicates(found: Survey) -> None:
    """The same episode in both splits would let a policy be validated on what it was trained on."""
    first: dict[str, Facts] = {}
    for facts in list(found.facts):
        twin = first.setdefault(facts.content, facts)
        if twin is facts:
            continue
        text = f"the same observations and actions as episode_{twin.index}"
        if twin.split == facts.split:
            found.complain(text, "warning", facts.index)
        else:
            found.complain(f"{text}, one in train and one in val: a leak", "error", facts.index)
            found.facts.remove(facts)


def _check_ends(found: Survey) -> None:
    if not any(facts.terminated or facts.truncated for facts in found.facts):
        text = "terminations, truncations: expected some, got none in any episode: all count as truncated"
        found.complain(text, "warning")


def _require_splits(found: Survey) -> None:
    if any(problem.level == "fatal" for problem in found.problems):
        return
    present = {facts.split for facts in found.facts}
    missing = [split for split in ("train", "val") if split not in present]
    if missing:
        found.complain(f"expected usable episodes for train and val, got none for {' and '.join(missing)}", "fatal")
