"""What can be said against a dataset, one line each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from drivelab_shared.errors import UserError

Level = Literal["fatal", "error", "warning"]
_MOST_NAMED = 10
_NUMBER = re.compile(r"-?\d[\d.]*(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Problem:
    """One line about one file."""

    source: str
    """The file, or the folder."""
    text: str
    """`key: expected X, got Y`."""
    level: Level = "error"
    """`error` costs its episode the place in the dataset; `fatal` leaves nothing to go on with."""
    episode: int | None = None
    """None: about the whole."""

    @classmethod
    def fatal(cls, error: UserError) -> "Problem":
        """What an error says, if nothing can be done without what it is about."""
        source, _, text = str(error).partition(": ")
        return cls(source, text, "fatal")

    def __str__(self) -> str:
        where = "" if self.episode is None else f"episode_{self.episode}: "
        return printable(f"{self.source}: {where}{self.text}")


def printable(line: str) -> str:
    """The line without line breaks and escape sequences: names of files and keys are somebody else's text."""
    return "".join(character if character.isprintable() else "?" for character in line)


def grouped(problems: Iterable[Problem]) -> list[str]:
    """One line per kind of problem, so that what all episodes have in common is said once.

    Two are of one kind if they differ in nothing but numbers. The first is quoted, the episodes of the others named.
    """
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.source, _NUMBER.sub("#", problem.text)), []).append(problem)
    return [_one_line(of_kind) for of_kind in kinds.values()]


def _one_line(problems: list[Problem]) -> str:
    first, others = problems[0], [str(problem.episode) for problem in problems[1:]]
    if not others:
        return str(first)
    named = ", ".join(others[:_MOST_NAMED]) + (" ..." if len(others) > _MOST_NAMED else "")
    return f"{first}; the same in {len(others)} more: {named}"
