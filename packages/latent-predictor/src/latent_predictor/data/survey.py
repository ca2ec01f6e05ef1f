"""A folder of trajectories seen as a whole: which files, which splits, and every problem of all of them."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from drivelab_shared.errors import nearest
from latent_predictor.data.problems import Problem, inspect, printable
from latent_predictor.data.splits import SPLITS, SPLITS_FILE, Span, cut, natural, read_splits, split_evenly, whole
from latent_predictor.data.trajectory import Trajectory


@dataclass(frozen=True)
class Facts:
    """What has to be compared between trajectories, without their arrays."""

    path: Path
    length: int
    action_size: int
    dt: float
    content: str
    """Hash of the frames."""
    has_state: bool
    has_track_ahead: bool


@dataclass
class Survey:
    """A folder of trajectories, and what is to be said about it."""

    folder: Path
    problems: list[Problem] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    """Of the usable trajectories, in natural order of their names."""
    spans: list[Span] = field(default_factory=list)
    """Of the same; `start` counts within the trajectory."""

    @property
    def errors(self) -> list[Problem]:
        """Problems that stop whoever does not skip invalid files; the fatal ones stop everybody."""
        return [problem for problem in self.problems if problem.level != "warning"]


def survey(
    folder: Path,
    npz_files: tuple[str, ...] = (),
    *,
    min_frames: int,
    require: tuple[str, ...] = SPLITS,
    visit: Callable[[str, Trajectory], None] = lambda name, trajectory: None,
) -> Survey:
    """Read every chosen trajectory once, one at a time.

    Args:
        folder: of npz files, and perhaps a splits.json.
        npz_files: names of the chosen ones; empty means all.
        min_frames: shortest usable trajectory.
        require: splits that must not be empty. Without any, one or two trajectories are taken for test whole.
        visit: called with name and content of each trajectory that is valid by itself.
    """
    paths, problems = list_files(folder, npz_files)
    found = Survey(folder, problems)
    for path in tqdm(paths, desc="reading trajectories", unit="file", leave=False, disable=None):
        trajectory, problems = inspect(path, min_frames)
        found.problems += problems
        if trajectory is not None:
            found.facts.append(_facts(path, trajectory))
            visit(path.stem, trajectory)
    _keep_majority(found, "actions: expected {} columns as in most files, got {}", lambda facts: facts.action_size)
    _keep_majority(found, "dt: expected {} s as in most files, got {}", lambda facts: round(facts.dt, 4))
    _assign_splits(found, bool(npz_files), min_frames, require)
    _drop_duplicates(found)
    _require_splits(found, require)
    return found


def summary(problems: Iterable[Problem]) -> list[str]:
    """One line per kind of problem, so that what every file has in common is said once."""
    files: dict[str, list[Path]] = {}
    for problem in problems:
        files.setdefault(problem.text, []).append(problem.file)
    others = {text: f" and {len(paths) - 1} more" if len(paths) > 1 else "" for text, paths in files.items()}
    return [printable(f"{paths[0]}{others[text]}: {text}") for text, paths in files.items()]


def list_files(folder: Path, npz_files: tuple[str, ...]) -> tuple[list[Path], list[Problem]]:
    """The chosen files of the folder, in natural order; all of them where none is named."""
    if not folder.is_dir():
        text = f"data_dir: expected a folder of npz files (make-data makes one), got {_kind(folder)}"
        return [], [Problem(folder, text, "fatal")]
    present = {path.name: path for path in folder.glob("*.npz") if not path.name.startswith(".")}
    if not present:
        return [], [Problem(folder, "data_dir: expected npz files (make-data makes some), got none", "fatal")]
    paths, problems = [], []
    for name in sorted(dict.fromkeys(npz_files or present), key=natural):
        if name not in present:
            text = f"npz_files: expected names of files in it, got {name!r}{nearest(name, present)}"
            problems.append(Problem(folder, text))
        elif (found := _other_than_a_file(present[name], folder)) is not None:
            problems.append(Problem(present[name], f"expected a file, got {found}"))
        else:
            paths.append(present[name])
    if not paths:
        problems = [replace(problem, level="fatal") for problem in problems]
    return paths, problems


def _other_than_a_file(path: Path, folder: Path) -> str | None:
    target = os.path.realpath(path)
    if not Path(target).is_relative_to(os.path.realpath(folder)):
        return f"a link to {target}, outside of the folder"
    return None if path.is_file() else "a folder, a broken link or a device"


def _kind(path: Path) -> str:
    return "a file" if path.exists() else "nothing of that name"


def _facts(path: Path, trajectory: Trajectory) -> Facts:
    return Facts(
        path=path,
        length=len(trajectory),
        action_size=trajectory.actions.shape[1],
        dt=trajectory.dt,
        content=hashlib.sha256(trajectory.frames.data).hexdigest(),
        has_state=trajectory.state is not None,
        has_track_ahead=trajectory.track_ahead is not None,
    )


def _keep_majority(found: Survey, text: str, value: Callable[[Facts], float]) -> None:
    """One model reads all trajectories, so they must agree; the rarer kind is the invalid one."""
    if not found.facts:
        return
    usual = Counter(map(value, found.facts)).most_common(1)[0][0]
    odd = [facts for facts in found.facts if value(facts) != usual]
    found.problems += [Problem(facts.path, text.format(usual, value(facts))) for facts in odd]
    found.facts = [facts for facts in found.facts if facts not in odd]


def _assign_splits(found: Survey, chosen: bool, min_frames: int, require: tuple[str, ...]) -> None:
    """By splits.json where there is one, else by name; one or two trajectories are cut in time instead."""
    path = found.folder / SPLITS_FILE
    if path.exists() or path.is_symlink():
        split_of, problems = read_splits(path, list(_lengths(found)))
        found.problems += problems
        if not chosen or not _missing(require, split_of.values()):
            found.spans = whole(_lengths(found), split_of)
            found.facts = [facts for facts in found.facts if facts.path.stem in split_of]
            return
        text = f"none of the chosen files is for {' or '.join(_missing(require, split_of.values()))}; split without it"
        found.problems.append(Problem(path, text, "warning"))
    if len(found.facts) >= len(SPLITS):
        found.spans = whole(_lengths(found), split_evenly(list(_lengths(found))))
    elif not require:
        found.spans = whole(_lengths(found), dict.fromkeys(_lengths(found), "test"))
    elif found.facts:
        _cut(found, min_frames)


def _cut(found: Survey, min_frames: int) -> None:
    needed = 3 * min_frames
    short = [facts for facts in found.facts if facts.length < needed]
    for facts in short:
        text = f"frames: expected at least {needed} (with fewer than 3 trajectories each is cut in three)"
        found.problems.append(Problem(facts.path, f"{text}, got {facts.length}"))
    found.facts = [facts for facts in found.facts if facts not in short]
    found.spans = cut(_lengths(found), min_frames)
    if found.facts:
        text = "fewer than 3 trajectories, so each is cut in time into train, val and test"
        found.problems.append(Problem(found.folder, text, "warning"))


def _drop_duplicates(found: Survey) -> None:
    """The same frames in two splits would let a model be tested on what it was trained on."""
    splits = {facts.path: {span.split for span in found.spans if span.name == facts.path.stem} for facts in found.facts}
    first: dict[str, Facts] = {}
    for facts in list(found.facts):
        twin = first.setdefault(facts.content, facts)
        if twin is facts:
            continue
        both = sorted(splits[facts.path] | splits[twin.path], key=SPLITS.index)
        if len(both) < 2:
            found.problems.append(Problem(facts.path, f"frames: the same as in {twin.path.name}", "warning"))
            continue
        found.problems.append(
            Problem(facts.path, f"frames: the same as in {twin.path.name}, and in {' and '.join(both)} at once")
        )
        found.facts.remove(facts)
        found.spans = [span for span in found.spans if span.name != facts.path.stem]


def _require_splits(found: Survey, require: tuple[str, ...]) -> None:
    missing = _missing(require, (span.split for span in found.spans))
    if any(problem.level == "fatal" for problem in found.problems):
        return
    if not found.spans:
        found.problems.append(Problem(found.folder, "expected a usable trajectory, got none", "fatal"))
    elif missing:
        text = f"expected usable trajectories for {', '.join(require)}, got none for {' and '.join(missing)}"
        found.problems.append(Problem(found.folder, text, "fatal"))


def _missing(require: tuple[str, ...], splits: Iterable[str]) -> list[str]:
    present = set(splits)
    return [split for split in require if split not in present]


def _lengths(found: Survey) -> dict[str, int]:
    return {facts.path.stem: facts.length for facts in found.facts}
