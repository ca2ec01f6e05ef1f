"""Whatever a user hands in: one line on stderr that says what was expected and what was found, and exit code 2."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from latent_predictor import cli
from latent_predictor.data.store import open_store

LENGTH = 40
BAD = Path("data/traj1_64x64.npz")
"""The file that most cases spoil. Every test runs in a folder of its own that has four good drives in `data`."""


def arrays(number: int, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A valid file with some arrays replaced, or left out where None."""
    rng = np.random.default_rng(number)
    valid = {
        "frames": rng.integers(0, 256, (LENGTH, 64, 64, 3), dtype=np.uint8),
        "actions": rng.uniform(0, 1, (LENGTH, 3)).astype(np.float32),
        "labels": np.ones(LENGTH, np.int8),
        "visual_labels": np.ones(LENGTH, np.int8),
        "dt": np.float32(0.08),
    }
    return {key: array for key, array in {**valid, **changes}.items() if array is not None}


@pytest.fixture(autouse=True)
def four_good_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    BAD.parent.mkdir()
    for number in range(4):
        np.savez(BAD.with_name(f"traj{number}_64x64.npz"), **arrays(number))


def replaced(**changes: np.ndarray | None) -> Callable[[], None]:
    return lambda: np.savez(BAD, **arrays(1, **changes))


def splits(**names: list[object]) -> Callable[[], None]:
    return lambda: text("data/splits.json", json.dumps(names))()


def text(path: str, content: str) -> Callable[[], None]:
    return lambda: Path(path).write_text(content) and None


def only(*numbers: int) -> Callable[[], None]:
    def remove_others() -> None:
        for path in BAD.parent.iterdir():
            if path.name not in [f"traj{number}_64x64.npz" for number in numbers]:
                path.unlink()

    return remove_others


def cut_off() -> None:
    BAD.write_bytes(BAD.read_bytes()[:100_000])


def flip_a_byte() -> None:
    content = bytearray(BAD.read_bytes())
    content[100_000] ^= 1
    BAD.write_bytes(content)


def one_array_instead_of_an_archive() -> None:
    with BAD.open("wb") as file:
        np.save(file, np.zeros(3))


def text_instead_of_an_array() -> None:
    with zipfile.ZipFile(BAD, "w") as archive:
        archive.writestr("frames.npy", "hello")
        archive.writestr("actions.npy", "world")


def header_of_a_terabyte() -> None:
    with zipfile.ZipFile(BAD, "w") as archive:
        for key in ("frames", "actions"):
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (90000000, 64, 64, 3), }"
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def link_out_of_the_folder() -> None:
    BAD.rename("elsewhere.npz")
    BAD.symlink_to(Path("elsewhere.npz").absolute())


def folder_in_the_place_of_a_file() -> None:
    BAD.unlink()
    BAD.mkdir()


def broken_link() -> None:
    BAD.unlink()
    BAD.symlink_to(BAD.name)


def pipe() -> None:
    BAD.unlink()
    os.mkfifo(BAD)


def key_with_a_line_break() -> None:
    with zipfile.ZipFile(BAD, "w") as archive:
        archive.writestr("a\nb", "")


def same_frames_in_train_and_test() -> None:
    np.savez(BAD.with_name("traj3_64x64.npz"), **arrays(1))


def spoilt(key: str, index: int, value: float) -> Callable[[], None]:
    def spoil() -> None:
        array = arrays(1)[key]
        array.flat[index] = value
        replaced(**{key: array})()

    return spoil


@dataclass(frozen=True)
class Data:
    """A way to spoil the folder `data`, and a part of the line that says so."""

    spoil: Callable[[], object]
    expected: str
    fatal: bool = False
    """Nothing is left for skip_invalid to go on with."""


FLOATS = np.linspace(0, 2, LENGTH * 64 * 64 * 3, dtype=np.float32).reshape(LENGTH, 64, 64, 3)
FOUR = [f"traj{number}_64x64.npz" for number in range(4)]

