"""Hashes of keys, and of files; these are remembered between calls: a large data set takes minutes to read."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivelab_shared.files import replace_text

_SETTLED_S = 2.0


def key_hash(key: Mapping[str, Any]) -> str:
    """Of a key that JSON can hold, or that becomes text."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def digests(paths: Sequence[Path], memory: Path) -> list[str]:
    """SHA-256 of each file, '' where it cannot be read.

    Hashes found in the JSON file `memory` hold while a file's size and time of change stay the same.
    """
    known = _read(memory)
    entries = {os.path.realpath(path): _entry(path, known.get(os.path.realpath(path))) for path in paths}
    # A file that was written just now can change again within the resolution of its time stamp.
    settled = {name: entry for name, entry in entries.items() if time.time_ns() - entry[1] > _SETTLED_S * 1e9}
    if not settled.items() <= known.items():
        replace_text(memory, json.dumps(known | settled))
    return [entry[2] for entry in entries.values()]


def _entry(path: Path, remembered: list | None) -> list:
    """Size in bytes, time of change in ns, hash."""
    try:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        if remembered and remembered[:2] == stamp:
            return remembered
        with path.open("rb") as file:
            return [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError:
        return [0, time.time_ns(), ""]


def _read(memory: Path) -> dict[str, list]:
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
