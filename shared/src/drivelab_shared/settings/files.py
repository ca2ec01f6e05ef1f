"""Settings in YAML: strict overlays, named configs and groups, and the dump that reads back identically."""

import re
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from drivelab_shared.errors import UserError, nearest
from drivelab_shared.settings.fields import Given, build, convert, flatten, kinds, unchecked

NULLS = ("null", "Null", "NULL", "None", "~")


class _Loader(yaml.BaseLoader):
    """Scalars stay text, so `000070` and `2021_08_16` survive and no tag runs; only a plain null becomes None."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str | None:
        text = super().construct_scalar(node)
        return None if node.style is None and text in (*NULLS, "") else text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(problem="expected a name", problem_mark=key_node.start_mark)
            if key in mapping:
                raise yaml.constructor.ConstructorError(problem=f"{key}: given twice", problem_mark=key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep)
        return mapping


class _Dumper(yaml.SafeDumper):
    """Lists on one line, no anchors, and quotes around a text that `_Loader` would take for None."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^None$"), ["N"])
_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))
_Dumper.add_representer(
    tuple, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def dump(settings: Any) -> str:
    """The settings as YAML that `load` reads back to equal settings."""
    tree: dict[str, Any] = {}
    for dotted, value in flatten(settings).items():
        *groups, name = dotted.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = value
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def load(
    settings_class: type, path: Path, overrides: Mapping[str, Any] | None = None, *, configs: Path | None = None
) -> Any:
    """Settings of one YAML file on top of the defaults. Environment and command line play no part.

    Args:
        settings_class: What to build.
        path: The file.
        overrides: Values by dotted name that win over the file: `{"lambda_cls": 0.5, "vae.epochs": 3}`.
        configs: Folder of the groups that the file may choose (`loss: depth`).

    Raises:
        UserError: the file or a value is not as it should be.
    """
    given = defaults(settings_class) | read_overlay(settings_class, path, configs)
    for name, value in (overrides or {}).items():
        given |= assign(settings_class, name, value, "overrides")
    return build(settings_class, given)


def defaults(settings_class: type) -> dict[str, Given]:
    """The values that stand where nothing else is said."""
    return {name: Given(value, "defaults") for name, value in flatten(unchecked(settings_class)()).items()}


def assign(settings_class: type, dotted: str, value: Any, source: str) -> dict[str, Given]:
    """Overlay of one setting by its dotted name."""
    tree = value
    for part in reversed(dotted.split(".")):
        tree = {part: tree}
    return overlay(settings_class, tree, source)


def read_overlay(
    settings_class: type, path: Path, configs: Path | None, including: tuple[Path, ...] = ()
) -> dict[str, Given]:
    """What a YAML file says, by dotted name. The file's own values win over those of the groups it chooses.

    Raises:
        UserError: naming the file and the setting.
    """
    if path in including:
        raise UserError(f"{path}: expected groups that do not choose one another in a circle")
    tree = _read(path)
    given: dict[str, Given] = {}
    for name, kind in kinds(settings_class).items():
        if is_dataclass(kind) and isinstance(tree.get(name), str) and is_group(name, configs):
            chosen = group_file(name, tree.pop(name), configs, source=str(path))
            given |= read_overlay(settings_class, chosen, configs, (*including, path))
    return given | overlay(settings_class, tree, str(path))


def overlay(settings_class: type, tree: Mapping[str, Any], source: str, prefix: str = "") -> dict[str, Given]:
    """A nested mapping as values by dotted name, each of its declared type.

    Raises:
        UserError: unknown names, wrong types.
    """
    declared = kinds(settings_class)
    given: dict[str, Given] = {}
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        if name not in declared:
            hint = nearest(dotted, [prefix + known for known in declared])
            raise UserError(f"{source}: unknown setting {dotted!r}{hint}")
        if not is_dataclass(declared[name]):
            try:
                given[dotted] = Given(convert(declared[name], value), source)
            except ValueError as error:
                raise UserError(f"{source}: {dotted}: {error}") from None
        elif isinstance(value, Mapping):
            given |= overlay(declared[name], value, source, f"{dotted}.")
        else:
            inner = ", ".join(kinds(declared[name]))
            raise UserError(f"{source}: {dotted}: expected settings (any of {inner}), got {value!r}")
    return given


def parse_text(text: str) -> Any:
    """Text outside YAML as `convert` takes it: lists and mappings are written as in YAML, all else is as it stands."""
    if text.startswith(("[", "{")):
        try:
            return yaml.load(text, Loader=_Loader)  # noqa: S506 - a BaseLoader: runs no tags
        except yaml.YAMLError:
            return text
    return None if text in NULLS else text


def yaml_names(folder: Path) -> list[str]:
    """Names of the YAML files in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def config_file(name: str, configs: Path | None) -> Path:
    """The file that `--config NAME` or `--config PATH` means."""
    names = yaml_names(configs) if configs else []
    if configs and name in names:
        return configs / f"{name}.yaml"
    if Path(name).exists():
        return Path(name)
    choices = f"a file or one of {', '.join(names)}" if names else "a file"
    raise UserError(f"--config: expected {choices}, got {name!r}{nearest(name, names)}")


def is_group(name: str, configs: Path | None) -> bool:
    """Whether `name=choice` overlays a file of configs/name/."""
    return configs is not None and name.isidentifier() and (configs / name).is_dir()


def group_file(group: str, choice: str, configs: Path, source: str) -> Path:
    """The file of a choice of a group."""
    names = yaml_names(configs / group)
    if choice not in names:
        hint = nearest(choice, names)
        raise UserError(f"{source}: {group}: expected one of {', '.join(names)}, got {choice!r}{hint}")
    return configs / group / f"{choice}.yaml"


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - a BaseLoader: runs no tags
    except OSError as error:
        raise UserError(f"{path}: expected a readable file, got {error.strerror!r}") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path}: {line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected settings (name: value), got a {type(tree).__name__}")
    return tree
