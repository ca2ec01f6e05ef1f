"""The command line of a package: which verb, its settings, its function, and what a failure looks like.

Nothing is imported before it is needed: `<package> --help` reads the table of verbs, `<package> VERB --help` the
settings class, and torch comes with the verb's function.
"""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from pkgutil import resolve_name

from drivelab_shared.errors import UserError, nearest

# What a shell reports for a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
BROKEN_PIPE = 141


@dataclass(frozen=True)
class Verb:
    """One verb of a package, named by strings so that the table of verbs imports nothing."""

    settings: str
    """Settings class, `module:Class`."""
    function: str
    """What runs it, `module:function`: takes the settings, returns an exit code or anything else for success."""
    help: str
    """One line for the overview."""
    default_config: str | None = None
    """Name in the package's configs folder that is meant where no `--config` is given."""


def main(package: str, verbs: Mapping[str, Verb], configs: Path, arguments: Sequence[str] | None = None) -> int:
    """Run one verb of a package and return the exit code: 0 done, 2 the user's input, else what the verb returned.

    Args:
        package: Name of the distribution, which is also its command.
        verbs: Verb by name.
        configs: The package's folder of YAML overlays.
        arguments: What follows the command's name; None means the process's own.
    """
    try:
        try:
            return _run(package, verbs, configs, sys.argv[1:] if arguments is None else arguments)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"{package}: interrupted", file=sys.stderr)
            return INTERRUPTED
        finally:
            print(end="", flush=True)  # here, because the interpreter's own flush at exit can only complain
    except BrokenPipeError:
        if not _stdout_is_lost(probe="\n"):
            raise
        return BROKEN_PIPE
    except Exception as error:
        if not _disk_is_full(error):
            raise
        file = "<stdout>" if _stdout_is_lost() else _file_being_written(error)
        print(f"{file}: {os.strerror(errno.ENOSPC)}", file=sys.stderr)
        return 2


def _run(package: str, verbs: Mapping[str, Verb], configs: Path, arguments: Sequence[str]) -> int:
    if not arguments:
        print(_overview(package, verbs), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(_overview(package, verbs))
        return 0
    if name == "--version":
        print(package, metadata.version(package))
        return 0
    verb = _find(package, verbs, name)
    settings = _parse(package, name, verb, configs, rest)
    result = resolve_name(verb.function)(settings)
    return result if type(result) is int else 0


def _overview(package: str, verbs: Mapping[str, Verb]) -> str:
    width = max(map(len, verbs))
    return "\n".join(
        [
            f"{package}: {metadata.metadata(package)['Summary']}",
            "",
            f"usage: {package} VERB [--setting value ...]",
            f"       {package} VERB --help      every setting of a verb",
            f"       {package} --version",
            "",
            *(f"  {name:<{width}}  {verb.help}" for name, verb in verbs.items()),
        ]
    )


def _find(package: str, verbs: Mapping[str, Verb], name: str) -> Verb:
    if name in verbs:
        return verbs[name]
    hint = nearest(name.replace("_", "-"), verbs) or f"; expected one of {', '.join(verbs)}"
    raise UserError(f"{package}: unknown verb {name!r}{hint}")


def _parse(package: str, name: str, verb: Verb, configs: Path, arguments: Sequence[str]) -> object:
    from drivelab_shared.settings import parse  # here, so that the overview does not wait for the parser

    settings_class = resolve_name(verb.settings)
    can_resume = any(field.name == "resume" for field in fields(settings_class))
    return parse(
        settings_class,
        arguments,
        prog=f"{package} {name}",
        configs=configs,
        default_config=verb.default_config,
        resume_settings=_saved_settings(package) if can_resume else None,
    )


def _saved_settings(package: str) -> Callable[[str], Path | None]:
    """How `--resume` finds the settings of the run that it continues."""

    def saved_settings(run: str) -> Path | None:
        from drivelab_shared.runs import find_unfinished

        folder = find_unfinished(package, run)
        return folder and folder / "settings.yaml"

    return saved_settings


def _stdout_is_lost(probe: str = "") -> bool:
    """Whether writing to stdout fails, as after `... | head`, rather than writing to something of the verb's own."""
    try:
        print(probe, end="", flush=True)
    except OSError:
        # What is still buffered would fail again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _disk_is_full(error: BaseException) -> bool:
    # torch reports a failed write as an error of its own, with the system's behind it; safetensors keeps only the text.
    behind = error.__cause__ or error.__context__
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)
    return full or (behind is not None and _disk_is_full(behind))


def _file_being_written(error: Exception) -> str:
    """The file that did not fit: Python names it where opening fails, else it is found where the write failed."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename != __file__]
    values = [value for frame in reversed(frames) for value in frame.f_locals.values()]
    files = [getattr(value, "name", None) for value in values if isinstance(value, io.IOBase) and _writes(value)]
    paths = [str(value) for value in values if isinstance(value, Path)]
    candidates = [*files, getattr(error, "filename", None), *paths]
    return next((name for name in candidates if isinstance(name, str)), "the disk")


def _writes(file: io.IOBase) -> bool:
    # Not `writable()`: the file may be closed by now.
    return getattr(file, "mode", "r") not in ("r", "rb")
