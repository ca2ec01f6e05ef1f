"""Commands that a README shows are commands that exist: each one is parsed by the verb that it names."""

import re
import shlex
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

from drivelab_shared.settings import parse

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]
PACKAGES = {folder.name: folder.name.replace("-", "_") for folder in sorted((ROOT / "packages").iterdir())}


def shown_commands() -> list[tuple[str, list[str]]]:
    found = []
    for readme in READMES:
        for block in re.findall(r"```sh\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for command in re.split(r"&&|;", line):
                    found.append((readme.parent.name, shlex.split(command, comments=True)))
    return [(name, words) for name, words in found if words]


def verb_and_arguments(words: list[str]) -> tuple[str, list[str]] | None:
    """Package and what follows its name; None for commands that are not ours."""
    if words[:3] == ["uv", "run", "--package"]:
        return words[3], words[4:]
    words = words[2:] if words[:2] == ["uv", "run"] else words
    return (words[0], words[1:]) if words[0] in PACKAGES else None


COMMANDS = [parsed for _, words in shown_commands() if (parsed := verb_and_arguments(words))]


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=[" ".join((p, *w))[:60] for p, w in COMMANDS])
def test_a_command_of_a_readme_is_understood(name: str, words: list[str]) -> None:
    cli = import_module(f"{PACKAGES[name]}.cli")
    verb = cli.VERBS[words[0]]
    # `--resume` would look for runs; what a README shows must be a setting whether or not there is one.
    parse(
        resolve_name(verb.settings),
        words[1:],
        prog=name,
        configs=cli.CONFIGS,
        default_config=verb.default_config,
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_the_readme_of_a_package_names_each_of_its_verbs(name: str) -> None:
    text = (ROOT / "packages" / name / "README.md").read_text(encoding="utf-8")
    verbs = import_module(f"{PACKAGES[name]}.cli").VERBS
    assert [verb for verb in verbs if verb not in text] == []


def test_the_two_commands_of_the_root_readme_are_the_ones_a_new_machine_needs() -> None:
    commands = [" ".join(words) for name, words in shown_commands() if name == ROOT.name]
    assert "uv run --package latent-predictor train" in commands
    assert "uv run pytest" in commands
