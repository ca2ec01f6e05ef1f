"""The npz format: what is written comes back, what users have is accepted, and the rest is refused in one line."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latent_predictor.data.trajectory import Trajectory, read, write

TIME = 6


def make_trajectory() -> Trajectory:
    rng = np.random.default_rng(0)
    return Trajectory(
        frames=rng.integers(0, 256, (TIME, 64, 64, 3), dtype=np.uint8),
        actions=rng.normal(size=(TIME, 3)).astype(np.float32),
        labels=np.array([0, 1, 2, -1, 1, 0], np.int8),
        visual_labels=np.array([0, 1, 1, -1, -1, 0], np.int8),
        state=rng.normal(size=(TIME, 7)).astype(np.float32),
        track_ahead=rng.normal(size=(TIME, 24)).astype(np.float32),
        dt=0.08,
        name="traj1_64x64",
    )


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The arrays of a valid file with some replaced, or left out where None."""
    trajectory = make_trajectory()
    valid = {"frames": trajectory.frames, "actions": trajectory.actions, "labels": trajectory.labels}
    return {key: array for key, array in {**valid, "dt": np.float32(0.08), **changes}.items() if array is not None}


def read_back(folder: Path, **changes: np.ndarray | None) -> Trajectory:
    path = folder / "traj1_64x64.npz"
    np.savez(path, **arrays(**changes))
    return read(path)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = make_trajectory()
    write(tmp_path / "traj1_64x64.npz", written)
    found = read(tmp_path / "traj1_64x64.npz")
    for key in ("frames", "actions", "labels", "visual_labels", "state", "track_ahead"):
        np.testing.assert_array_equal(getattr(found, key), getattr(written, key), strict=True)
    assert (found.dt, found.name, found.notes) == (0.08, "traj1_64x64", ())


