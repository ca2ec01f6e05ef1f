import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from drivelab_shared.arrays import array_hash, map_arrays, read_archive, write_arrays, write_rows
from drivelab_shared.errors import UserError

WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from drivelab_shared.arrays import write_rows

def blocks():
    for index in range(40):
        yield np.full((25, 1000), index, np.float32)
        if index == 1:
            print("writing", flush=True)
            if sys.argv[2] == "wait":
                sys.stdin.readline()

write_rows(Path(sys.argv[1]), blocks(), 1000, (1000,), np.float32)
"""


def start_writer(path, how):
    command = [sys.executable, "-c", WRITER, str(path), how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def is_whole(path):
    array = np.load(path, mmap_mode="r")
    return array.shape == (1000, 1000) and np.array_equal(array[:, 0], np.repeat(np.arange(40), 25))


def test_two_processes_may_write_the_same_file(tmp_path):
    path = tmp_path / "cache" / "rows.npy"
    writers = [start_writer(path, "wait") for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "writing\n"  # both are in the middle of it
    assert not path.exists()
    writers[0].communicate("\n")
    assert is_whole(path)
    mapped = np.load(path, mmap_mode="r")
    writers[1].communicate("\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert is_whole(path)
    assert mapped[999, 999] == 39  # whoever has mapped the first file keeps it
    assert [file.name for file in path.parent.iterdir()] == ["rows.npy"]


def test_a_killed_process_leaves_no_file_that_looks_whole(tmp_path):
    path = tmp_path / "rows.npy"
    writer = start_writer(path, "wait")
    assert writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert not path.exists()
    start_writer(path, "go").communicate()
    assert is_whole(path)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((2, 3), np.float32)], "expected 1 more rows"),
        ([np.zeros((4, 3), np.float32)], r"at most 3 rows of float32 \[3\], got float32 \[4, 3\]"),
        ([np.zeros((3, 2), np.float32)], r"rows of float32 \[3\], got float32 \[3, 2\]"),
        ([np.zeros((3, 3))], r"rows of float32 \[3\], got float64 \[3, 3\]"),
    ],
)
def test_blocks_that_do_not_make_up_the_shape_leave_nothing(tmp_path, blocks, message):
    with pytest.raises(ValueError, match=message):
        write_rows(tmp_path / "rows.npy", blocks, 3, (3,), np.float32)
    assert list(tmp_path.iterdir()) == []


def test_an_arrays_hash_is_of_content_shape_and_dtype(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(6, 4)
    np.save(tmp_path / "array.npy", array)
    assert array_hash(np.load(tmp_path / "array.npy", mmap_mode="r")[::2]) == array_hash(array[::2].copy())
    others = [array.T, array.reshape(4, 6), array.view(np.int8), array[::-1]]
    assert len({array_hash(each) for each in [array, *others]}) == 5


# --- archives


def text(path):
    path.write_text("hello")


def half(path):
    np.savez(path, rows=np.arange(1000))
    path.write_bytes(path.read_bytes()[:500])


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.arange(3))


def objects(path):
    np.savez(path, rows=np.array([{}], dtype=object))


def others(path):
    np.savez(path, columns=np.arange(3))


def rows_of(arrays):
    return arrays["rows"].tolist()


def test_an_archive_becomes_what_is_built_of_its_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", rows=np.arange(3))
    assert read_archive(tmp_path / "a.npz", "rows", rows_of) == [0, 1, 2]


@pytest.mark.parametrize("write", [text, half, one_array, objects, others, lambda path: None])
def test_whatever_else_lies_there_is_one_line(tmp_path, write):
    write(tmp_path / "a.npz")
    with pytest.raises(UserError) as caught:
        read_archive(tmp_path / "a.npz", "rows", rows_of)
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: expected rows, got ")
    assert "\n" not in str(caught.value)


def test_a_folder_of_arrays_is_written_block_by_block_and_mapped(tmp_path):
    blocks = [{"a": np.full((2, 3), k, np.float32), "b": np.full((2,), k)} for k in range(4)]
    write_arrays(tmp_path / "folder", iter(blocks), 8)
    found = map_arrays(tmp_path / "folder")
    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["a"][:, 0], np.repeat(np.arange(4), 2))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_of_arrays_whose_blocks_break_off_does_not_appear(tmp_path):
    def blocks():
        yield {"a": np.zeros((2, 3))}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_arrays(tmp_path / "folder", blocks(), 4)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_arrays_that_another_process_wrote_first_is_kept(tmp_path):
    def blocks():
        write_arrays(tmp_path / "folder", [{"a": np.ones((1, 2))}], 1)
        yield {"a": np.ones((1, 2))}

    write_arrays(tmp_path / "folder", blocks(), 1)
    np.testing.assert_array_equal(map_arrays(tmp_path / "folder")["a"], np.ones((1, 2)))
