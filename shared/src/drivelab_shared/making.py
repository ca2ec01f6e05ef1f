"""A data set that is made piece by piece: never written over another one, and finished where it was interrupted."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text

_RECORD = "data.json"
"""What made the folder; written first."""
_MADE = ".made"
"""Names the finished pieces; this folder is there as long as the data are not complete."""


class Making:
    """The folder of a data set.

    Args:
        folder: where it is made.
        record: everything that its bytes depend on, as JSON can hold it.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self._record = json.loads(json.dumps(record))  # tuples become lists, as when it is read

    def begin(self, pieces: Sequence[str]) -> list[str]:
        """Mark the folder as ours, and return the pieces that are not there yet.

        Raises:
            UserError: it holds anything but an interrupted making with the same record.
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if any(self.folder.iterdir()) and not (self._is_unfinished and self._is_ours):
            found = "expected an empty folder (data are never overwritten), got this one"
            raise UserError(f"{self.folder}: data_dir: {found}")
        (self.folder / _MADE).mkdir(exist_ok=True)
        replace_text(self.folder / _RECORD, json.dumps(self._record, indent=2) + "\n")
        return [piece for piece in pieces if not (self.folder / _MADE / piece).exists()]

    def note(self, piece: str) -> None:
        """A piece is there, whole."""
        (self.folder / _MADE / piece).touch()

    def finish(self) -> None:
        """All pieces are there, and whatever belongs to none of them."""
        shutil.rmtree(self.folder / _MADE)

    def ensure(self, make: Callable[[], None]) -> None:
        """Call `make` where there is no folder or an empty one, or where that was interrupted.

        Raises:
            UserError: a making with another record was interrupted.
        """
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            make()
        elif self._is_unfinished:
            if not self._is_ours:
                found = f"unfinished data: run make-data again with the settings in {self.folder / _RECORD}"
                raise UserError(f"{self.folder}: data_dir: expected finished data, got {found}")
            make()

    @property
    def _is_unfinished(self) -> bool:
        return (self.folder / _MADE).is_dir()

    @property
    def _is_ours(self) -> bool:
        """Whether the record is the same. One that is missing or torn is: it is the first thing to be written."""
        try:
            return json.loads((self.folder / _RECORD).read_text(encoding="utf-8")) == self._record
        except (FileNotFoundError, ValueError, RecursionError):
            return True
