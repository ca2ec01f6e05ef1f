"""The mapped cache: the same numbers as in the files, windows that respect time, and constant memory."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.arrays import RowWriter, write_rows
from drivelab_shared.errors import UserError
from latent_predictor.config import CheckDataSettings
from latent_predictor.data import simulate, store, survey
from latent_predictor.data.labels import visual_labels
from latent_predictor.data.splits import natural, split_evenly
from latent_predictor.data.store import MIN_FRAMES, Store, open_store, window_starts
from latent_predictor.data.trajectory import file_name, read, write


def scripted(number: int, length: int) -> dict[str, np.ndarray]:
    """A drive in which everything tells its time: pixel 0 of frame t is t, the action is t, the label t % 3."""
    frames = np.full((length, 64, 64, 3), number, np.uint8)
    time = np.arange(length)
    frames[:, 0, 0, 0] = time
    return {
        "frames": frames,
        "actions": np.stack([time, np.full(length, number)], axis=1).astype(np.float32),
        "labels": (time % 3).astype(np.int8),
        "visual_labels": np.full(length, 1, np.int8),
        "dt": np.float32(0.1),
    }


def write_drives(folder: Path, *lengths: int, **changes: np.ndarray | None) -> Path:
    """traj0_64x64.npz, traj1_64x64.npz, ...; keys that are None in `changes` are left out."""
    folder.mkdir(exist_ok=True)
    for number, length in enumerate(lengths):
        arrays = {**scripted(number, length), **changes}
        np.savez(
            folder / f"traj{number}_64x64.npz", **{key: value for key, value in arrays.items() if value is not None}
        )
    return folder


def write_splits(folder: Path, **names: list[int]) -> None:
    lists = {split: [f"traj{number}_64x64.npz" for number in numbers] for split, numbers in names.items()}
    (folder / "splits.json").write_text(json.dumps(lists))


def spans(found: Store) -> list[tuple[str, str, int, int]]:
    return [(span.name.split("_")[0], span.split, span.start, span.length) for span in found.trajectories]


def test_the_store_holds_what_the_files_hold(tmp_path: Path) -> None:
    data = write_drives(tmp_path / "data", 40, 31, 50)
    found = open_store(data, tmp_path / "cache")
    drives = [scripted(number, length) for number, length in enumerate((40, 31, 50))]
    for key in ("frames", "actions", "labels"):
        np.testing.assert_array_equal(
            getattr(found, key), np.concatenate([drive[key] for drive in drives]), strict=True
        )
    assert spans(found) == [("traj0", "train", 0, 40), ("traj1", "val", 40, 31), ("traj2", "test", 71, 50)]
    assert (found.dt, found.action_size, found.state, found.track_ahead) == (0.1, 2, None, None)
    np.testing.assert_array_equal(found.indices("val"), np.arange(40, 71))
    np.testing.assert_array_equal(found.indices("all"), np.arange(121))


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    found = open_store(write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache")
    for array in (found.frames, found.actions, found.labels, found.judge_labels):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_window_pairs_each_frame_with_its_action_and_the_next_frames_label(tmp_path: Path) -> None:
    found = open_store(write_drives(tmp_path / "data", 40, 31, 50, 33), tmp_path / "cache")
    transitions = 24
    starts = window_starts(found, "train", transitions + 1, 1)
    assert len(starts) == (40 - transitions) + (31 - transitions)
    for start in starts:
        steps = np.arange(transitions)
        now = found.frames[start + steps, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(now, now[0] + steps)
        np.testing.assert_array_equal(found.actions[start + steps, 0], now)
        np.testing.assert_array_equal(found.frames[start + steps + 1, 0, 0, 0], now + 1)
        np.testing.assert_array_equal(found.labels[start + steps + 1], (now + 1) % 3)
        assert len(set(found.frames[start : start + transitions + 1, 1, 1, 0].tolist())) == 1, "two drives in a window"


def test_windows_end_with_the_last_frame_and_keep_their_stride(tmp_path: Path) -> None:
    found = open_store(write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache")
    assert window_starts(found, "test", 20, 10).tolist() == [71, 81, 91, 101]
    assert window_starts(found, "val", 31, 5).tolist() == [40]
    assert window_starts(found, "val", 32, 5).tolist() == []


def test_a_missing_last_action_does_not_move_the_others(tmp_path: Path) -> None:
    data = write_drives(tmp_path / "data", 40, 40, 40, actions=scripted(0, 40)["actions"][:-1])
    found = open_store(data, tmp_path / "cache")
    for start in (0, 40, 80):
        np.testing.assert_array_equal(found.actions[start : start + 39, 0], np.arange(39))


def test_the_second_opening_converts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_drives(tmp_path / "data", 40, 31, 50)
    first = open_store(data, tmp_path / "cache")
    monkeypatch.setattr(store, "survey", None)
    assert open_store(data, tmp_path / "cache").fingerprint == first.fingerprint


def test_hashes_are_remembered_for_files_that_have_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_drives(tmp_path / "data", 40, 31, 50)
    for path in data.iterdir():
        os.utime(path, (time.time() - 60,) * 2)
    first = open_store(data, tmp_path / "cache")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert open_store(data, tmp_path / "cache").fingerprint == first.fingerprint


def test_the_fingerprint_follows_the_content_and_not_the_time_of_a_file(tmp_path: Path) -> None:
    data, cache = write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache"
    first = open_store(data, cache)
    os.utime(data / "traj0_64x64.npz", (1, 1))
    assert open_store(data, cache).fingerprint == first.fingerprint
    drive = scripted(0, 40)
    drive["actions"][7, 0] += 1
    np.savez(data / "traj0_64x64.npz", **drive)
    changed = open_store(data, cache)
    assert changed.frames_fingerprint != first.frames_fingerprint
    assert (first.actions[7, 0], changed.actions[7, 0]) == (7, 8)


def test_another_split_is_another_fingerprint(tmp_path: Path) -> None:
    data, cache = write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache"
    first = open_store(data, cache)
    write_splits(data, train=[2], val=[0], test=[1])
    changed = open_store(data, cache)
    assert spans(changed) == [("traj0", "val", 0, 40), ("traj1", "test", 40, 31), ("traj2", "train", 71, 50)]
    assert changed.frames_fingerprint != first.frames_fingerprint


def test_the_choice_of_labels_shares_the_frames(tmp_path: Path) -> None:
    labels = np.array([0, -1, 2, -1] * 10, np.int8)
    data = write_drives(tmp_path / "data", 40, 40, 40, labels=labels)
    auto, state, visual = (open_store(data, tmp_path / "cache", labels=which) for which in ("auto", "state", "visual"))
    assert auto.labels[:4].tolist() == [0, 1, 2, 1]
    assert state.labels[:4].tolist() == [0, -1, 2, -1]
    assert visual.labels[:4].tolist() == [1, 1, 1, 1]
    for found in (auto, state, visual):
        assert found.judge_labels[:4].tolist() == [0, 1, 2, 1]
    assert len({found.fingerprint for found in (auto, state, visual)}) == 3
    assert len({found.frames_fingerprint for found in (auto, state, visual)}) == 1
    assert len(list((tmp_path / "cache").glob("frames-*"))) == 1


def test_state_labels_that_nobody_has_are_an_error(tmp_path: Path) -> None:
    data = write_drives(tmp_path / "data", 40, 40, 40, labels=None)
    with pytest.raises(UserError, match="labels: expected files that have labels of their own"):
        open_store(data, tmp_path / "cache", labels="state")


@pytest.mark.parametrize("view", ["road", "top"])
def test_files_without_any_labels_get_them_from_the_pictures(tmp_path: Path, view: str) -> None:
    frames = simulate.drive(0, 0, 36, view, "traj0_64x64").frames
    data = write_drives(tmp_path / "data", 36, frames=frames, labels=None, visual_labels=None)
    found = open_store(data, tmp_path / "cache", min_frames=12)
    np.testing.assert_array_equal(found.labels, visual_labels(frames, view))
    assert (found.labels != -1).any()


def test_a_file_that_says_unknown_throughout_is_believed(tmp_path: Path) -> None:
    unknown = np.full(40, -1, np.int8)
    found = open_store(
        write_drives(tmp_path / "data", 40, 40, 40, labels=unknown, visual_labels=unknown), tmp_path / "c"
    )
    assert (found.labels == -1).all()


def test_state_is_there_only_if_every_drive_has_it(tmp_path: Path) -> None:
    state, ahead = np.arange(280).reshape(40, 7), np.ones((40, 24))
    data = write_drives(tmp_path / "data", 40, 40, 40, state=state, track_ahead=ahead)
    found = open_store(data, tmp_path / "cache")
    np.testing.assert_array_equal(found.state, np.tile(state, (3, 1)).astype(np.float32), strict=True)
    assert found.track_ahead.shape == (120, 24)
    np.savez(data / "traj1_64x64.npz", **scripted(1, 40))
    found = open_store(data, tmp_path / "cache")
    assert found.state is None
    assert found.track_ahead is None


def test_drives_without_actions_are_a_store_of_width_zero(tmp_path: Path) -> None:
    found = open_store(write_drives(tmp_path / "data", 40, 40, 40, actions=np.zeros((40, 0))), tmp_path / "cache")
    assert found.action_size == 0
    assert found.actions[np.arange(5)].shape == (5, 0)


def test_splits_by_name_put_70_10_20_percent_in_natural_order() -> None:
    names = sorted((f"traj{number}" for number in range(100)), key=natural)
    assert names[:3] + names[-1:] == ["traj0", "traj1", "traj2", "traj99"]
    splits = list(split_evenly(names).values())
    assert splits == ["train"] * 70 + ["val"] * 10 + ["test"] * 20
    for number in range(3, 12):
        assert set(split_evenly(names[:number]).values()) == {"train", "val", "test"}


def test_two_trajectories_are_cut_in_time_and_no_window_crosses_a_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    found = open_store(write_drives(tmp_path / "data", 200, 100), tmp_path / "cache")
    assert spans(found) == [
        ("traj0", "train", 0, 129),
        ("traj0", "val", 129, 31),
        ("traj0", "test", 160, 40),
        ("traj1", "train", 200, 38),
        ("traj1", "val", 238, 31),
        ("traj1", "test", 269, 31),
    ]
    assert "fewer than 3 trajectories, so each is cut in time" in capsys.readouterr().err
    rows = {split: window_starts(found, split, 31, 1)[:, None] + np.arange(31) for split in ("train", "val", "test")}
    assert not set(rows["train"].ravel()) & set(rows["val"].ravel())
    assert not set(rows["val"].ravel()) & set(rows["test"].ravel())
    assert not set(rows["train"].ravel()) & set(rows["test"].ravel())


def test_chosen_files_that_leave_a_split_empty_are_split_without_splits_json(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = write_drives(tmp_path / "data", 100, 100, 100, 100)
    write_splits(data, train=[0, 1], val=[2], test=[3])
    chosen = ("traj0_64x64.npz", "traj1_64x64.npz")
    found = open_store(data, tmp_path / "cache", npz_files=chosen)
    assert {span.split for span in found.trajectories} == {"train", "val", "test"}
    assert "splits.json: none of the chosen files is for val or test; split without it" in capsys.readouterr().err


def test_a_reader_that_requires_no_split_obeys_splits_json(tmp_path: Path) -> None:
    data = write_drives(tmp_path / "data", 100, 100, 100, 100)
    write_splits(data, train=[0, 1], val=[2], test=[3])
    found = open_store(data, tmp_path / "cache", npz_files=("traj1_64x64.npz",), require=())
    assert spans(found) == [("traj1", "train", 0, 100)]
    with pytest.raises(UserError, match="expected a trajectory for test, got none"):
        found.indices("test")


def test_skip_invalid_lists_what_it_left_out_every_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, cache = write_drives(tmp_path / "data", 40, 12, 40, 40), tmp_path / "cache"
    (data / "traj9_64x64.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match=r"traj1_64x64.npz: frames: expected at least 31, got 12 \(and 1 more"):
        open_store(data, cache)
    for _ in range(2):
        found = open_store(data, cache, skip_invalid=True)
        assert [span.name for span in found.trajectories] == ["traj0_64x64", "traj2_64x64", "traj3_64x64"]
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
        assert len(lines) == 2
        assert "traj1_64x64.npz: frames: expected at least 31, got 12" in lines[0]
        assert "traj9_64x64.npz: expected an npz archive" in lines[1]
    assert len(found.left_out) == 2


def test_the_shortest_usable_trajectory_is_what_check_data_says() -> None:
    assert CheckDataSettings().min_frames == MIN_FRAMES


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cache = write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache"
    write = RowWriter.write

    def disk_is_full(writer: RowWriter, block: np.ndarray) -> None:
        if len(block) == 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(writer, block)

    monkeypatch.setattr(RowWriter, "write", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        open_store(data, cache)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    monkeypatch.undo()
    assert len(open_store(data, cache).frames) == 121


def test_a_folder_without_its_mark_of_completeness_is_converted_again(tmp_path: Path) -> None:
    data, cache = write_drives(tmp_path / "data", 40, 31, 50), tmp_path / "cache"
    open_store(data, cache)
    folder = next(cache.glob("frames-*"))
    (folder / "index.json").unlink()
    (folder / "frames.npy").write_bytes(b"half of it")
    assert len(open_store(data, cache).frames) == 121


def test_two_processes_may_convert_at_the_same_time(tmp_path: Path) -> None:
    data, cache = write_drives(tmp_path / "data", 120, 100, 90), tmp_path / "cache"
    program = (
        "import pathlib, sys, time\n"
        "from latent_predictor.data.store import open_store\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "(here / sys.argv[2]).touch()\n"
        "while len(list(here.glob('ready*'))) < 2: time.sleep(0.001)\n"
        "store = open_store(here / 'data', here / 'cache')\n"
        "print(store.fingerprint, int(store.frames.sum()))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path, f"ready{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    found = open_store(data, cache)
    assert outputs == [f"{found.fingerprint} {int(found.frames.sum())}\n"] * 2
    assert sorted(path.name.split("-")[0] for path in cache.iterdir() if path.is_dir()) == ["frames"]


def test_memory_of_conversion_and_reading_does_not_grow_with_the_data(tmp_path: Path) -> None:
    def peak(num_drives: int) -> int:
        data = write_drives(tmp_path / f"data{num_drives}", *[40] * num_drives)
        tracemalloc.start()
        found = open_store(data, tmp_path / "cache")
        for start in range(0, len(found.frames), 64):
            found.frames[start : start + 64].mean()
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(3)  # imports and caches
    one_drive = scripted(0, 40)["frames"].nbytes
    few, many = peak(4), peak(16)
    assert one_drive < few
    assert many < 1.1 * few


def test_rows_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.npy"
    blocks = [np.ones((2, 3), np.float32), np.zeros((3, 3), np.float32)]
    write_rows(path, iter(blocks), 5, (3,))
    np.testing.assert_array_equal(np.load(path), np.concatenate(blocks), strict=True)
    for wrong, message in (
        (blocks[:1], "expected 3 more rows"),
        ([*blocks, blocks[0]], r"expected at most 0 rows of float32 \[3\]"),
        ([np.ones((5, 2), np.float32)], r"got float32 \[5, 2\]"),
        ([np.ones((5, 3))], r"got float64 \[5, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            write_rows(tmp_path / "deep" / "other.npy", wrong, 5, (3,))
    assert [found.name for found in path.parent.iterdir()] == ["rows.npy"]


def test_every_array_of_a_simulated_drive_survives(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for index in range(3):
        write(data / file_name(index), simulate.drive(0, index, 12, "road", f"traj{index}_64x64"))
    found = open_store(data, tmp_path / "cache", min_frames=12)
    second = read(data / file_name(1))
    for key in ("frames", "actions", "labels", "state", "track_ahead"):
        np.testing.assert_array_equal(getattr(found, key)[12:24], getattr(second, key), strict=True)
    assert survey.survey(data, min_frames=12).problems == []
