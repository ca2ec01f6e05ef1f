"""Settings classes from outside: their fields by dotted name, and instances built from values by dotted name."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from drivelab_shared.errors import UserError

_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def setting(default: Any, *, env: str | None = None, bare: str | None = None) -> Any:
    """A field with more than a default.

    Args:
        default: As in a dataclass.
        env: Environment variable that sets it. No other variable is ever read; an empty one counts as not set.
        bare: Value that the flag has when it is given without one (`--resume`).
    """
    return field(default=default, metadata={"env": env, "bare": bare})


@dataclass(frozen=True)
class Leaf:
    """A setting that is not itself a group of settings."""

    name: str
    """Dotted: `vae.epochs`."""
    kind: Any
    aliases: tuple[str, ...]
    """Other names of its flag, from `Annotated[..., tyro.conf.arg(aliases=["--name"])]`."""
    env: str | None
    bare: str | None


class Given(NamedTuple):
    """A value and where it was given, for messages."""

    value: Any
    source: str


def kinds(settings_class: type) -> dict[str, Any]:
    """Declared type of each field, without `Annotated`."""
    hints = get_type_hints(settings_class)
    return {f.name: hints[f.name] for f in fields(settings_class)}


def leaves(settings_class: type, prefix: str = "") -> list[Leaf]:
    """All settings of a class, nested ones included, in the order of declaration."""
    annotated = get_type_hints(settings_class, include_extras=True)
    declared = kinds(settings_class)
    found = []
    for f in fields(settings_class):
        if is_dataclass(declared[f.name]):
            found += leaves(declared[f.name], f"{prefix}{f.name}.")
            continue
        extras = getattr(annotated[f.name], "__metadata__", ())
        aliases = tuple(alias for extra in extras for alias in getattr(extra, "aliases", None) or ())
        leaf = Leaf(prefix + f.name, declared[f.name], aliases, f.metadata.get("env"), f.metadata.get("bare"))
        found.append(leaf)
    return found


def flatten(settings: Any) -> dict[str, Any]:
    """Values by dotted name. An int where a float is declared becomes one, so that a dump reads back identically."""
    return {leaf.name: convert(leaf.kind, attrgetter(leaf.name)(settings)) for leaf in leaves(type(settings))}


def changes(old: Any, new: Any) -> list[str]:
    """One line per setting that differs: `lr: 0.001 -> 0.0005`."""
    before, after = flatten(old), flatten(new)
    return [f"{name}: {before[name]} -> {value}" for name, value in after.items() if value != before[name]]


def unchecked(settings_class: type) -> type:
    """The same class without `__post_init__`: checks have to wait until every source has been heard."""
    nested = [(f, kinds(settings_class)[f.name]) for f in fields(settings_class)]
    nested = [(f.name, unchecked(kind), copy.copy(f)) for f, kind in nested if is_dataclass(kind)]
    namespace = {"__post_init__": lambda self: None, "__doc__": settings_class.__doc__}
    name = settings_class.__name__
    return make_dataclass(name, nested, bases=(settings_class,), frozen=True, kw_only=True, namespace=namespace)


def build(settings_class: type, given: Mapping[str, Given], prefix: str = "") -> Any:
    """An instance from the values of all leaves.

    Raises:
        UserError: a check of `__post_init__` fails; the message names the source of the setting it starts with.
    """
    values = {}
    for name, kind in kinds(settings_class).items():
        dotted = prefix + name
        values[name] = build(kind, given, f"{dotted}.") if is_dataclass(kind) else given[dotted].value
    try:
        return settings_class(**values)
    except ValueError as error:
        message = " ".join(str(error).split())
        name, _, rest = message.partition(": ")
        for dotted in (prefix + name, name):
            if dotted in given:
                message = f"{given[dotted].source}: {dotted}: {rest}"
                break
        raise UserError(message) from error


def convert(kind: Any, value: Any) -> Any:
    """The value as the declared type: text becomes what the type says and is never guessed at.

    Args:
        kind: Declared type of a leaf.
        value: Of YAML read by `files` (None, text, list, mapping), or of Python.

    Raises:
        ValueError: `expected X, got Y`.
    """
    inner = [option for option in get_args(kind) if option is not NoneType]
    if NoneType in get_args(kind) and len(inner) == 1:
        return None if value is None else convert(inner[0], value)
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in inner}
        if str(value) in choices:
            return choices[str(value)]
        raise _expected("one of " + ", ".join(choices), value)
    if get_origin(kind) is tuple:
        return _convert_tuple(inner, value)
    try:
        if kind is bool:
            return _BOOLEANS[str(value).lower()]
        if kind is float:
            return float(str(value).replace(".inf", "inf").replace(".nan", "nan"))
        if kind is int:
            return int(str(value))
    except (KeyError, ValueError):
        raise _expected(_EXPECTED[kind], value) from None
    if kind not in (str, Path):
        raise TypeError(f"settings cannot be of type {kind}")
    if isinstance(value, (str, kind)):
        return kind(value)
    raise _expected(_EXPECTED[kind], value)


def _convert_tuple(inner: list[Any], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _expected("a list [...]", value)
    if inner[-1] is Ellipsis:
        inner = inner[:1] * len(value)
    if len(value) != len(inner):
        raise _expected(f"a list of {len(inner)}", value)
    return tuple(convert(kind, item) for kind, item in zip(inner, value, strict=True))


def _expected(what: str, value: Any) -> ValueError:
    return ValueError(f"expected {what}, got {'nothing' if value is None else repr(value)}")
