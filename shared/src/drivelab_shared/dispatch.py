"""`train` and `evaluate`: find the package that is meant and run its verb in this process.

An environment has room for one script of a name, so if every package declared `train`, the one installed last would
win, whatever `uv run --package NAME train` says. The shared package owns the two scripts instead. uv does not tell its
child which package was asked for, but the child can read the command line of uv.
"""

import os
import sys
import tomllib
from collections.abc import Collection, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from drivelab_shared.errors import UserError, nearest

SHARED = "drivelab-shared"


class UvOptions(NamedTuple):
    """What uv was asked for; None where it was not said, or where uv did not start this process."""

    package: str | None = None
    project: str | None = None


def train() -> int:
    """Run `<package> train` for the package that is meant."""
    return _dispatch("train", sys.argv[1:])


def evaluate() -> int:
    """Run `<package> evaluate` for the package that is meant."""
    return _dispatch("evaluate", sys.argv[1:])


def _dispatch(verb: str, arguments: list[str]) -> int:
    commands = installed_commands()
    try:
        name = choose(verb, commands, uv_options(parent_command(), verb, arguments), Path.cwd())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return commands[name].load()([verb, *arguments])


def choose(verb: str, commands: Collection[str], asked: UvOptions, here: Path) -> str:
    """Name of the command that `verb` means.

    `--package`, else the project around `--project` or the current directory, else the only command there is.

    Raises:
        UserError: no package is installed, `--package` names none of them, or there are several and nothing tells.
    """
    if not commands:
        raise UserError(f"{verb}: no installed package has this command")
    if asked.package is not None:
        name = canonicalize_name(asked.package)
        if name not in commands:
            expected = ", ".join(sorted(commands))
            raise UserError(
                f"{verb}: --package: expected one of {expected}, got {asked.package!r}{nearest(name, commands)}"
            )
        return name
    project = project_name(here / (asked.project or ""))
    if project in commands:
        return project
    if len(commands) > 1:
        either = ", ".join(f"{name} {verb}" for name in sorted(commands))
        raise UserError(f"{verb}: several packages have this command; say which: {either}")
    return next(iter(commands))


def installed_commands() -> dict[str, metadata.EntryPoint]:
    """The command of every installed package that builds on the shared one, by the package's normalised name.

    A package counts if it requires `drivelab-shared` and has a console script of its own name.
    """
    commands: dict[str, metadata.EntryPoint] = {}
    for distribution in metadata.distributions():
        scripts = distribution.entry_points.select(group="console_scripts")
        if not scripts:  # first, because it is far cheaper than reading the metadata
            continue
        name = canonicalize_name(distribution.metadata["Name"] or "")
        own = [script for script in scripts if canonicalize_name(script.name) == name]
        if own and _requires_shared(distribution):
            commands.setdefault(name, own[0])
    return commands


def _requires_shared(distribution: metadata.Distribution) -> bool:
    for text in distribution.requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # another package's mistake
            continue
        in_force = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if in_force and canonicalize_name(requirement.name) == SHARED:
            return True
    return False


def project_name(folder: Path) -> str | None:
    """Normalised name of the project that the nearest `pyproject.toml` at or above `folder` describes."""
    folder = folder.resolve()
    for file in (parent / "pyproject.toml" for parent in (folder, *folder.parents)):
        if file.is_file():
            try:
                name = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("name")
            except (OSError, ValueError):  # uv has complained about it already; without uv it is not ours to judge
                return None
            return canonicalize_name(name) if name else None
    return None


def parent_command() -> list[str]:
    """Command line of the process that started this script, empty where the process table cannot be read."""
    try:
        parent = psutil.Process().parent()
        # Windows starts a script through launchers of its own: uv.exe, train.exe, python.exe, and then this process.
        while os.name == "nt" and parent and parent.name().lower().startswith(("python", "train", "evaluate")):
            parent = parent.parent()
        return parent.cmdline() if parent else []
    except (psutil.Error, OSError):
        return []


def uv_options(command: Sequence[str], script: str, arguments: Sequence[str]) -> UvOptions:
    """What the command line `command` asks of uv, if it is one of uv's.

    Args:
        command: Command line of the parent process.
        script: Name of the script that uv was asked to run.
        arguments: The script's own arguments, which are not uv's although they stand in the same command line.
    """
    if not command or _stem(command[0]) != "uv":
        return UvOptions()
    own = _before_script(list(command[1:]), script, list(arguments))
    values = {}
    for token, following in pairwise([*own, ""]):
        if token == "--":  # noqa: S105
            break
        flag, equals, value = token.partition("=")
        values[flag] = value if equals else following
    return UvOptions(values.get("--package"), values.get("--project", os.environ.get("UV_PROJECT")))


def _before_script(command: list[str], script: str, arguments: list[str]) -> list[str]:
    """What stands before the script's name, read from the end: `--group train` may stand before it as well."""
    end = len(command) - len(arguments) - 1
    if end >= 0 and _stem(command[end]) == script and command[end + 1 :] == arguments:
        return command[:end]
    return command  # started by a shell that uv started: the script's name is inside that shell's own argument


def _stem(program: str) -> str:
    """Name of a program without folder and `.exe`, in the spelling of any system."""
    return PureWindowsPath(program).stem.lower()