def test_the_same_trajectory_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", make_trajectory())
    write(tmp_path / "b.npz", make_trajectory())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traj1_64x64.npz"
    write(path, make_trajectory())
    before = path.read_bytes()

    def disk_is_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write(path, replace(make_trajectory(), dt=0.1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_one_action_fewer_than_frames_is_filled_up(tmp_path: Path) -> None:
    actions = make_trajectory().actions
    found = read_back(tmp_path, actions=actions[:-1])
    np.testing.assert_array_equal(found.actions, np.concatenate([actions[:-1], actions[-2:-1]]))
    assert any(note.startswith("actions: one fewer than frames") for note in found.notes)


def test_float_frames_with_channels_first_become_uint8_with_channels_last(tmp_path: Path) -> None:
    frames = make_trajectory().frames
    found = read_back(tmp_path, frames=frames.transpose(0, 3, 1, 2).astype(np.float64) / 255)
    np.testing.assert_array_equal(found.frames, frames, strict=True)
    assert [note.split(",")[0] for note in found.notes] == [
        "frames: channels first",
        "frames: float64 in [0",
    ]


def test_missing_labels_are_unknown_and_a_missing_dt_is_noted(tmp_path: Path) -> None:
    found = read_back(tmp_path, labels=None, dt=None)
    assert (found.labels == -1).all()
    assert (found.visual_labels == -1).all()
    assert found.dt == 0.08
    assert found.notes == ("dt: missing, taken as 0.08 s",)


def test_order_of_keys_and_further_keys_do_not_matter(tmp_path: Path) -> None:
    shuffled = dict(reversed(arrays(rewards=np.zeros(TIME)).items()))
    np.savez(tmp_path / "a.npz", **shuffled)
    assert len(read(tmp_path / "a.npz")) == TIME


def test_integer_actions_and_no_actions_at_all_are_accepted(tmp_path: Path) -> None:
    assert read_back(tmp_path, actions=np.ones((TIME, 2), np.int64)).actions.dtype == np.float32
    assert read_back(tmp_path, actions=np.zeros((TIME, 0), np.float32)).actions.shape == (TIME, 0)


def test_a_state_of_other_width_is_left_out_and_noted(tmp_path: Path) -> None:
    found = read_back(tmp_path, state=np.zeros((TIME, 4), np.float32))
    assert found.state is None
    assert found.notes == ("state: expected 7 columns, got 4, left out",)


def with_nan(shape: tuple[int, ...]) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    array[2, ..., 0] = np.nan
    return array


BROKEN = {
    "no frames": ({"frames": None}, "frames: expected this key, got only actions, dt, labels"),
    "no actions": ({"actions": None}, "actions: expected this key"),
    "other size": ({"frames": np.zeros((TIME, 96, 96, 3), np.uint8)}, r"frames: .* got uint8 \[6, 96, 96, 3\]"),
    "one frame": ({"frames": np.zeros((1, 64, 64, 3), np.uint8)}, "frames: expected .* T >= 2"),
    "scalar frames": ({"frames": np.uint8(3)}, "frames: expected .* got uint8 3"),
    "whole numbers": ({"frames": np.zeros((TIME, 64, 64, 3), np.int64)}, "frames: expected uint8 .* got int64"),
    "floats to 255": ({"frames": np.full((TIME, 64, 64, 3), 255.0)}, r"frames: expected floats in \[0, 1\], got 255"),
    "NaN frames": ({"frames": with_nan((TIME, 64, 64, 3))}, r"frames: expected floats in \[0, 1\], got nan"),
    "too many actions": ({"actions": np.zeros((TIME + 1, 3))}, r"actions: expected .* T = 6 .* got float64 \[7, 3\]"),
    "flat actions": ({"actions": np.zeros(TIME)}, "actions: expected numbers"),
    "text": ({"actions": np.full((TIME, 3), "left")}, "actions: expected numbers .* got <U4"),
    "NaN actions": ({"actions": with_nan((TIME, 3))}, "actions: expected finite numbers, got 1 NaN .* in row 2"),
    "too large for float32": ({"actions": np.full((TIME, 3), 1e300)}, "actions: expected finite numbers, got 18"),
    "labels out of range": ({"labels": np.full(TIME, 3)}, "labels: expected 0 left, .* got 3 to 3"),
    "labels too short": ({"labels": np.zeros(TIME - 1, np.int8)}, r"labels: expected whole numbers \[6\]"),
    "float labels": ({"visual_labels": np.zeros(TIME)}, "visual_labels: expected whole numbers"),
    "state too short": ({"state": np.zeros((TIME - 1, 7))}, r"state: expected numbers \[6, 7\]"),
    "NaN state": ({"state": with_nan((TIME, 7))}, "state: expected finite numbers"),
    "dt of zero": ({"dt": np.float32(0)}, "dt: expected a number of seconds > 0, got float32 0.0"),
    "dt of NaN": ({"dt": np.float32(np.nan)}, "dt: expected a number"),
    "later schema": ({"schema": np.int64(2)}, "schema: expected 1 to 1, got int64 2"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_line_that_names_file_and_key(tmp_path: Path, case: str) -> None:
    changes, message = BROKEN[case]
    with pytest.raises(ValueError, match=message) as caught:
        read_back(tmp_path, **changes)
    assert str(caught.value).startswith(f"{tmp_path / 'traj1_64x64.npz'}: ")
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def test_pickled_objects_are_refused_without_running_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="got pickled objects, which are never loaded"):
        read_back(tmp_path, actions=np.array([Bomb()] * TIME, dtype=object))
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04", b"\x93NUMPY"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "traj1_64x64.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected an npz archive of plain arrays, got "):
        read(path)


def test_a_missing_file_is_a_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "traj1_64x64.npz")


def test_damage_anywhere_gives_a_value_error_or_a_valid_trajectory(tmp_path: Path) -> None:
    path = tmp_path / "traj1_64x64.npz"
    flat = replace(make_trajectory(), frames=np.zeros((TIME, 64, 64, 3), np.uint8))
    write(path, flat)
    intact = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(intact)
        for position in rng.integers(len(intact), size=3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(damaged) + 1)] if rng.random() < 0.2 else damaged)
        try:
            found = read(path)
        except ValueError:
            continue
        assert found.frames.shape == (TIME, 64, 64, 3)
        assert found.actions.shape[0] == TIME
