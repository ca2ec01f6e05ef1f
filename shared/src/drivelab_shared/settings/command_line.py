"""From the arguments of a command to its settings. tyro parses the flags; the rest of the grammar is here."""

import contextlib
import inspect
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

import tyro

from drivelab_shared.errors import UserError
from drivelab_shared.settings.fields import Given, Leaf, build, flatten, leaves, unchecked
from drivelab_shared.settings.files import (
    assign,
    config_file,
    defaults,
    dump,
    group_file,
    is_group,
    parse_text,
    read_overlay,
    yaml_names,
)

COMMAND_LINE = "command line"


def parse(
    settings_class: type,
    arguments: Sequence[str],
    *,
    prog: str,
    configs: Path | None = None,
    default_config: str | None = None,
    resume_settings: Callable[[str], Path | None] | None = None,
) -> Any:
    """The settings that the arguments, the environment and the named YAML files amount to.

    Args:
        settings_class: What to build.
        arguments: Without the name of the command.
        prog: Name of the command, for help.
        configs: The package's folder of named configs and groups.
        default_config: Name of the config that is used where no `--config` is given.
        resume_settings: Finds the saved settings that the setting `resume` means. They take the place of
            `default_config`; None means that there is nothing to resume.

    Raises:
        UserError: in one line, what is wrong.
        SystemExit: 0 after --help and --print_config, 2 after a bad flag, which tyro has explained on stderr.
    """
    line = _split(arguments, settings_class, configs)
    help_text = _help(settings_class, configs, default_config) if {"-h", "--help"} & set(line.flags) else ""

    def resolve(first: list[Path]) -> dict[str, Given]:
        given = defaults(settings_class)
        for path in first + line.overlays:
            given |= read_overlay(settings_class, path, configs)
        given |= _environment(settings_class)
        for name, text in line.assignments:
            given |= assign(settings_class, name, parse_text(text), COMMAND_LINE)
        return _parse_flags(settings_class, line.flags, given, prog, help_text)

    given = resolve([config_file(default_config, configs)] if default_config and not line.has_config else [])
    resume = given["resume"].value if resume_settings and "resume" in given else None
    saved = resume_settings(resume) if resume is not None else None
    if saved:
        given = resolve([saved])
    settings = build(settings_class, given)
    if line.print_config:
        print(dump(settings), end="")
        raise SystemExit(0)
    return settings


def _parse_flags(
    settings_class: type, flags: list[str], given: dict[str, Given], prog: str, help_text: str
) -> dict[str, Given]:
    """What was given so far, with the flags on top."""
    tolerant = unchecked(settings_class)
    parsed = tyro.cli(
        tolerant,
        args=flags,
        default=build(tolerant, given),
        prog=prog,
        description=help_text,
        use_underscores=True,
    )
    return given | {
        name: Given(value, COMMAND_LINE) for name, value in flatten(parsed).items() if value != given[name].value
    }


def _environment(settings_class: type) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for leaf in leaves(settings_class):
        if leaf.env and os.environ.get(leaf.env):
            given |= assign(settings_class, leaf.name, parse_text(os.environ[leaf.env]), leaf.env)
    return given


@dataclass
class _CommandLine:
    """The arguments, sorted."""

    overlays: list[Path] = field(default_factory=list)
    """Of `--config` and groups, in order."""
    has_config: bool = False
    assignments: list[tuple[str, str]] = field(default_factory=list)
    """Of `name=value`."""
    groups: list[list[str]] = field(default_factory=list)
    """Flags with their values: everything that is tyro's to accept or refuse."""
    print_config: bool = False

    @property
    def flags(self) -> list[str]:
        """The groups, one after the other."""
        return [word for group in self.groups for word in group]


