from importlib import metadata

import psutil
import pytest

from drivelab_shared import dispatch
from drivelab_shared.dispatch import UvOptions, choose, installed_commands, parent_command, project_name, uv_options
from drivelab_shared.errors import UserError

UV = "/home/ada/.local/bin/uv"
PAIR = ("alpha-lab", "beta-lab")


@pytest.fixture(autouse=True)
def no_project_variable(monkeypatch):
    monkeypatch.delenv("UV_PROJECT", raising=False)


# Command lines as uv 0.13 was seen to carry them, and the arguments that the script itself got.
@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ([UV, "run", "--package", "alpha-lab", "train"], [], UvOptions("alpha-lab")),
        ([UV, "run", "--package=alpha-lab", "train", "--lr", "1"], ["--lr", "1"], UvOptions("alpha-lab")),
        ([UV, "-q", "run", "--isolated", "--exact", "--package", "a", "--", "train"], [], UvOptions("a")),
        ([UV, "run", "--no-sync", "--package", "a", "--with", "x", "train"], [], UvOptions("a")),
        ([UV, "run", "--group", "train", "--package", "a", "train"], [], UvOptions("a")),
        ([UV, "run", "--package", "train", "train"], [], UvOptions("train")),
        ([UV, "run", "train", "--package", "a"], ["--package", "a"], UvOptions()),
        ([UV, "run", "--package", "a", "train", "train", "train"], ["train", "train"], UvOptions("a")),
        ([UV, "run", "--", "env", "--package", "b", "train"], [], UvOptions()),
        ([UV, "run", "--package", "a", "env", "X=1", "nice", ".venv/bin/train"], [], UvOptions("a")),
        ([UV, "run", "--package", "a", "bash", "-c", "train --lr 1"], ["--lr", "1"], UvOptions("a")),
        ([UV, "--project", "a folder/x", "run", "train", ""], [""], UvOptions(None, "a folder/x")),
        ([UV, "run", "--project=packages/a", "train"], [], UvOptions(None, "packages/a")),
        ([UV, "run", "--directory", "packages/a", "train"], [], UvOptions()),
        ([r"C:\Program Files\uv\UV.EXE", "run", "--package", "a", r".venv\Scripts\train.exe"], [], UvOptions("a")),
        (["/bin/bash", "-c", "uv run --package a train"], [], UvOptions()),
        (["/usr/bin/tool", "--package", "a", "train"], [], UvOptions()),
        ([UV], [], UvOptions()),
        ([], [], UvOptions()),
    ],
)
def test_the_command_line_of_uv_tells_what_was_asked_for(command, arguments, expected):
    assert uv_options(command, "train", arguments) == expected


def test_the_variable_of_uv_stands_for_project_only_where_uv_is_the_parent(monkeypatch):
    monkeypatch.setenv("UV_PROJECT", "packages/a")
    assert uv_options([UV, "run", "train"], "train", []).project == "packages/a"
    assert uv_options([UV, "run", "--project", "b", "train"], "train", []).project == "b"
    assert uv_options(["/bin/bash"], "train", []).project is None


