"""The one exception for mistakes of the user, and the wording that goes with it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One line, `source: setting: expected X, got Y`. `launch.main` prints it on stderr and exits with 2."""


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` to end a message with, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
