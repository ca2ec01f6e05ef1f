"""Findings as a person wants to read them: worst first, and the same fault of a thousand files as one line."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.recording import Problem

SEVERITIES = ("error", "warning", "note")
MOST_NAMED = 10

Grid = tuple[list[str], list[list[str]]]
"""Header and body of a table."""


@dataclass(frozen=True)
class Findings:
    """What is printed and written alike."""

    evidence: Evidence
    problems: list[Problem]
    """Grouped, worst first."""
    answers: list[str]
    tables: dict[str, Grid]
    """By caption."""
    left_out: dict[str, int]
    """Labels that cannot be used, by reason."""
    usable: int
    """Training labels that are left."""

    @property
    def errors(self) -> list[Problem]:
        """What makes the exit code 2."""
        return [problem for problem in self.problems if problem.severity == "error"]


def grouped(problems: Iterable[Problem]) -> list[Problem]:
    """One problem per kind, sorted by severity. The first file stands in front, nine more are named, all are counted.

    Two problems are of one kind if they differ in nothing but numbers and the name of the file.
    """
    kinds: dict[tuple, list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        kinds.setdefault(_kind(problem), []).append(problem)
    lines = [_one_line(of_kind) for of_kind in kinds.values()]
    return sorted(lines, key=lambda problem: SEVERITIES.index(problem.severity))


def _kind(problem: Problem) -> tuple:
    path = PurePath(problem.source)
    message = problem.message.replace(path.stem, "*") if path.stem else problem.message
    return problem.severity, path.parent, path.suffix, re.sub(r"\d+", "#", message)


def _one_line(problems: Sequence[Problem]) -> Problem:
    first = problems[0]
    others = list(dict.fromkeys(PurePath(problem.source).name for problem in problems[1:]))
    if not others:
        return first
    if others == [PurePath(first.source).name]:
        return Problem(first.severity, first.source, f"{first.message}; and {len(problems) - 1} more like this")
    text = f"{first.message}; the same in {len(problems) - 1} more: {named(others, MOST_NAMED - 1)}"
    return Problem(first.severity, first.source, text)


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """The first names, and dots where there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


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