@pytest.mark.parametrize(
    "error", [psutil.AccessDenied(), psutil.NoSuchProcess(1), PermissionError(), FileNotFoundError()]
)
def test_an_unreadable_process_table_means_not_known(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(psutil, "Process", fail)
    assert parent_command() == []


def test_the_parent_of_this_process_is_read_from_the_process_table():
    assert parent_command() == psutil.Process().parent().cmdline()


def project(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_package_wins_over_project_and_project_over_the_current_directory(tmp_path):
    alpha = project(tmp_path / "alpha", '[project]\nname = "alpha-lab"')
    project(tmp_path / "beta", '[project]\nname = "beta-lab"')
    assert choose("train", PAIR, UvOptions("beta-lab", "../beta"), alpha) == "beta-lab"
    assert choose("train", PAIR, UvOptions("Alpha_Lab"), tmp_path) == "alpha-lab"
    assert choose("train", PAIR, UvOptions(None, "../beta"), alpha) == "beta-lab"
    assert choose("train", PAIR, UvOptions(), alpha) == "alpha-lab"


def test_the_nearest_project_counts_from_any_folder_below_it(tmp_path):
    project(tmp_path, '[project]\nname = "root"')
    deep = project(tmp_path / "packages/alpha", '[project]\nname = "Alpha.Lab"') / "src/deep"
    deep.mkdir(parents=True)
    assert project_name(deep) == "alpha-lab"
    assert project_name(deep / ".." / ".." / ".." / "..") == "root"


@pytest.mark.parametrize("text", ["[project", "[tool.ruff]", "[project]\nversion = '1'", "project = 'x\udc80'"])
def test_a_pyproject_without_a_readable_name_is_no_project(text, tmp_path):
    (tmp_path / "pyproject.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert project_name(tmp_path) is None


def test_a_package_without_such_a_command_is_an_error_wherever_it_is_asked_for(tmp_path):
    alpha = project(tmp_path, '[project]\nname = "alpha-lab"')
    with pytest.raises(UserError) as error:
        choose("train", PAIR, UvOptions("alfa-lab"), alpha)
    assert str(error.value) == (
        "train: --package: expected one of alpha-lab, beta-lab, got 'alfa-lab'; did you mean 'alpha-lab'?"
    )
    with pytest.raises(UserError):
        choose("train", ["alpha-lab"], UvOptions("root"), alpha)


def test_the_only_package_is_meant_where_nothing_else_is_said(tmp_path):
    assert choose("train", ["alpha-lab"], UvOptions(), tmp_path) == "alpha-lab"
    assert (
        choose("train", ["alpha-lab"], UvOptions(None, "."), project(tmp_path, '[project]\nname = "mine"'))
        == "alpha-lab"
    )


def test_of_several_packages_none_is_guessed(tmp_path):
    with pytest.raises(UserError) as error:
        choose("evaluate", PAIR, UvOptions(), project(tmp_path, '[project]\nname = "root"'))
    assert str(error.value) == (
        "evaluate: several packages have this command; say which: alpha-lab evaluate, beta-lab evaluate"
    )


def test_without_any_package_there_is_nothing_to_run(tmp_path):
    with pytest.raises(UserError, match="no installed package has this command"):
        choose("train", [], UvOptions("alpha-lab"), tmp_path)


def install(folder, name, requires, script=None, module="some_module"):
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {one}" for one in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{script or name} = {module}:main\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An environment's folder that is searched alone."""
    monkeypatch.setattr(metadata, "distributions", lambda: metadata.Distribution.discover(path=[str(tmp_path)]))
    return tmp_path


def test_packages_are_those_that_require_shared_and_have_a_script_of_their_own_name(site):
    install(site, "alpha-lab", ["numpy>=2", "drivelab-shared>=0.1,<0.2"])
    install(site, "Beta_Lab", ["Drivelab.Shared[wandb]; python_version > '3'"], script="beta-lab")
    install(site, "longer-name", ["drivelab-shared-extras"])
    install(site, "only-with-an-extra", ["drivelab-shared; extra == 'x'"])
    install(site, "other-script", ["drivelab-shared"], script="something")
    install(site, "broken", ["drivelab-shared >>> 1"])
    install(site, "unrelated", [])
    install(site, "drivelab-shared", ["numpy"], script="train")
    assert sorted(installed_commands()) == ["alpha-lab", "beta-lab"]


def test_the_package_is_run_in_this_process_with_the_verb_and_the_arguments(site, monkeypatch):
    install(site, "alpha-lab", ["drivelab-shared"], module="alpha_module")
    (site / "alpha_module.py").write_text(
        "calls = []\ndef main(arguments):\n    calls.append(arguments)\n    return 7\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("sys.argv", ["evaluate", "--lr", "a b"])
    monkeypatch.chdir(site)
    monkeypatch.setattr(dispatch, "parent_command", list)
    import alpha_module

    assert dispatch.evaluate() == 7
    assert dispatch.train() == 7
    assert alpha_module.calls == [["evaluate", "--lr", "a b"], ["train", "--lr", "a b"]]


def test_the_list_of_packages_ends_with_exit_code_2(site, monkeypatch, capsys):
    install(site, "alpha-lab", ["drivelab-shared"])
    install(site, "beta-lab", ["drivelab-shared"])
    monkeypatch.setattr("sys.argv", ["train"])
    monkeypatch.chdir(site)
    monkeypatch.setattr(dispatch, "parent_command", list)
    assert dispatch.train() == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "alpha-lab train, beta-lab train" in err
