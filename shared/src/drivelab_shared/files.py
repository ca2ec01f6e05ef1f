"""Files that are either the old or the new version, never a part of one."""

import contextlib
import os
from pathlib import Path


def replace_bytes(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then put it in its place in one step. Makes missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()


def replace_text(path: Path, text: str) -> None:
    """Like `replace_bytes`. What UTF-8 cannot hold (bytes of odd file names) becomes question marks."""
    replace_bytes(path, text.encode("utf-8", "replace"))