def _split(arguments: Sequence[str], settings_class: type, configs: Path | None) -> _CommandLine:
    """Sort the arguments. What follows a flag as its value stays with it, whatever it looks like."""
    settings = leaves(settings_class)
    known = _by_flag(settings)
    names = {leaf.name for leaf in settings}
    names |= {name[:dot] for name in names for dot in range(len(name)) if name[dot] == "."}

    def is_assignment(word: str) -> bool:
        name, equals, _ = word.partition("=")
        return bool(equals) and (_plain(name) in names or is_group(_plain(name), configs))

    line, words = _CommandLine(), deque(arguments)
    lists: dict[str, list[str]] = {}
    while words:
        word = words.popleft()
        name, equals, value = word.partition("=")
        name = _plain(name)
        if not _is_flag(word):
            if not equals:
                line.groups.append([word])
            elif is_group(name, configs):
                line.overlays.append(group_file(name, value, configs, COMMAND_LINE))
            else:
                line.assignments.append((name, value))
        elif name == "config" and name not in known:
            if not equals and (not words or _is_flag(words[0])):
                raise UserError("--config: expected a name or a file, got nothing")
            line.overlays.append(config_file(value if equals else words.popleft(), configs))
            line.has_config = True
        elif name == "print_config":
            line.print_config = True
        else:
            leaf = known.get(name)
            group = [word, *_values(leaf, bool(equals), words, is_assignment)]
            if leaf and _grows(leaf.kind):
                values = [value, *group[1:]] if equals else group[1:]
                if leaf.name in lists:
                    # Given again, a list goes on: the parser of flags would forget what it had.
                    lists[leaf.name] += values
                    continue
                lists[leaf.name] = group = [word.partition("=")[0], *values]
            line.groups.append(group)
    return line


def _grows(kind: Any) -> bool:
    """Whether it is a list of any length."""
    return any(get_origin(part) is tuple and Ellipsis in get_args(part) for part in (kind, *get_args(kind)))


def _values(leaf: Leaf | None, has_value: bool, words: deque[str], is_assignment: Callable[[str], bool]) -> list[str]:
    """Take the words that belong to a flag from the front of `words`.

    A switch takes none, an ordinary flag one, a list as many as there are. Words that need not belong to the flag (more
    of a list, the value of a flag that can stand alone) do not if they assign a setting.
    """
    parts = (leaf.kind, *get_args(leaf.kind)) if leaf else ()
    # An unknown flag keeps all that follows, so that tyro complains about the flag and not about its value.
    is_list = leaf is None or tuple in (get_origin(part) for part in parts)
    if not is_list and (has_value or leaf.kind is bool):
        return []
    values: list[str] = []
    while words and not _is_flag(words[0]):
        optional = has_value or values or (leaf and leaf.bare)
        if optional and is_assignment(words[0]):
            break
        values.append(words.popleft())
        if not is_list:
            break
    return values or ([leaf.bare] if leaf and leaf.bare and not has_value else [])


def _by_flag(settings: list[Leaf]) -> dict[str, Leaf]:
    """Settings by every name that a flag for them can have."""
    known = {}
    for leaf in settings:
        head, dot, tail = leaf.name.rpartition(".")
        for name in (leaf.name, f"{head}{dot}no_{tail}", *leaf.aliases):
            known[_plain(name)] = leaf
    return known


def _is_flag(word: str) -> bool:
    return word.startswith("--") or word == "-h"


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _help(settings_class: type, configs: Path | None, default_config: str | None) -> str:
    """What the settings are for, and what can be said besides the flags that tyro lists."""
    settings = leaves(settings_class)
    rows = []
    if "config" not in {leaf.name for leaf in settings}:
        names = _choices(settings_class, configs, configs)
        rows.append(("--config NAME" if names else "--config FILE", "overlay of settings; repeatable, later wins"))
        rows += [("", f"NAME is a file, or one of {', '.join(names)}")] if names else []
        rows += [("", f"(default: {default_config})")] if default_config else []
    for folder in sorted(configs.iterdir()) if configs else []:
        names = _choices(settings_class, folder, configs) if is_group(folder.name, configs) else []
        rows += [(f"{folder.name}=CHOICE", f"overlay of a group: {', '.join(names)}")] if names else []
    example = next((leaf.name for leaf in settings if "." in leaf.name), settings[0].name)
    rows.append(("NAME=VALUE", f"one setting by its dotted name, such as {example}=..."))
    rows += [(leaf.env, f"environment variable of {leaf.name}") for leaf in settings if leaf.env]
    rows += [(f"--{leaf.name}", f"alone means --{leaf.name} {leaf.bare}") for leaf in settings if leaf.bare]
    rows.append(("--print_config", "print the resolved settings as YAML and exit"))
    width = max(len(left) for left, _ in rows) + 2
    table = "\n".join(f"  {left:{width}}{right}" for left, right in rows)
    return (
        f"{inspect.getdoc(settings_class)}\n\n{table}\n\nDefaults < YAML files and groups < environment < command line."
    )


def _choices(settings_class: type, folder: Path | None, configs: Path | None) -> list[str]:
    """Names of the overlays in a folder that are of this class, and not of another verb."""
    names = []
    for name in yaml_names(folder) if folder else []:
        with contextlib.suppress(UserError):
            read_overlay(settings_class, folder / f"{name}.yaml", configs)
            names.append(name)
    return names
