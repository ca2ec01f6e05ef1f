"""The folders of a data set, listed once each: what there is, and what is missing beside it.

Files and folders that are none of OPV2V's (bird's-eye pictures, the "additional" archive) are passed over.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivelab_shared.errors import UserError
from opv2v_stage2.data.agent_files import AgentFiles
from opv2v_stage2.data.recording import CAMERAS, FrameKey

SPLITS = ("train", "validate", "test", "test_culvercity")
_AGENT = re.compile(r"-?[0-9]{1,18}")
_FILE = re.compile(r"(?P<frame>[0-9]{1,64})(?P<kind>\.yaml|\.pcd|_camera[0-3]\.png)")
_KINDS = (".yaml", ".pcd", *(f"_camera{number}.png" for number in CAMERAS))
_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Listing:
    """All files of a data set."""

    splits: Mapping[str, Sequence[AgentFiles]]
    digest: str
    """Of their names and sizes."""


def list_files(data_dir: Path) -> Listing:
    """All files below a root with splits, below one split, or below one scenario, which then counts as `test`.

    Raises:
        UserError: there is no such folder, or nothing of a data set in it.
    """
    seen: list[str] = []
    splits = {
        split: [files for scenario in scenarios for files in _scenario_files(scenario, seen)]
        for split, scenarios in _scenarios(data_dir).items()
    }
    if not any(splits.values()):
        expected = "a folder with train, validate or test; one of them; or a scenario"
        raise UserError(f"{data_dir}: data_dir: expected {expected}, got none of its files")
    digest = hashlib.sha256("\n".join(seen).encode("utf-8", "surrogateescape")).hexdigest()
    return Listing({split: files for split, files in splits.items() if files}, digest)


def _scenarios(data_dir: Path) -> dict[str, list[Path]]:
    """Scenario folders by split."""
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: data_dir: expected a folder, got no such one")
    data_dir = data_dir.absolute()
    here = [split for split in SPLITS if (data_dir / split).is_dir()]
    if here:
        return {split: _folders(data_dir / split) for split in here}
    if any(_AGENT.fullmatch(folder.name) for folder in _folders(data_dir)):
        return {"test": [data_dir]}
    return {data_dir.name if data_dir.name in SPLITS else "test": _folders(data_dir)}


def _folders(folder: Path) -> list[Path]:
    return sorted(folder / entry.name for entry in _entries(folder) if entry.is_dir())


def _scenario_files(scenario: Path, seen: list[str]) -> Iterator[AgentFiles]:
    truth = scenario.parent.parent / "truth" / scenario.parent.name / scenario.name
    for folder in _folders(scenario):
        if _AGENT.fullmatch(folder.name):
            yield from _agent_files(folder, truth / folder.name, seen)


def _agent_files(folder: Path, truth: Path, seen: list[str]) -> Iterator[AgentFiles]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for name in _names(folder, seen):
        if match := _FILE.fullmatch(name):
            kinds[match["frame"]].add(match["kind"])
    dense = set(_names(truth, seen)) if truth.is_dir() else set()
    for frame, found in kinds.items():
        yield AgentFiles(
            key=FrameKey(folder.parent.name, frame),
            folder=folder,
            has_yaml=".yaml" in found,
            has_lidar=".pcd" in found,
            cameras=tuple(number for number in CAMERAS if f"_camera{number}.png" in found),
            truth_path=truth / f"{frame}.npz" if f"{frame}.npz" in dense else None,
        )


def _names(folder: Path, seen: list[str]) -> list[str]:
    """Sorted names of its files, which are added to `seen` with their sizes."""
    sizes = {entry.name: entry.stat().st_size for entry in _entries(folder) if entry.is_file()}
    names = sorted(sizes)
    seen += [f"{folder.parts[-3:]} {name} {sizes[name]}" for name in names]
    return names


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{folder}: expected a folder that can be read, got: {error.strerror}") from error


def absences(listed: Iterable[AgentFiles]) -> tuple[str, ...]:
    """One line for each kind of file that a scenario, an agent, or some frames of an agent lack."""
    by_scenario: dict[Path, list[AgentFiles]] = defaultdict(list)
    for files in listed:
        by_scenario[files.folder.parent].append(files)
    return tuple(line for scenario, files in by_scenario.items() for line in _absent(scenario, files))


def _absent(scenario: Path, listed: Sequence[AgentFiles]) -> Iterator[str]:
    for kind in _KINDS:
        lacking = [files for files in listed if not _has(files, kind)]
        if len(lacking) == len(listed):
            yield f"{scenario}: no {_called(kind)} at all"
            continue
        frames: dict[Path, list[str]] = defaultdict(list)
        for files in lacking:
            frames[files.folder].append(files.key.frame)
        for folder, names in frames.items():
            total = sum(files.folder == folder for files in listed)
            if len(names) == total:
                yield f"{folder}: no {_called(kind)} at all"
            else:
                named = ", ".join(names[:_MOST_NAMED]) + (" ..." if len(names) > _MOST_NAMED else "")
                yield f"{folder}: no {_called(kind)} in {len(names)} of {total} frames: {named}"


def _has(files: AgentFiles, kind: str) -> bool:
    if kind == ".yaml":
        return files.has_yaml
    return files.has_lidar if kind == ".pcd" else int(kind[len("_camera")]) in files.cameras


def _called(kind: str) -> str:
    return kind if kind.startswith(".") else f"pictures of {kind[1:-4]}"
