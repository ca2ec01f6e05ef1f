"""Hashes that are remembered: as long as the file has not changed, and never longer."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from drivelab_shared.digests import digests


def settled(path: Path, content: bytes) -> Path:
    """A file that was written a minute ago."""
    path.write_bytes(content)
    os.utime(path, (time.time() - 60,) * 2)
    return path


def test_hashes_are_those_of_the_contents(tmp_path: Path) -> None:
    paths = [settled(tmp_path / "a", b"one"), tmp_path / "missing", settled(tmp_path / "b", b"two")]
    expected = [hashlib.sha256(b"one").hexdigest(), "", hashlib.sha256(b"two").hexdigest()]
    assert digests(paths, tmp_path / "memory" / "hashes.json") == expected


def test_a_file_that_has_settled_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory = settled(tmp_path / "a", b"one"), tmp_path / "hashes.json"
    first = digests([path], memory)
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert digests([path], memory) == first


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    """It can change again within the resolution of its time stamp."""
    path, memory = tmp_path / "a", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    stamp = path.stat().st_mtime_ns
    first = digests([path], memory)
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp, stamp))
    assert digests([path], memory) != first


@pytest.mark.parametrize("content", ["", "{", "\x00"])
def test_a_broken_memory_is_forgotten(tmp_path: Path, content: str) -> None:
    path, memory = settled(tmp_path / "a", b"one"), tmp_path / "hashes.json"
    memory.write_text(content)
    assert digests([path], memory) == [hashlib.sha256(b"one").hexdigest()]
