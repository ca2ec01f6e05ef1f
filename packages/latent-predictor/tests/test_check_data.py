"""check-data: every problem at once, suspicions that only a person can settle, and what the folder holds."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivelab_shared.errors import UserError
from latent_predictor.config import CheckDataSettings
from latent_predictor.data import problems, simulate
from latent_predictor.data.check_data import check_data
from latent_predictor.data.survey import survey
from latent_predictor.data.suspicions import misalignment, suspicions
from latent_predictor.data.timing import image_shift, steering_lag, surprises
from latent_predictor.data.trajectory import Trajectory

LENGTH = 40


def arrays(seed: int, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A valid file with some arrays replaced, or left out where None."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (LENGTH, 64, 64, 3), dtype=np.uint8)
    valid = {
        "frames": frames,
        "actions": rng.uniform(0, 1, (LENGTH, 3)).astype(np.float32),
        "labels": (np.arange(LENGTH) // 10 % 3).astype(np.int8),
        "visual_labels": (np.arange(LENGTH) // 10 % 3).astype(np.int8),
        "dt": np.float32(0.08),
    }
    return {key: array for key, array in {**valid, **changes}.items() if array is not None}


def write_drives(folder: Path, number: int = 3, **changes: np.ndarray | None) -> Path:
    """`number` valid drives; `changes` go to traj1 only."""
    folder.mkdir(exist_ok=True)
    for index in range(number):
        np.savez(folder / f"traj{index}_64x64.npz", **arrays(index, **(changes if index == 1 else {})))
    return folder


def complaints(folder: Path) -> list[str]:
    """All problems, without the folder in front."""
    return [str(problem).removeprefix(f"{folder}/") for problem in survey(folder, min_frames=31).problems]


def with_one(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[7] = value
    return changed


@pytest.fixture(scope="module")
def drives() -> list[Trajectory]:
    return [simulate.drive(0, index, 220, "road", f"traj{index}_64x64") for index in range(3)]


def test_valid_drives_have_no_problems(tmp_path: Path) -> None:
    assert complaints(write_drives(tmp_path / "data")) == []


def test_every_key_of_every_file_is_looked_at(tmp_path: Path) -> None:
    valid = arrays(1)
    data = write_drives(
        tmp_path / "data",
        6,
        frames=valid["frames"].astype(np.int16),
        actions=with_one(valid["actions"], np.nan),
        labels=with_one(valid["labels"], 3),
        visual_labels=valid["visual_labels"][:-1],
        state=np.full((LENGTH, 7), np.inf),
        dt=np.float32(-1),
        schema=np.int64(9),
    )
    np.savez(data / "traj4_64x64.npz", pictures=valid["frames"])
    found = complaints(data)
    assert found == [
        "traj1_64x64.npz: schema: expected 1 to 1, got int64 9",
        "traj1_64x64.npz: frames: expected uint8 [T, 64, 64, 3] with T >= 2, got int16 [40, 64, 64, 3]",
        "traj1_64x64.npz: actions: expected finite numbers, got 1 NaN or infinite, first in row 2",
        "traj1_64x64.npz: labels: expected 0 left, 1 center, 2 right or -1 unknown, got 0 to 3",
        "traj1_64x64.npz: visual_labels: expected whole numbers [40], one per frame, got int8 [39]",
        "traj1_64x64.npz: state: expected finite numbers, got 280 NaN or infinite, first in row 0",
        "traj1_64x64.npz: dt: expected a number of seconds > 0, got float32 -1.0",
        "traj4_64x64.npz: frames: expected this key, got only pictures.npy",
        "traj4_64x64.npz: actions: expected this key, got only pictures.npy",
    ]


def test_one_action_too_many_is_called_off_by_one(tmp_path: Path) -> None:
    found = complaints(write_drives(tmp_path / "data", 4, actions=np.zeros((LENGTH + 1, 3))))
    assert "actions: expected numbers [T, A] with T = 40" in found[0]
    assert "off by one" in found[1]


def test_pickled_arrays_are_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    found = complaints(write_drives(tmp_path / "data", 4, labels=np.array([Trap()] * LENGTH, dtype=object)))
    assert found == [
        "traj1_64x64.npz: labels: expected plain numbers, got pickled objects, which are never loaded because they can "
        "run code"
    ]
    assert not (tmp_path / "executed").exists()


def test_sizes_that_a_file_declares_are_checked_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_drives(tmp_path / "data", 4)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (90000000, 64, 64, 3), }"
    with zipfile.ZipFile(data / "traj1_64x64.npz", "w") as archive:
        archive.writestr("frames.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
        archive.writestr("actions.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert complaints(data) == [
        "traj1_64x64.npz: frames: expected 1105920000000 bytes for uint8 [90000000, 64, 64, 3], got 64",
        "traj1_64x64.npz: actions: expected 1105920000000 bytes for uint8 [90000000, 64, 64, 3], got 0",
    ]
    monkeypatch.setattr(problems, "MAX_BYTES", 1 << 10)
    monkeypatch.setattr(problems.npz, "read", None)
    assert complaints(data)[0].startswith("traj0_64x64.npz: expected at most 0 GiB of unpacked arrays, got 0.0")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    data = write_drives(tmp_path / "data", 4)
    content = bytearray((data / "traj1_64x64.npz").read_bytes())
    content[100_000] ^= 1
    (data / "traj1_64x64.npz").write_bytes(content)
    assert complaints(data) == [
        "traj1_64x64.npz: expected an npz archive of plain arrays, got Bad CRC-32 for file 'frames.npy'"
    ]


def test_the_same_frames_in_two_splits_are_an_error_and_in_one_a_warning(tmp_path: Path) -> None:
    frames = arrays(0)["frames"]
    data = write_drives(tmp_path / "data", 5, frames=frames)
    lists = {"train": ["traj0_64x64", "traj2_64x64"], "val": ["traj1_64x64", "traj3_64x64"], "test": ["traj4_64x64"]}
    (data / "splits.json").write_text(json.dumps(lists))
    assert complaints(data) == ["traj1_64x64.npz: frames: the same as in traj0_64x64.npz, and in train and val at once"]
    lists = {"train": ["traj0_64x64", "traj1_64x64"], "val": ["traj2_64x64"], "test": ["traj3_64x64", "traj4_64x64"]}
    (data / "splits.json").write_text(json.dumps(lists))
    found = survey(data, min_frames=31)
    assert found.errors == []
    assert [problem.text for problem in found.problems] == ["frames: the same as in traj0_64x64.npz"]


def test_trajectories_that_differ_from_most_are_errors(tmp_path: Path) -> None:
    assert complaints(write_drives(tmp_path / "data", 4, actions=np.zeros((LENGTH, 2)))) == [
        "traj1_64x64.npz: actions: expected 3 columns as in most files, got 2"
    ]
    assert complaints(write_drives(tmp_path / "data", 4, dt=np.float32(0.1))) == [
        "traj1_64x64.npz: dt: expected 0.08 s as in most files, got 0.1"
    ]


def test_steering_is_found_at_the_lag_at_which_it_acts(drives: list[Trajectory], tmp_path: Path) -> None:
    def moved(steps: int) -> list:
        return [surprises(replace(drive, actions=np.roll(drive.actions, steps, axis=0))) for drive in drives]

    assert [steering_lag(moved(steps)) for steps in (-1, 0, 1)] == [-1, 0, 1]
    assert misalignment(tmp_path, moved(0)) == []
    assert "got pictures that follow actions[t+1]" in misalignment(tmp_path, moved(1))[0].text
    assert steering_lag(moved(0)[:1]) is None, "one drive is too little to tell"
    rng = np.random.default_rng(0)
    noise = [replace(drive, actions=rng.normal(size=drive.actions.shape).astype(np.float32)) for drive in drives]
    assert steering_lag([surprises(drive) for drive in noise]) is None


def test_image_shift_is_in_pixels_to_the_right() -> None:
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (64, 128)), (0, 0), 3)
    positions = np.array([30, 33, 31, 31, 26])
    frames = np.stack([np.repeat(wide[:, at : at + 64, None], 3, axis=2) for at in positions]).astype(np.uint8)
    np.testing.assert_allclose(image_shift(frames), -np.diff(positions), atol=0.2)


def test_suspicious_drives_are_named(drives: list[Trajectory], tmp_path: Path) -> None:
    def texts(**changes: np.ndarray) -> list[str]:
        return [problem.text for problem in suspicions(tmp_path / "a.npz", replace(drives[0], **changes))]

    frames, actions = drives[0].frames, drives[0].actions
    assert texts() == []
    assert "is it BGR?" in texts(frames=np.ascontiguousarray(frames[..., ::-1]))[0]
    assert "got 110 of 220 equal to the one before" in texts(frames=np.repeat(frames[::2], 2, axis=0))[0]
    assert texts(actions=actions * np.float32([1, 1, 100]))[0].startswith(
        "actions: expected brake in [0, 1], got 0 to "
    )


def test_the_report_counts_classes_by_split_and_agreement(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known = np.repeat([0, 1, 2, -1], 10).astype(np.int8)
    read_wrong = np.where(np.arange(LENGTH) < 3, 2, known).astype(np.int8)
    constant = arrays(1)["actions"] * np.float32([1, 1, 0])
    data = tmp_path / "data"
    data.mkdir()
    for index in range(4):
        changes = {"labels": known, "visual_labels": read_wrong, "actions": constant + np.float32([index / 100, 0, 0])}
        np.savez(data / f"traj{index}_64x64.npz", **arrays(index, **changes))
    assert not check_data(CheckDataSettings(data_dir=data))
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if line.startswith(("train", "val", "test"))] == [
        ["train", "2", "80", "25%", "25%", "25%", "25%"],
        ["val", "1", "40", "25%", "25%", "25%", "25%"],
        ["test", "1", "40", "25%", "25%", "25%", "25%"],
    ]
    # 27 of 30 equal; chance: 10/30 x 7/30 + 10/30 x 10/30 + 10/30 x 13/30 = 1/3, so kappa = (0.9 - 1/3) / (2/3).
    assert "file and picture agree in 90.0% of 120 frames, kappa 0.85" in out
    assert f"warning: {data}: actions: expected column 2 to vary, got 0 throughout" in out
    page = (data / "check.html").read_text()
    assert "traj3_64x64" in page
    assert "kappa 0.85" in page


def test_all_errors_are_listed_and_one_line_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = write_drives(tmp_path / "data", 5, labels=np.full(LENGTH, 5), dt=np.float32(0))
    (data / "traj3_64x64.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"expected valid trajectories, got 3 errors \(listed above\)"):
        check_data(CheckDataSettings(data_dir=data, report=tmp_path / "page.html"))
    out = capsys.readouterr().out
    listed = [line.removeprefix(f"{data}/") for line in out.splitlines() if line.startswith(f"{data}/")]
    assert [line[:28] for line in listed] == [
        "traj1_64x64.npz: labels: exp",
        "traj1_64x64.npz: dt: expecte",
        "traj3_64x64.npz: expected an",
    ]
    assert "labels: expected 0 left" in (tmp_path / "page.html").read_text()


def test_skip_invalid_exits_well_if_something_is_left(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = write_drives(tmp_path / "data", 4, labels=np.full(LENGTH, 5))
    check_data(CheckDataSettings(data_dir=data, skip_invalid=True))
    out = capsys.readouterr().out
    assert f"left out: {data}/traj1_64x64.npz: labels: expected 0 left" in out
    assert "3 usable trajectories, 120 frames" in out
    for path in data.glob("*.npz"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="expected a usable trajectory, got none"):
        check_data(CheckDataSettings(data_dir=data, skip_invalid=True))