DATA = {
    "not a zip": Data(lambda: BAD.write_bytes(b"hello"), "expected an npz archive, got File is not a zip file"),
    "an empty file": Data(lambda: BAD.write_bytes(b""), "expected an npz archive, got"),
    "a truncated file": Data(cut_off, "expected an npz archive, got"),
    "a flipped byte": Data(flip_a_byte, "got Bad CRC-32 for file 'frames.npy'"),
    "a single array": Data(one_array_instead_of_an_archive, "expected an npz archive, got"),
    "a pickle": Data(lambda: BAD.write_bytes(pickle.dumps({"frames": 1})), "expected an npz archive, got"),
    "a folder": Data(folder_in_the_place_of_a_file, "expected a file, got a folder"),
    "a broken link": Data(broken_link, "expected a file, got a folder, a broken link or a device"),
    "a pipe": Data(pipe, "expected a file, got a folder, a broken link or a device"),
    "control characters": Data(key_with_a_line_break, "frames: expected this key, got only a?b"),
    "no arrays": Data(text_instead_of_an_array, "frames: expected a numpy array, got"),
    "no frames": Data(replaced(frames=None), "frames: expected this key, got only actions.npy, dt.npy"),
    "no actions": Data(replaced(actions=None), "actions: expected this key, got only"),
    "large frames": Data(replaced(frames=np.zeros((LENGTH, 96, 96, 3), np.uint8)), "frames: expected uint8 [T, 64, 64"),
    "wide integers": Data(replaced(frames=np.zeros((LENGTH, 64, 64, 3), int)), "frames: expected uint8 [T, 64, 64, 3]"),
    "floats beyond 1": Data(replaced(frames=FLOATS), "frames: expected floats in [0, 1], got 0.0 to 2.0"),
    "NaN": Data(
        spoilt("actions", 7, np.nan), "actions: expected finite numbers, got 1 NaN or infinite, first in row 2"
    ),
    "infinite state": Data(replaced(state=np.full((LENGTH, 7), np.inf)), "state: expected finite numbers, got 280"),
    "an action too many": Data(
        replaced(actions=np.zeros((LENGTH + 1, 3))), "actions: expected numbers [T, A] with T = 40"
    ),
    "flat actions": Data(replaced(actions=np.zeros(LENGTH)), "actions: expected numbers [T, A] with T = 40"),
    "pickled labels": Data(
        replaced(labels=np.array([{}] * LENGTH)), "labels: expected plain numbers, got pickled objects"
    ),
    "a fourth class": Data(
        spoilt("labels", 7, 3), "labels: expected 0 left, 1 center, 2 right or -1 unknown, got 1 to 3"
    ),
    "too few labels": Data(replaced(labels=np.zeros(7, np.int8)), "labels: expected whole numbers [40], one per frame"),
    "no time": Data(replaced(dt=np.float32(0)), "dt: expected a number of seconds > 0, got float32 0.0"),
    "a later schema": Data(replaced(schema=np.int64(2)), "schema: expected 1 to 1, got int64 2"),
    "too short": Data(
        replaced(**{key: array[:30] for key, array in arrays(1).items() if array.ndim}),
        "frames: expected at least 31, got 30",
    ),
    "a size that is a lie": Data(header_of_a_terabyte, "frames: expected 1105920000000 bytes for uint8 [90000000, 64"),
    "a link": Data(link_out_of_the_folder, "expected a file, got a link to /"),
    "another width": Data(
        replaced(actions=np.zeros((LENGTH, 2))), "actions: expected 3 columns as in most files, got 2"
    ),
    "another rate": Data(replaced(dt=np.float32(0.04)), "dt: expected 0.08 s as in most files, got 0.04"),
    "a leak": Data(
        same_frames_in_train_and_test, "the same as in traj1_64x64.npz, and in train and test at once", True
    ),
    "in two splits": Data(splits(train=FOUR[:2], val=FOUR[2:3], test=[FOUR[3], FOUR[0]]), "got train and test"),
    "in no split": Data(
        splits(train=FOUR[1:2], val=FOUR[2:3], test=FOUR[3:]), "expected it in one of train, val, test"
    ),
    "a stranger": Data(
        splits(train=FOUR[:2], val=FOUR[2:3], test=[FOUR[3], "traj9"]), "expected names of files beside it, got 'traj9'"
    ),
    "no test": Data(splits(train=FOUR[:3], val=FOUR[3:], test=[]), "got none for test", True),
    "no JSON": Data(text("data/splits.json", "{train"), "splits.json: expected JSON, got", True),
    "a list": Data(text("data/splits.json", "[]"), "expected lists of names under train, val, test, got list", True),
    "a fourth split": Data(splits(train=[], holdout=[]), "under train, val, test, got train, holdout", True),
    "numbers": Data(splits(train=[1, 2]), "train: expected a list of names, got [1, 2]", True),
    "a path": Data(
        splits(test=["../data/traj0_64x64.npz"]), "test: expected names of files beside it, got '../data", True
    ),
    "two short drives": Data(only(0, 1), "frames: expected at least 93 (with fewer than 3 trajectories", True),
    "nothing": Data(only(), "data: data_dir: expected npz files (make-data makes some), got none", True),
    "no folder": Data(
        lambda: Path("data").rename("date"), "expected a folder of npz files (make-data makes one)", True
    ),
}


@dataclass(frozen=True)
class Command:
    """A command line that cannot work, and a part of the line that says so."""

    arguments: list[str]
    expected: str
    prepare: Callable[[], object] = lambda: None


