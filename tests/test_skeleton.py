"""Every package has the same rooms, so that whoever knows one knows all."""

import ast
from dataclasses import is_dataclass
from importlib import import_module
from pkgutil import resolve_name

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import Specifier

VERBS = ["make-data", "check-data", "train", "evaluate", "ablate", "diagnose", "predict", "export", "bench"]


def exists(folder, *names):
    """Whether one of the names is a module of the folder, as a file or as a package."""
    return any((folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file() for name in names)


def requirement_on_shared(package):
    found = [one for one in map(Requirement, package.project["dependencies"]) if one.name == "drivelab-shared"]
    assert len(found) == 1, f"{package.name} requires drivelab-shared {len(found)} times"
    return found[0]


@pytest.mark.parametrize("name", ["README.md", "RESULTS.md", "CHANGELOG.md", "results", "tests/smoke.sh"])
def test_a_package_tells_what_it_is_what_it_reached_and_what_changed(package, name):
    assert (package.folder / name).exists()


@pytest.mark.parametrize("room", ["__init__", "__main__", "cli", "config", *VERBS[2:]])
def test_a_package_has_the_rooms(package, room):
    assert exists(package.source, room)


@pytest.mark.parametrize("names", [("data",), ("model", "models"), ("losses",)], ids="/".join)
def test_a_package_keeps_data_networks_and_losses_apart(package, names):
    assert exists(package.source, *names)


@pytest.mark.parametrize("name", ["quick.yaml", "full.yaml"])
def test_configs_lie_inside_the_module_so_that_a_wheel_carries_them(package, name):
    assert (package.source / "configs" / name).is_file()


def test_a_package_is_named_like_its_folder_and_declares_one_command_of_its_own_name(package):
    # Above all no `train`: of two such scripts in one environment, the last installed would win.
    assert package.name == package.folder.name
    assert package.project["scripts"] == {package.name: f"{package.module}.cli:main"}
    assert not package.project.keys() & {"gui-scripts", "entry-points"}


def test_shared_owns_train_and_evaluate(shared):
    assert sorted(shared.project["scripts"]) == ["evaluate", "train"]


def test_versions_are_static_numbers_of_three_parts(packages, shared):
    for package in [*packages, shared]:
        assert "dynamic" not in package.project
        assert [part.isdigit() for part in package.project["version"].split(".")] == [True] * 3


def test_every_changelog_has_a_heading_for_the_version(packages, shared):
    for member in [*packages, shared]:
        lines = (member.folder / "CHANGELOG.md").read_text().splitlines()
        assert any(member.project["version"] in line.split() for line in lines if line.startswith("## ")), member.name


def test_all_packages_require_the_same_range_of_shared_and_it_holds_the_version_here(packages, shared):
    ranges = {requirement_on_shared(package).specifier for package in packages}
    assert len(ranges) == 1
    (specifier,) = ranges
    assert specifier.contains(shared.project["version"])
    assert {Specifier(str(one)).operator for one in specifier} == {">=", "<"}


def test_a_package_can_be_built_and_names_no_sources_of_its_own(package):
    # Without a build system uv installs no script; sources are declared once, in the root.
    assert "build-system" in package.pyproject
    assert "sources" not in package.pyproject.get("tool", {}).get("uv", {})
    assert package.project["license"] == "Apache-2.0"


def test_the_root_is_virtual_and_depends_on_every_package(root, packages, shared):
    pyproject = type(shared)(root).pyproject
    assert pyproject["tool"]["uv"]["package"] is False
    assert {Requirement(one).name for one in pyproject["project"]["dependencies"]} == {one.name for one in packages}
    assert pyproject["tool"]["uv"]["sources"] == {one.name: {"workspace": True} for one in [*packages, shared]}


def test_a_package_has_the_nine_verbs_first_and_in_the_same_order(package):
    assert list(import_module(f"{package.module}.cli").VERBS)[: len(VERBS)] == VERBS


def test_every_verb_has_frozen_settings_and_a_function_that_exists(package):
    for name, verb in import_module(f"{package.module}.cli").VERBS.items():
        settings_class = resolve_name(verb.settings)
        assert is_dataclass(settings_class), name
        assert settings_class.__dataclass_params__.frozen, name
        module, _, function = verb.function.partition(":")
        assert function in defined_names(package.folder / "src" / module.replace(".", "/")), name


def defined_names(path):
    """Names of a module's functions and imports, read without importing it."""
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    body = ast.parse(file.read_text(encoding="utf-8")).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return functions | {alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_no_named_config_is_missing(package):
    cli = import_module(f"{package.module}.cli")
    defaults = [verb.default_config for verb in cli.VERBS.values() if verb.default_config]
    assert "quick" in defaults
    assert [name for name in defaults if not (cli.CONFIGS / f"{name}.yaml").is_file()] == []
