"""The folders of a cooperative data set, listed once each: a question per picture takes minutes on network disks."""

import os
from functools import lru_cache
from pathlib import Path

from v2x_teacher.data.documents import require_inside


class Tree:
    """Files below the root of a data set, and pictures that lie beside it because an archive unpacked them there."""

    def __init__(self, root: Path, archive: str) -> None:
        """`archive` is what the official archives' names start with, such as V2X-Seq-SPD."""
        self.root = root
        self._beside = {
            side: sorted(
                str(folder)
                for parent in (root.absolute().parent, root)
                for folder in parent.glob(f"{archive}-{side}-image*")
                if folder.is_dir()
            )
            for side in ("vehicle-side", "infrastructure-side")
        }
        self._archive = archive
        self._names = lru_cache(maxsize=None)(_names)

    def path(self, inside: object) -> str:
        """Of a file, from a path relative to the root.

        Raises:
            ValueError: it leads out of the root.
        """
        return f"{self.root}/{require_inside(inside)}"

    def has(self, path: str) -> bool:
        """Whether this is a file."""
        folder, name = os.path.split(path)
        return name in self._names(folder)

    def picture(self, inside: object) -> Path:
        """A picture, `vehicle-side/image/000123.jpg`, where the data set puts it or beside it.

        Raises:
            FileNotFoundError: it is in neither; `path: expected X, got Y` names both places.
            ValueError: the path leads out of the root.
        """
        expected = self.path(inside)
        side, name = inside.split("/")[0], os.path.basename(inside)
        beside = self._beside.get(side, [])
        for path in (expected, *(f"{folder}/{name}" for folder in beside)):
            if self.has(path):
                return Path(path)
        other = beside or [str(self.root.absolute().parent / f"{self._archive}-{side}-image")]
        raise FileNotFoundError(f"{expected}: expected this picture, or {other[0]}/{name}, got neither")


def _names(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()
