"""The official split files, counted, and what a split file must not say."""

import os
from collections import Counter
from pathlib import Path

import pytest

from v2x_teacher.data.splits import read_splits

from .trees import write_json


@pytest.fixture
def official() -> Path:
    folder = os.environ.get("DRIVELAB_REAL_DATA")
    if not folder:
        pytest.skip("DRIVELAB_REAL_DATA is not set: no official split files")
    return Path(folder) / "dair_v2x_splits" / "data" / "split_datas"


@pytest.mark.parametrize(
    ("name", "batches", "infrastructure", "pairs"),
    [
        ("cooperative-split-data.json", (64, 23, 36), (8800, 3624, 5906), (4813, 1783, 2688)),
        ("cooperative-split-data-spd.json", (46, 21, 28), (7834, 3441, 4862), (7445, 3316, 4610)),
    ],
)
def test_the_official_files_have_their_published_counts(
    official: Path, name: str, batches: tuple, infrastructure: tuple, pairs: tuple
) -> None:
    splits, problems = read_splits(official / name)
    assert problems == []
    for mapping, counts in ((splits.batches, batches), (splits.infrastructure, infrastructure), (splits.pairs, pairs)):
        assert Counter(mapping.values()) == dict(zip(("train", "val", "test"), counts, strict=True))


def test_the_example_file_without_test_a_is_accepted(official: Path) -> None:
    splits, problems = read_splits(official / "example-cooperative-split-data.json")
    assert problems == []
    assert dict(splits.batches) == {"0": "train"}


def test_a_test_a_outside_of_test_is_a_warning(tmp_path: Path) -> None:
    lists = {"train": ["1"], "val": ["2"], "test": ["3"], "test_A": ["2"]}
    keys = ("batch_split", "vehicle_split", "infrastructure_split", "cooperative_split")
    write_json(tmp_path / "a.json", dict.fromkeys(keys, lists))
    _, problems = read_splits(tmp_path / "a.json")
    assert [problem.severity for problem in problems] == ["warning"] * 4
    assert problems[0].message.startswith("batch_split: expected test_A to be a part of test, got 1 ids")
