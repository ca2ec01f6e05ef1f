"""JSON from outside: of bounded size, without NaN, and with paths that stay inside the data set."""

import json
import math
import os
import re
from pathlib import Path
from typing import NoReturn

MAX_BYTES = 200 << 20
"""Ten times the largest official file. More is taken for an attack or for another kind of file."""
_ID = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"got {constant}")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def read_json(path: str | Path) -> object:
    """What the file holds. Without detours: a data set has one pose file per frame.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: anything else, as `expected X, got Y` without the path.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES >> 20} MiB, got {size >> 20}")
            content = file.read()
        return _DECODER.decode(content.decode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"expected a file that can be read, got {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"expected JSON, got {error}") from None
    except RecursionError:
        raise ValueError("expected JSON, got lists within lists without end") from None


def require_inside(path: object) -> str:
    """A path from a JSON file, if it cannot lead out of the folder it is relative to.

    Only its text counts. Links are the user's own: many link picture folders to other disks.

    Raises:
        ValueError: it is no text, absolute, or climbs up.
    """
    if not isinstance(path, str) or not path:
        raise ValueError(f"expected a path, got {shown(path)}")
    climbs = ".." in path and ".." in path.split("/")
    foreign = "\\" in path or ":" in path or "\0" in path  # another system's way of leading out
    if path[0] == "/" or climbs or foreign:
        raise ValueError(f"expected a path inside the data set, got {shown(path)}")
    return path


def require_id(value: object) -> str:
    """An id, which becomes part of file names.

    Raises:
        ValueError: it cannot.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise ValueError(f"expected an id such as '000123', got {shown(value)}")
    return text


def number(value: object) -> float:
    """A finite number, also where it is written as text, as some official labels do.

    Raises:
        ValueError: it is none.
    """
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"expected a number, got {shown(value)}") from None
    if not math.isfinite(found):
        raise ValueError(f"expected a finite number, got {shown(value)}")
    return found


def shown(value: object) -> str:
    """The value for a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
