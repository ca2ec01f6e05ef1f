"""The verb: a folder that is the same whoever makes it, continued after an interruption, and never overwritten."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivelab_shared.errors import UserError
from latent_predictor.config import MakeDataSettings
from latent_predictor.data import make_data as verb
from latent_predictor.data import simulate
from latent_predictor.data.make_data import ensure_data, make_data
from latent_predictor.data.trajectory import file_name, read, write


def tiny(folder: Path, **changes: object) -> MakeDataSettings:
    return MakeDataSettings(**{"data_dir": folder, "num_trajectories": 4, "num_frames": 8, "workers": 1, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_set_has_trajectories_splits_and_the_record_of_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(tiny(tmp_path / "data"))
    assert sorted(contents(tmp_path / "data")) == sorted([*map(file_name, range(4)), "data.json", "splits.json"])
    splits = json.loads((tmp_path / "data" / "splits.json").read_text())
    assert splits == {
        "train": ["traj0_64x64.npz", "traj1_64x64.npz"],
        "val": ["traj2_64x64.npz"],
        "test": ["traj3_64x64.npz"],
    }
    found = read(tmp_path / "data" / "traj0_64x64.npz")
    assert len(found) == 8
    assert found.notes == ()
    np.testing.assert_array_equal(found.frames, simulate.drive(0, 0, 8, "road", "").frames)
    printed = capsys.readouterr()
    assert "frames/s" in printed.out
    assert "kappa" in printed.out
    assert printed.err == ""


def test_100_drives_are_split_70_10_20(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = simulate.drive(0, 0, 2, "road", "")
    monkeypatch.setattr(simulate, "drive", lambda *_: one)
    make_data(MakeDataSettings(data_dir=tmp_path, num_frames=2, workers=1))
    splits = json.loads((tmp_path / "splits.json").read_text())
    assert {split: len(names) for split, names in splits.items()} == {"train": 70, "val": 10, "test": 20}


def test_two_processes_make_the_same_bytes_as_one(tmp_path: Path) -> None:
    make_data(tiny(tmp_path / "one"))
    make_data(tiny(tmp_path / "two", workers=2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_existing_trajectories_are_not_overwritten(tmp_path: Path) -> None:
    make_data(tiny(tmp_path))
    before = contents(tmp_path)
    for changes in ({}, {"seed": 1}, {"num_trajectories": 5}):
        with pytest.raises(UserError, match=r"traj0_64x64.npz: expected a folder without trajectories"):
            make_data(tiny(tmp_path, **changes))
    assert contents(tmp_path) == before


def test_trajectories_of_unknown_origin_are_not_completed(tmp_path: Path) -> None:
    write(tmp_path / file_name(2), simulate.drive(0, 0, 8, "road", ""))
    with pytest.raises(UserError, match=r"traj2_64x64.npz: expected a folder without trajectories"):
        make_data(tiny(tmp_path))
    assert list(contents(tmp_path)) == ["traj2_64x64.npz"]


def interrupt_after(num_drives: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, made = simulate.drive, []

    def interrupted(*arguments: object) -> object:
        if len(made) == num_drives:
            raise KeyboardInterrupt
        made.append(arguments)
        return drive(*arguments)

    monkeypatch.setattr(simulate, "drive", interrupted)


def test_an_interrupted_set_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_data(tiny(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            make_data(tiny(tmp_path / "resumed"))
    kept = tmp_path / "resumed" / file_name(1)
    assert sorted(contents(tmp_path / "resumed")) == ["data.json", file_name(0), file_name(1)]
    written_at = kept.stat().st_mtime_ns
    with pytest.raises(UserError, match="expected a folder without trajectories"):
        make_data(tiny(tmp_path / "resumed", num_frames=9))
    stranger = tmp_path / "resumed" / "mine.npz"
    stranger.write_bytes(kept.read_bytes())
    with pytest.raises(UserError, match=r"mine.npz: expected a folder without trajectories"):
        make_data(tiny(tmp_path / "resumed"))
    stranger.unlink()
    make_data(tiny(tmp_path / "resumed"))
    assert kept.stat().st_mtime_ns == written_at
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_a_path_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="data_dir: expected a folder to write to, got File exists"):
        make_data(tiny(tmp_path / "data"))


def video(folder: Path) -> Path:
    path = folder / "dashcam.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (160, 120))
    for grey in range(0, 200, 20):
        writer.write(np.full((120, 160, 3), grey, np.uint8))
    writer.release()
    return path


def test_videos_are_added_one_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    make_data(MakeDataSettings(data_dir=folder, video=video(tmp_path)))
    before = contents(folder)
    make_data(MakeDataSettings(data_dir=folder, video=video(tmp_path)))
    assert sorted(contents(folder)) == [file_name(0), file_name(1)]
    assert contents(folder)[file_name(0)] == before[file_name(0)]
    assert len(read(folder / file_name(1))) == 5


def test_a_video_does_not_join_drives_with_actions(tmp_path: Path) -> None:
    make_data(tiny(tmp_path / "data"))
    before = contents(tmp_path / "data")
    with pytest.raises(UserError, match=r"data_dir: expected .* without actions.*got 3 actions in traj0_64x64.npz"):
        make_data(MakeDataSettings(data_dir=tmp_path / "data", video=video(tmp_path)))
    assert contents(tmp_path / "data") == before


def test_a_video_does_not_join_others_at_another_rate(tmp_path: Path) -> None:
    make_data(MakeDataSettings(data_dir=tmp_path / "videos", video=video(tmp_path)))
    with pytest.raises(UserError, match=r"rate_hz: expected 12.5 as in traj0_64x64.npz, got 25"):
        make_data(MakeDataSettings(data_dir=tmp_path / "videos", video=video(tmp_path), rate_hz=25.0))


def test_a_video_does_not_join_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("nothing")
    with pytest.raises(UserError, match=r"mine.npz: expected an npz archive"):
        make_data(MakeDataSettings(data_dir=tmp_path, video=video(tmp_path)))


def test_a_splits_file_that_misses_the_video_is_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "splits.json").write_text("{}")
    make_data(MakeDataSettings(data_dir=folder, video=video(tmp_path)))
    assert "splits.json: add traj0_64x64 to a split" in capsys.readouterr().out


def test_default_data_are_made_only_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    ensure_data(tmp_path / "empty")
    expected = [MakeDataSettings(data_dir=tmp_path / name) for name in ("new", "empty")]
    assert made == expected
    (tmp_path / "empty" / file_name(0)).write_text("")
    ensure_data(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    ensure_data(tmp_path / "file")
    assert made == expected


def test_unfinished_default_data_are_finished_and_others_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make_data(MakeDataSettings(data_dir=tmp_path / "default", workers=1))
    with pytest.raises(KeyboardInterrupt):
        make_data(tiny(tmp_path / "other"))
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "default")
    assert made == [MakeDataSettings(data_dir=tmp_path / "default")]
    with pytest.raises(UserError, match="data_dir: expected finished data, got unfinished data"):
        ensure_data(tmp_path / "other")


RUN = """
import sys
from pathlib import Path
from latent_predictor.config import MakeDataSettings
from latent_predictor.data.make_data import make_data
if __name__ == "__main__":
    make_data(MakeDataSettings(data_dir=Path(sys.argv[1]), num_trajectories=40, num_frames=60, workers=2))
"""


def ps(*arguments: str) -> list[str]:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout.split()


def is_running(process_id: str) -> bool:
    return any(not state.startswith("Z") for state in ps("-o", "stat=", "-p", process_id))


def wait_until(holds: object, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process table")
def test_a_killed_run_leaves_no_processes_and_no_broken_files(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    folder = tmp_path / "data"
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", folder], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: folder.exists() and any(folder.glob("traj*.npz")))
    children = ps("-o", "pid=", "--ppid", str(process.pid))
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not any(map(is_running, children)))
    made = sorted(folder.glob("traj*.npz"))
    assert 1 <= len(made) < 40
    for path in made:
        assert len(read(path)) == 60
    assert not (folder / "splits.json").exists()
