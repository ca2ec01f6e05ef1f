"""The official split files: which sequences, and which pairs of pictures, are for training, validation and test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivelab_shared.errors import UserError
from v2x_teacher.data.documents import read_json, require_id, shown
from v2x_teacher.data.recording import SPLITS, Problem

LISTS = ("batch_split", "vehicle_split", "infrastructure_split", "cooperative_split")
SOURCE = "AIR-THU/DAIR-V2X on GitHub, folder data/split_datas"


@dataclass(frozen=True)
class Splits:
    """The lists of a split file, read the other way round. What stands in two splits is in neither."""

    batches: Mapping[str, str]
    """Split of each sequence (V2X-Seq-SPD) or batch (DAIR-V2X-C)."""
    infrastructure: Mapping[str, str]
    """Split of each infrastructure frame."""
    pairs: Mapping[str, str]
    """Split of each pair of pictures, by its vehicle frame id. What is not listed is not learned from."""


def find_split_file(name: str, folders: list[Path], given: Path | None) -> Path:
    """The split file that was named, or the one of this name in or below these folders.

    Raises:
        UserError: there is none; says where the official one comes from and where to put it.
    """
    if given is not None:
        if not given.is_file():
            raise UserError(f"split_file: expected a file, got {str(given)!r}")
        return given
    places = [folder / below for folder in folders for below in ("", "split_datas", "data/split_datas")]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise UserError(
        f"{folders[0]}: split_file: expected {name} there or in its parent, got none; copy it from {SOURCE}, or name "
        "another with --split_file"
    )


def read_splits(path: Path) -> tuple[Splits, list[Problem]]:
    """The split file, and every id that stands in two of its splits.

    Raises:
        UserError: it is no such file.
    """
    try:
        document = read_json(path)
        lists = {key: _lists(document, key) for key in LISTS}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    problems: list[Problem] = []
    split_of = {key: _reversed(path, key, lists[key], problems) for key in LISTS}
    return Splits(split_of["batch_split"], split_of["infrastructure_split"], split_of["cooperative_split"]), problems


def _lists(document: object, key: str) -> dict[str, list[str]]:
    if not isinstance(document, Mapping) or not set(LISTS) <= document.keys():
        found = ", ".join(map(str, document)) if isinstance(document, Mapping) else shown(document)
        # The official files of a single side are other lists, which do not say what is a sequence.
        raise ValueError(f"expected a cooperative split file with {', '.join(LISTS)}, got {found}")
    lists = document[key]
    if not isinstance(lists, Mapping) or not set(SPLITS) <= lists.keys():
        raise ValueError(f"{key}: expected lists for {', '.join(SPLITS)}, got {shown(lists)}")
    for split, ids in lists.items():
        if not isinstance(ids, list):
            raise ValueError(f"{key}.{split}: expected a list of ids, got {shown(ids)}")
    try:
        return {split: [require_id(value) for value in ids] for split, ids in lists.items()}
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _reversed(path: Path, key: str, lists: dict[str, list[str]], problems: list[Problem]) -> dict[str, str]:
    sets = {split: set(lists[split]) for split in SPLITS}
    torn = (sets["train"] & sets["val"]) | (sets["train"] & sets["test"]) | (sets["val"] & sets["test"])
    for name in sorted(torn):
        found = " and ".join(split for split in SPLITS if name in sets[split])
        problems.append(Problem("error", str(path), f"{key}: expected {name} in one split, got {found}: a leak"))
    outside = sorted(set(lists.get("test_A", [])) - sets["test"])
    if outside:
        text = f"{key}: expected test_A to be a part of test, got {len(outside)} ids that are not, first {outside[0]}"
        problems.append(Problem("warning", str(path), text))
    return {name: split for split in SPLITS for name in lists[split] if name not in torn}
