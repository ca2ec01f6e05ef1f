"""Which trajectory is for training, validation or test. Never which frame: neighbouring frames are near-copies."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from latent_predictor.data.problems import Problem

SPLITS = ("train", "val", "test")
VAL_SHARE, TEST_SHARE = 0.10, 0.20
SPLITS_FILE = "splits.json"


@dataclass(frozen=True)
class Span:
    """A whole trajectory, or a block of one, that belongs to one split."""

    name: str
    """File name without its ending."""
    split: str
    start: int
    """First frame: of the trajectory here, of the flat arrays in a store."""
    length: int


def natural(name: str) -> list[str | int]:
    """Sorting key that puts traj2 before traj10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def read_splits(path: Path, chosen: list[str]) -> tuple[dict[str, str], list[Problem]]:
    """The split of each of the `chosen` trajectories in a file `{"train": [names], "val": [...], "test": [...]}`.

    Names may carry `.npz`. A trajectory in two splits, or in none, is a problem of its own and left out of the answer;
    a file that cannot be understood is fatal, because a guess could train on test data.
    """
    try:
        lists = _read_lists(path)
    except (OSError, ValueError, RecursionError) as error:
        return {}, [Problem(path, " ".join(str(error).split()), "fatal")]
    listed: dict[str, list[str]] = {}
    for split, names in lists.items():
        for name in dict.fromkeys(name.removesuffix(".npz") for name in names):
            listed.setdefault(name, []).append(split)
    problems = [
        Problem(path, f"expected names of files beside it, got {name!r}")
        for name in sorted(listed, key=natural)
        if not path.with_name(f"{name}.npz").exists()
    ]
    split_of: dict[str, str] = {}
    for name in chosen:
        found = listed.get(name, [])
        if len(found) == 1:
            split_of[name] = found[0]
        else:
            text = f"{SPLITS_FILE}: expected it in one of {', '.join(SPLITS)}, got {' and '.join(found) or 'none'}"
            problems.append(Problem(path.with_name(f"{name}.npz"), text))
    return split_of, problems


def _read_lists(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"expected JSON, got {error}") from None
    if not isinstance(content, dict) or not content.keys() <= set(SPLITS):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"expected lists of names under {', '.join(SPLITS)}, got {found}")
    for split, names in content.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{split}: expected a list of names, got {str(names)[:60]}")
        for name in names:
            if Path(name).name != name or name in ("", ".", ".."):
                raise ValueError(f"{split}: expected names of files beside it, got {name!r}")
    return content


def split_evenly(names: list[str]) -> dict[str, str]:
    """The split of each of at least 3 trajectories: in their order, the last 20 % for test, 10 % before for val."""
    num_val = max(1, round(VAL_SHARE * len(names)))
    num_test = max(1, round(TEST_SHARE * len(names)))
    num_train = len(names) - num_val - num_test
    return {
        name: "train" if index < num_train else "val" if index < num_train + num_val else "test"
        for index, name in enumerate(names)
    }


def whole(lengths: Mapping[str, int], split_of: Mapping[str, str]) -> list[Span]:
    """Each trajectory in one piece."""
    return [Span(name, split_of[name], 0, length) for name, length in lengths.items() if name in split_of]


def cut(lengths: Mapping[str, int], min_frames: int) -> list[Span]:
    """Each trajectory in three blocks of time, for data sets of one or two. Needs 3 x `min_frames` frames of each."""
    spans = []
    for name, length in lengths.items():
        num_val = max(min_frames, round(VAL_SHARE * length))
        num_test = max(min_frames, round(TEST_SHARE * length))
        num_train = length - num_val - num_test
        spans += [
            Span(name, "train", 0, num_train),
            Span(name, "val", num_train, num_val),
            Span(name, "test", num_train + num_val, num_test),
        ]
    return spans
