"""One thing that must hold, what it came to, and whether it does."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A line of the table."""

    group: str
    """What it is about: data, losses, model."""
    name: str
    expected: str
    found: str
    value: float
    """The figure in `found`; NaN where nothing could be measured."""
    holds: bool | None
    """None: shown for comparison, not judged."""

    def __str__(self) -> str:
        return f"{self.group}: {self.name}: expected {self.expected}, got {self.found}"

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "holds", False: "BROKEN", None: "-"}[self.holds]


def at_most(group: str, name: str, value: float, limit: float, unit: str = "") -> Check:
    """A figure that must be small. What could not be measured does not hold."""
    return Check(group, name, _said("at most", limit, unit), _said("", value, unit), value, bool(value <= limit))


def more_than(group: str, name: str, value: float, limit: float, unit: str = "") -> Check:
    """A figure that must be large."""
    return Check(group, name, _said("more than", limit, unit), _said("", value, unit), value, bool(value > limit))


def compared(group: str, name: str, value: float, unit: str = "", expected: str = "") -> Check:
    """A figure that is shown beside others and not judged."""
    return Check(group, name, expected, _said("", value, unit), value, None)


def grid(checks: Sequence[Check]) -> tuple[list[str], list[list[str]]]:
    """Header and body of a table."""
    header = ["about", "check", "expected", "found", ""]
    return header, [[one.group, one.name, one.expected, one.found, one.verdict] for one in checks]


def aligned(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table as text in columns."""
    lines = [header, *body]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _said(relation: str, value: float, unit: str) -> str:
    return " ".join(filter(None, (relation, f"{value:.3g}", unit)))
