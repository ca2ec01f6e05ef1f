"""The verb: a folder that is the same whoever makes it, continued after an interruption, and never overwritten."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data import ensure_data, make_data
from v2x_teacher.data.make_data.official import point_cloud

verb = importlib.import_module("v2x_teacher.data.make_data")


def tiny(folder: Path, **changes: object) -> MakeDataSettings:
    small = {"num_sequences": 3, "seconds": 6.0, "width": 32, "picture_every": 20, "workers": 1}
    return MakeDataSettings(**{"data_dir": folder, **small, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def poses(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted((folder / "vehicle-side/calib/novatel_to_world").iterdir())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted process writes."""
    folder = tmp_path_factory.mktemp("whole")
    make_data(tiny(folder))
    return contents(folder)


def test_one_line_says_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(tiny(tmp_path / "data", picture_every=60))
    printed = capsys.readouterr()
    assert printed.err == ""
    (line,) = printed.out.splitlines()
    assert line.startswith(
        f"{tmp_path / 'data'}: spd, 3 sequences (2 cross, 1 light, 0 bend, 0 lead), 180 vehicle and "
    )
    assert " 6 pictures in " in line
    assert line.endswith("pictures/s")


def test_two_processes_make_the_same_bytes_as_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    make_data(tiny(tmp_path, workers=2))
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("layout", ["spd", "dair", "flat"])
def test_data_are_not_overwritten(layout: str, tmp_path: Path) -> None:
    make_data(tiny(tmp_path, layout=layout))
    before = contents(tmp_path)
    for changes in ({}, {"seed": 1}, {"num_sequences": 4}, {"layout": "spd" if layout != "spd" else "dair"}):
        with pytest.raises(UserError, match=r"data_dir: expected an empty folder \(data are never overwritten\)"):
            make_data(tiny(tmp_path, **{"layout": layout, **changes}))
    assert contents(tmp_path) == before


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "vehicle-side").mkdir()
    with pytest.raises(UserError, match="expected an empty folder"):
        make_data(tiny(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["vehicle-side"]


def interrupt_after(num_sequences: int, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate, made = verb.simulate, []

    def interrupted(*arguments: object) -> object:
        if len(made) == num_sequences:
            raise KeyboardInterrupt
        made.append(arguments)
        return simulate(*arguments)

    monkeypatch.setattr(verb, "simulate", interrupted)


def test_interrupted_data_are_continued(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            make_data(tiny(tmp_path))
    assert not (tmp_path / "cooperative-split-data-spd.json").exists()
    kept = min((tmp_path / "vehicle-side/image").iterdir())
    written_at = kept.stat().st_mtime_ns
    with pytest.raises(UserError, match="expected an empty folder"):
        make_data(tiny(tmp_path, seed=1))
    make_data(tiny(tmp_path, workers=2))
    assert kept.stat().st_mtime_ns == written_at
    assert contents(tmp_path) == whole


def test_a_sequence_that_was_cut_off_is_written_again(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("v2x_teacher.data.make_data.official.write_picture", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_data(tiny(tmp_path))
    half = tmp_path / "vehicle-side/calib/novatel_to_world/000001.json"
    half.write_text(half.read_text()[:20])
    make_data(tiny(tmp_path))
    assert contents(tmp_path) == whole


def test_flat_data_are_continued_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_data(tiny(tmp_path / "whole", layout="flat"))
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            make_data(tiny(tmp_path / "resumed", layout="flat"))
    make_data(tiny(tmp_path / "resumed", layout="flat"))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_a_path_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="data_dir: expected a folder to write to, got File exists"):
        make_data(tiny(tmp_path / "data"))


def test_default_data_are_made_only_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    ensure_data(tmp_path / "empty")
    expected = [MakeDataSettings(data_dir=tmp_path / name) for name in ("new", "empty")]
    assert made == expected
    (tmp_path / "empty" / "vehicle-side").mkdir()
    ensure_data(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    ensure_data(tmp_path / "file")
    assert made == expected


def test_unfinished_default_data_are_finished_and_others_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch)
    for settings in (MakeDataSettings(data_dir=tmp_path / "default", workers=1), tiny(tmp_path / "other")):
        with pytest.raises(KeyboardInterrupt):
            make_data(settings)
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "default")
    assert made == [MakeDataSettings(data_dir=tmp_path / "default")]
    with pytest.raises(UserError, match="data_dir: expected finished data, got unfinished data"):
        ensure_data(tmp_path / "other")


def test_data_that_were_hardly_begun_are_begun_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    (tmp_path / ".made").mkdir()
    make_data(tiny(tmp_path))
    assert contents(tmp_path) == whole


def test_no_mark_of_an_unfinished_run_stays_behind(whole: dict[str, bytes]) -> None:
    assert [path for path in whole if "/." in path or path.startswith(".")] == []


# --- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "dair"},
        {"num_sequences": 4},
        {"seconds": 7.0},
        {"picture_every": 30},
        {"width": 48},
        {"lidar": True},
        {"position_noise_m": 0.5},
        {"drop_frames": 0.3},
        {"id_gaps": True},
        {"forward_axis": "y"},
        {"seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_data_begun_with_one_switch_are_not_continued_with_another(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make_data(tiny(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        make_data(tiny(tmp_path))
    with pytest.raises(UserError, match="expected an empty folder"):
        make_data(tiny(tmp_path, **changes))


def test_noise_changes_poses_and_nothing_else(tmp_path: Path, whole: dict[str, bytes]) -> None:
    make_data(tiny(tmp_path, position_noise_m=0.0))
    changed = {path for path, content in contents(tmp_path).items() if content != whole[path]}
    assert {Path(path).parent.name for path in changed} == {"novatel_to_world", ""}
    assert len(changed) > 100


def test_another_forward_axis_turns_the_written_frame(tmp_path: Path) -> None:
    make_data(tiny(tmp_path / "x", position_noise_m=0.0))
    make_data(tiny(tmp_path / "y", position_noise_m=0.0, forward_axis="y"))
    first, second = (json.loads(poses(tmp_path / axis)[5]) for axis in ("x", "y"))
    assert first["translation"] == second["translation"]
    np.testing.assert_allclose(np.array(first["rotation"])[:, 0], np.array(second["rotation"])[:, 1], atol=1e-9)


def test_lidar_writes_a_cloud_for_every_vehicle_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the sweep: what matters here is which frames get one, and at which time."""
    asked: list[float] = []

    def sweep(_: object, time_s: float, rng: np.random.Generator) -> np.ndarray:
        asked.append(time_s)
        return rng.normal(size=(7, 4)).astype(np.float32)

    monkeypatch.setattr("v2x_teacher.data.make_data.views.Views.lidar", sweep)
    make_data(tiny(tmp_path, lidar=True))
    clouds = sorted((tmp_path / "vehicle-side/velodyne").iterdir())
    assert [path.stem for path in clouds] == sorted(path.stem for path in (tmp_path / "vehicle-side/image").iterdir())
    assert len({path.read_bytes() for path in clouds}) == len(clouds) == len(asked)
    rows = json.loads((tmp_path / "vehicle-side/data_info.json").read_text())
    start_us = int(rows[0]["pointcloud_timestamp"]) - 70_000
    row = next(row for row in rows if row["frame_id"] == clouds[0].stem)
    assert asked[0] == pytest.approx((int(row["pointcloud_timestamp"]) - start_us) / 1e6, abs=0.005)


def test_a_cloud_is_a_binary_pcd_of_four_floats() -> None:
    points = np.arange(12, dtype=np.float32).reshape(3, 4)
    header, _, data = point_cloud(points).partition(b"DATA binary\n")
    lines = dict(line.split(" ", 1) for line in header.decode().splitlines() if not line.startswith("#"))
    assert lines["FIELDS"] == "x y z intensity"
    assert lines["SIZE"] == "4 4 4 4"
    assert lines["TYPE"] == "F F F F"
    assert (lines["WIDTH"], lines["HEIGHT"], lines["POINTS"]) == ("3", "1", "3")
    np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(3, 4), points)


# --- processes --------------------------------------------------------------------------------------------------------


RUN = """
import sys
from pathlib import Path
from v2x_teacher.config import MakeDataSettings
from v2x_teacher.data.make_data import make_data
if __name__ == "__main__":
    make_data(
        MakeDataSettings(
            data_dir=Path(sys.argv[1]), num_sequences=8, seconds=6.0, width=32, picture_every=5, workers=2
        )
    )
"""


def ps(*arguments: str) -> list[str]:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout.split()


def is_running(process_id: str) -> bool:
    return any(not state.startswith("Z") for state in ps("-o", "stat=", "-p", process_id))


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process table")
def test_a_killed_run_leaves_no_processes_and_is_continued_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", folder], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: (folder / ".made").exists() and any((folder / ".made").iterdir()))
    children = ps("-o", "pid=", "--ppid", str(process.pid))
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not any(map(is_running, children)))
    assert 1 <= len(list((folder / ".made").iterdir())) < 8
    assert not (folder / "cooperative-split-data-spd.json").exists()
    for name in ("killed", "whole"):
        changes = {"num_sequences": 8, "picture_every": 5}
        make_data(tiny(tmp_path / name, **changes))
    assert contents(folder) == contents(tmp_path / "whole")