COMMANDS = {
    "unknown verb": Command(["chek-data"], "unknown verb 'chek-data'; did you mean 'check-data'?"),
    "unknown file": Command(
        ["check-data", "--data_dir", "data", "--npz_files", "traj11_64x64.npz"],
        "got 'traj11_64x64.npz'; did you mean 'traj1_64x64.npz'?",
    ),
    "file elsewhere": Command(
        ["check-data", "--data_dir", "data", "--npz_files", "../data/traj1_64x64.npz"],
        "npz_files: expected names of files in it, got '../data/traj1_64x64.npz'",
    ),
    "unwritable report": Command(
        ["check-data", "--data_dir", "data", "--report", "file/check.html"],
        "file/check.html: report: expected a place to write to, got",
        text("file", ""),
    ),
    "missing config": Command(["train", "--config", "quik"], "'quik'"),
    "bad YAML": Command(["train", "--config", "a.yaml"], "a.yaml: line", text("a.yaml", "lr: [1")),
    "unknown YAML key": Command(
        ["train", "--config", "a.yaml"],
        "a.yaml: unknown setting 'lamda_cls'; did you mean 'lambda_cls'?",
        text("a.yaml", "lamda_cls: 1"),
    ),
    "wrong YAML value": Command(["train", "--config", "a.yaml"], "a.yaml: lr: ", text("a.yaml", "lr: fast")),
    "negative lambda": Command(["train", "--lambda_cls", "-1"], "lambda_cls: expected a number >= 0, got -1.0"),
    "too few drives": Command(["make-data", "--num_trajectories", "2"], "num_trajectories: expected at least 3"),
    "data that exist": Command(["make-data", "--data_dir", "data"], "expected a folder without trajectories"),
    "missing video": Command(["make-data", "--data_dir", "new", "--video", "a.mp4"], "a.mp4: "),
    "no video": Command(["make-data", "--data_dir", "new", "--video", "a.mp4"], "a.mp4: ", text("a.mp4", "hello")),
}

BOXES = {
    "unknown flag": Command(["check-data", "--data_dri", "x"], "--data_dri"),
    "text for a number": Command(["check-data", "--min_frames", "few"], "--min_frames"),
    "unknown choice": Command(["make-data", "--view", "side"], "--view"),
}
"""What tyro reports in a box of several lines."""


def run(arguments: list[str]) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as stop:
        return stop.code


def test_the_list_is_long_enough() -> None:
    assert len(DATA) + len(COMMANDS) + len(BOXES) >= 20


@pytest.mark.parametrize("name", DATA)
def test_spoilt_data_are_one_line_of_check_data(name: str, capsys: pytest.CaptureFixture) -> None:
    case = DATA[name]
    case.spoil()
    assert run(["check-data", "--data_dir", "data"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("data")
    assert case.expected in printed.out + printed.err


@pytest.mark.parametrize("name", DATA)
def test_spoilt_data_are_not_opened(name: str) -> None:
    case = DATA[name]
    case.spoil()
    with pytest.raises(UserError) as refusal:
        open_store(Path("data"), Path("cache"))
    assert case.expected in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(Path().glob("cache/frames-*"))


@pytest.mark.parametrize("name", [name for name, case in DATA.items() if not case.fatal])
def test_skip_invalid_goes_on_with_the_rest_and_lists_what_it_left_out(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    case = DATA[name]
    case.spoil()
    assert run(["check-data", "--data_dir", "data", "--skip_invalid"]) == 0
    assert any(
        line.startswith("left out: data/") and case.expected in line for line in capsys.readouterr().out.split("\n")
    )
    store = open_store(Path("data"), Path("cache"), skip_invalid=True)
    assert {span.split for span in store.trajectories} == {"train", "val", "test"}
    assert len(store.frames) in (3 * LENGTH, 4 * LENGTH)
    assert any(case.expected in line for line in store.left_out)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_impossible_command_is_one_line(name: str, capsys: pytest.CaptureFixture) -> None:
    case = COMMANDS[name]
    case.prepare()
    assert run(case.arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert case.expected in message


@pytest.mark.parametrize("name", BOXES)
def test_a_bad_flag_is_named(name: str, capsys: pytest.CaptureFixture) -> None:
    assert run(BOXES[name].arguments) == 2
    assert BOXES[name].expected in capsys.readouterr().err


def test_an_unreadable_file_is_named(capsys: pytest.CaptureFixture) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    BAD.chmod(0)
    assert run(["check-data", "--data_dir", "data"]) == 2
    assert "traj1_64x64.npz: expected an npz archive, got Permission denied" in capsys.readouterr().err
