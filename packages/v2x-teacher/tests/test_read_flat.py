"""The request's own folder: read as it is, refused where it is broken."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.data.open_recording import open_recording

from .trees import PICTURE

ROWS = np.column_stack([2636.0 + np.arange(45), np.full(45, 1745.0)])


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Six frames for training, two for validation."""
    splits = {"train": [f"{index:06d}" for index in range(6)], "val": ["000006", "000007"]}
    folders = ("split", "vehicle_images", "infrastructure_images", "text_prompts", "ground_truth_trajectories")
    for folder in folders:
        (tmp_path / folder).mkdir()
    for split, names in splits.items():
        (tmp_path / "split" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            (tmp_path / "vehicle_images" / f"{name}.jpg").write_bytes(PICTURE.getvalue())
            (tmp_path / "infrastructure_images" / f"{name}.jpg").write_bytes(PICTURE.getvalue())
            (tmp_path / "text_prompts" / f"{name}.txt").write_text(f"drive on {name}\n")
            np.save(tmp_path / "ground_truth_trajectories" / f"{name}.npy", ROWS + int(name))
    return tmp_path


def test_a_good_folder_has_trajectories_and_prompts_but_no_poses(flat: Path) -> None:
    found = open_recording(flat)
    assert found.layout == "flat"
    assert found.poses == {}
    assert found.row_trajectories.shape == (8, 45, 2)
    np.testing.assert_array_equal(found.row_trajectories[7], ROWS + 7)
    pair = found.pairs[7]
    assert (pair.vehicle_id, pair.split, pair.sequence, pair.time_us) == ("000007", "val", "flat-val", 0)
    assert pair.prompt == "drive on 000007"
    assert pair.infrastructure_image == flat / "infrastructure_images" / "000007.jpg"
    assert found.calibration(pair, "vehicle") is None
    assert found.boxes(pair.sequence, pair.vehicle_id) is None


def test_unknown_sequences_are_always_a_warning(flat: Path) -> None:
    (problem,) = open_recording(flat).problems
    assert problem.severity == "warning"
    assert "no interval can be trusted" in problem.message


def test_a_test_list_is_read_where_there_is_one(flat: Path) -> None:
    (flat / "split" / "test.txt").write_text("000007")
    (flat / "split" / "val.txt").write_text("000006")
    assert [pair.split for pair in open_recording(flat).pairs][-2:] == ["val", "test"]


def as_object_array(path: Path) -> None:
    np.save(path, np.array([[{}, 1]] * 45, dtype=object), allow_pickle=True)


TRAJECTORY = "ground_truth_trajectories/000002.npy"
FAULTS = {
    "empty prompt": ("text_prompts/000002.txt", lambda path: path.write_text(" \n"), "got an empty file"),
    "no prompt": ("text_prompts/000002.txt", Path.unlink, "got no such file"),
    "binary prompt": ("text_prompts/000002.txt", lambda path: path.write_bytes(b"\xff"), "expected text in UTF-8"),
    "no picture": ("vehicle_images/000002.jpg", Path.unlink, "expected this picture, got none"),
    "no trajectory": (TRAJECTORY, Path.unlink, "got no such file"),
    "short trajectory": (TRAJECTORY, lambda path: np.save(path, ROWS[:44]), "got float64 [44, 2]"),
    "three columns": (TRAJECTORY, lambda path: np.save(path, np.zeros((45, 3))), "got float64 [45, 3]"),
    "text": (TRAJECTORY, lambda path: np.save(path, ROWS.astype("U8")), "got <U8 [45, 2]"),
    "nan": (TRAJECTORY, lambda path: np.save(path, ROWS * np.nan), "expected finite numbers, got 90 NaN"),
    "objects": (TRAJECTORY, as_object_array, "pickled objects, which are never loaded"),
    "pickle": (TRAJECTORY, lambda path: path.write_bytes(pickle.dumps(ROWS)), "got another kind of file"),
    "cut off": (TRAJECTORY, lambda path: path.write_bytes(path.read_bytes()[:300]), "expected an npy file"),
    "huge": (TRAJECTORY, lambda path: np.save(path, np.zeros(1 << 18)), "expected at most 1 MiB"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_frame_is_named_and_left_out(flat: Path, fault: str) -> None:
    name, spoil, expected = FAULTS[fault]
    spoil(flat / name)
    found = open_recording(flat)
    (error,) = found.errors
    assert error.source == str(flat / name)
    assert expected in error.message
    assert "000002" not in [pair.vehicle_id for pair in found.pairs]
    assert len(found.pairs) == len(found.row_trajectories) == 7


def test_a_header_that_promises_more_than_the_file_holds_is_refused(flat: Path) -> None:
    content = (flat / TRAJECTORY).read_bytes()
    (flat / TRAJECTORY).write_bytes(content.replace(b"(45, 2), ", b"(9999999999999, 2), ")[: len(content)])
    (error,) = open_recording(flat).errors
    assert error.source == str(flat / TRAJECTORY)


def test_a_missing_infrastructure_picture_is_a_warning(flat: Path) -> None:
    (flat / "infrastructure_images" / "000002.jpg").unlink()
    found = open_recording(flat)
    assert found.errors == ()
    assert found.problems[0].source == str(flat / "infrastructure_images" / "000002.jpg")
    assert found.pairs[2].infrastructure_image is None


def test_a_frame_in_two_splits_is_a_leak_and_in_neither(flat: Path) -> None:
    (flat / "split" / "val.txt").write_text("000006\n000005\n")
    found = open_recording(flat)
    (error,) = found.errors
    assert error.message == "expected 000005 in one split, got train and val: a leak"
    assert [pair.vehicle_id for pair in found.pairs] == ["000000", "000001", "000002", "000003", "000004", "000006"]


@pytest.mark.parametrize("line", ["../../etc/passwd", "a b", "/000001", "000001.jpg/.."])
def test_a_line_that_is_no_id_is_an_error(flat: Path, line: str) -> None:
    (flat / "split" / "val.txt").write_text(f"000006\n{line}\n")
    (error,) = open_recording(flat).errors
    assert error.source == str(flat / "split" / "val.txt")
    assert error.message == f"line 2: expected an id such as '000123', got {line!r}"


def test_without_a_training_list_nothing_can_be_read(flat: Path) -> None:
    (flat / "split" / "train.txt").unlink()
    with pytest.raises(UserError, match=r"train.txt: expected a list of frame ids, one per line, got none$"):
        open_recording(flat)


def test_a_split_file_has_no_meaning_here(flat: Path) -> None:
    with pytest.raises(UserError, match="split_file: expected none, because a flat folder has its own lists"):
        open_recording(flat, split_file=flat / "split" / "train.txt")
