"""Who may import whom: `cli -> verbs -> data, models, losses -> config -> drivelab_shared`, never across packages."""

import ast
import subprocess
import sys

import pytest

VERBS = {"train", "evaluate", "ablate", "diagnose", "predict", "export", "bench"}
HEAVY = ["torch", "matplotlib", "cv2", "gymnasium", "sklearn", "accelerate"]
LIGHT_SHARED = ["errors", "settings", "launch", "dispatch", "runs", "results", "stats"]

# What a room of a package never imports from its own package; what stands nowhere here may import all but `cli`.
FORBIDDEN = {
    "config": {"data", "model", "models", "losses"} | VERBS,
    "data": VERBS,
    "model": {"data"} | VERBS,
    "models": {"data"} | VERBS,
    "losses": {"data", "model", "models"} | VERBS,
}


def imports(file, source):
    """Line and full dotted name of everything that `file` imports, anywhere in it, relative imports resolved."""
    package = [source.name, *file.relative_to(source).parent.parts] if file.is_relative_to(source) else []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = [*base, *(node.module or "").split(".")]
            yield from ((node.lineno, ".".join([*filter(None, prefix), alias.name])) for alias in node.names)


def foreign_imports(member, modules):
    """Imports of workspace modules other than the member's own and `drivelab_shared`, tests included."""
    forbidden = modules - {member.module, "drivelab_shared"}
    for file in sorted(member.folder.rglob("*.py")):
        for line, name in imports(file, member.source):
            if name.split(".")[0] in forbidden:
                yield f"{file}:{line}: imports {name}"


def wrong_way_imports(source):
    """Imports inside one package that go against the arrow."""
    for file in sorted(source.rglob("*.py")):
        room = file.relative_to(source).parts[0].removesuffix(".py")
        forbidden = FORBIDDEN.get(room, set()) | ({"cli"} - {"cli" if room == "__main__" else ""})
        for line, name in imports(file, source):
            module, _, rest = name.partition(".")
            if module == source.name and rest.split(".")[0] in forbidden - {room}:
                yield f"{file}:{line}: {room} imports {name}"


def test_packages_never_import_one_another_and_shared_imports_none(packages, shared):
    modules = {member.module for member in [*packages, shared]}
    assert [line for member in [*packages, shared] for line in foreign_imports(member, modules)] == []


def test_imports_inside_a_package_follow_the_arrow(package):
    assert list(wrong_way_imports(package.source)) == []


@pytest.mark.parametrize(
    ("file", "text", "offends"),
    [
        ("models/vae.py", "from demo.data import windows", True),
        ("models/vae.py", "from ..data.windows import Window", True),
        ("models/vae.py", "from .. import data", True),
        ("models/vae.py", "def f():\n    import demo.train", True),
        ("models/vae.py", "from .layers import Block\nfrom demo.config import Settings\nimport torch", False),
        ("losses.py", "from demo.models.vae import Vae", True),
        ("losses.py", "from drivelab_shared.modules import freeze", False),
        ("data/make_data.py", "from demo.train import train", True),
        ("data/make_data.py", "from demo.training_windows import windows", False),
        ("config.py", "import demo.losses", True),
        ("train.py", "from demo.cli import main", True),
        ("train.py", "from demo import data, evaluate, models", False),
        ("__main__.py", "from demo.cli import main", False),
    ],
)
def test_the_reader_of_imports_finds_what_goes_against_the_arrow(file, text, offends, tmp_path):
    file = tmp_path / "demo" / file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    assert bool(list(wrong_way_imports(tmp_path / "demo"))) is offends


def heavy_after(statements):
    """The first of the statements after which a heavy library is loaded in a new process, '' if there is none."""
    lines = ["import sys", "from contextlib import redirect_stdout, suppress", "from io import StringIO"]
    for statement in statements:
        heavy = f"[name for name in {HEAVY} if name in sys.modules]"
        lines += [statement, f"if {heavy}: sys.exit({statement!r} + ' loads ' + ', '.join({heavy}))"]
    process = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    return process.stderr


def test_importing_a_package_and_its_command_line_loads_no_heavy_library(package):
    names = ["", ".config", ".cli"]
    assert heavy_after([f"import {package.module}{name}" for name in names]) == ""


def test_the_help_of_every_verb_loads_no_heavy_library(package):
    call = "\nwith suppress(SystemExit), redirect_stdout(StringIO()): cli.main([{!r}, '--help'])"
    module = f"from {package.module} import cli"
    verbs = ["make-data", "check-data", *sorted(VERBS)]
    assert heavy_after([module, *(f"verb = {verb!r}" + call.format(verb) for verb in verbs)]) == ""


def test_the_light_parts_of_shared_load_no_heavy_library():
    assert heavy_after(["import drivelab_shared", *(f"import drivelab_shared.{name}" for name in LIGHT_SHARED)]) == ""


def test_a_heavy_import_is_noticed():
    assert heavy_after(["import json", "import matplotlib", "import ast"]) == "import matplotlib loads matplotlib\n"
