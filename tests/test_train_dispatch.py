"""`uv run --package NAME train` runs the training of NAME, by the real uv, although all packages share one `train`.

The environment is made by hand from links (nothing is built or downloaded); `tools/check dispatch` does the same with
packages that uv really built and installed.
"""

import json
import os
import random
import shutil
import subprocess
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import packaging
import psutil
import pytest

import drivelab_shared

pytestmark = [
    pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv on the PATH"),
    pytest.mark.skipif(os.name == "nt", reason="the environment is made of links and scripts of a POSIX system"),
]

MODULE = """
import json, sys
def main(arguments):
    print(json.dumps([{name!r}, arguments]))
    return 3 if "--fail" in arguments else 0
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A workspace with two packages that can train and one that cannot, all installed in its environment."""
    lab = tmp_path_factory.mktemp("two packages") / "lab"
    venv.create(lab / ".venv")
    (site,) = lab.glob(".venv/lib/python*/site-packages")
    for module in (drivelab_shared, packaging, psutil):
        (site / module.__name__).symlink_to(Path(module.__file__).parent)
    members = {"alpha-lab": "drivelab-shared>=0.1", "beta-lab": "drivelab-shared>=0.1", "plain": "drivelab-shared-x"}
    for name, requirement in members.items():
        write_member(lab, site, name, requirement)
    workspace = "[tool.uv]\npackage = false\n[tool.uv.workspace]\nmembers = ['packages/*']\n"
    (lab / "pyproject.toml").write_text(f"[project]\nname = 'lab'\nversion = '0'\n{workspace}")
    for script in ("train", "evaluate"):
        write_script(lab / ".venv" / "bin" / script, script)
    return lab


def write_member(lab, site, name, requirement):
    folder = lab / "packages" / name
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f"[project]\nname = '{name}'\nversion = '1'\n")
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(MODULE.format(name=name))
    info = site / f"{module}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\nRequires-Dist: {requirement}\n")
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {module}:main\n")


def write_script(file, name):
    # The form that installers use where the interpreter's path has spaces.
    python = file.with_name("python")
    body = f"import sys\nfrom drivelab_shared.dispatch import {name}\nsys.exit({name}())\n"
    file.write_text(f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n{body}")
    file.chmod(0o755)


def run(lab, command, folder=".", **variables):
    """Run a command, given as words or as one line of them, in a folder of the workspace."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV", "VIRTUAL_ENV", "PYTHON"))}
    return subprocess.run(
        command.split() if isinstance(command, str) else command,
        cwd=lab / folder,
        env={**kept, "UV_OFFLINE": "1", "UV_NO_SYNC": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# Command line, folder it is started in, package and arguments that must arrive.
RIGHT = [
    ("uv run --package alpha-lab train", ".", ["alpha-lab", ["train"]]),
    ("uv run --package beta-lab train", ".", ["beta-lab", ["train"]]),
    ("uv run --package=beta-lab train --lr 1", ".", ["beta-lab", ["train", "--lr", "1"]]),
    ("uv run --package Beta_Lab evaluate --x=1", ".", ["beta-lab", ["evaluate", "--x=1"]]),
    ("uv run --package beta-lab train --package x", "packages/alpha-lab", ["beta-lab", ["train", "--package", "x"]]),
    ("uv -q run --package beta-lab -- train train", ".", ["beta-lab", ["train", "train"]]),
    ("uv run --exact --package beta-lab train", ".", ["beta-lab", ["train"]]),
    ("uv run --package beta-lab env LR=1 train --lr 2", ".", ["beta-lab", ["train", "--lr", "2"]]),
    ("uv run --package beta-lab .venv/bin/train", ".", ["beta-lab", ["train"]]),
    ("uv run --project packages/beta-lab train", ".", ["beta-lab", ["train"]]),
    ("uv run --project=../beta-lab train", "packages/alpha-lab", ["beta-lab", ["train"]]),
    ("uv --project packages/beta-lab run train --lr 1", ".", ["beta-lab", ["train", "--lr", "1"]]),
    ("uv run --directory packages/beta-lab train", ".", ["beta-lab", ["train"]]),
    ("uv --directory packages/beta-lab run train", ".", ["beta-lab", ["train"]]),
    ("uv run --directory packages --project alpha-lab train", ".", ["alpha-lab", ["train"]]),
    ("uv run train", "packages/alpha-lab", ["alpha-lab", ["train"]]),
    ("uv run train --package x", "packages/beta-lab", ["beta-lab", ["train", "--package", "x"]]),
]


@pytest.mark.parametrize(("command", "folder", "expected"), RIGHT, ids=[f"{case[0]} in {case[1]}" for case in RIGHT])
def test_uv_reaches_the_package_that_was_asked_for(lab, command, folder, expected):
    process = run(lab, command, folder)
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout) == expected


def test_uv_reaches_the_right_package_in_any_order_and_at_the_same_time(lab):
    cases = RIGHT * 2
    random.Random(0).shuffle(cases)
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda case: run(lab, case[0], case[1]).stdout, cases))
    assert [json.loads(output) for output in outputs] == [expected for _, _, expected in cases]


def test_the_exit_code_of_the_package_is_that_of_train(lab):
    assert run(lab, "uv run --package beta-lab train --fail").returncode == 3


def test_the_variable_for_project_counts_like_the_option(lab):
    assert json.loads(run(lab, "uv run train", UV_PROJECT="packages/beta-lab").stdout)[0] == "beta-lab"


def test_quoted_paths_with_spaces_stay_whole(lab):
    assert " " in str(lab)
    project = str(lab / "packages" / "beta-lab")
    process = run(lab, ["uv", "run", "--project", project, "train", "--name", "a b"], folder="/")
    assert json.loads(process.stdout) == ["beta-lab", ["train", "--name", "a b"]]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize("options", ["", "--project .", "--directory packages/plain"])
def test_without_a_package_the_commands_are_listed_and_none_is_guessed(lab, verb, options):
    process = run(lab, f"uv run {options} {verb} --lr 1")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == (
        f"{verb}: several packages have this command; say which: alpha-lab {verb}, beta-lab {verb}\n"
    )


@pytest.mark.parametrize("name", ["lab", "plain"])
@pytest.mark.parametrize("folder", [".", "packages/alpha-lab"])
def test_a_package_that_cannot_train_is_an_error_also_beside_one_that_can(lab, name, folder):
    process = run(lab, f"uv run --package {name} train", folder)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == f"train: --package: expected one of alpha-lab, beta-lab, got '{name}'\n"


def test_without_uv_the_current_directory_decides(lab):
    script = str(lab / ".venv" / "bin" / "train")
    assert json.loads(run(lab, [script], "packages/beta-lab").stdout) == ["beta-lab", ["train"]]
    assert run(lab, [script]).returncode == 2
