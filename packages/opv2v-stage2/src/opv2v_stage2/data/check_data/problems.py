"""Problems as a person wants to read them: worst first, and the same one of a thousand files as one line."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES = ("error", "warning", "note")
MOST_NAMED = 10

Grid = tuple[list[str], list[list[str]]]
"""Header and body of a table."""


@dataclass(frozen=True)
class Problem:
    """One finding. Errors make an agent's frame unusable, warnings change what figures mean."""

    severity: Severity
    source: str
    """File, or folder."""
    message: str

    @classmethod
    def of(cls, severity: Severity, error: Exception) -> "Problem":
        """What an error says, `source: message`."""
        source, _, message = str(error).partition(": ")
        return cls(severity, source, message)

    def __str__(self) -> str:
        return printable(f"{self.severity}: {self.source}: {self.message}")


def grouped(problems: Iterable[Problem]) -> list[Problem]:
    """One problem per kind, sorted by severity. The first file is named, and nine more of the others.

    Two problems are of one kind if they differ in nothing but numbers and the file.
    """
    kinds: dict[tuple, list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        message = re.sub(r"-?[0-9][0-9.e+-]*", "#", problem.message)
        kinds.setdefault((problem.severity, message), []).append(problem)
    lines = [_one_line(of_kind) for of_kind in kinds.values()]
    return sorted(lines, key=lambda problem: SEVERITIES.index(problem.severity))


def _one_line(problems: Sequence[Problem]) -> Problem:
    first = problems[0]
    others = ["/".join(PurePath(problem.source).parts[-3:]) for problem in problems[1:]]
    if not others:
        return first
    named = ", ".join(others[: MOST_NAMED - 1]) + (" ..." if len(others) >= MOST_NAMED else "")
    return Problem(first.severity, first.source, f"{first.message}; the same in {len(others)} more: {named}")


def printable(text: str) -> str:
    """The text without line breaks and escape sequences: names of files are somebody else's."""
    return "".join(character if character.isprintable() else "?" for character in text)


def aligned(grid: Grid) -> list[str]:
    """A table as lines of text, figures on the right."""
    header, body = grid
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in (header, *body)
    ]
