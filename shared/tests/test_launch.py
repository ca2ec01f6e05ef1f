import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from drivelab_shared.errors import UserError
from drivelab_shared.launch import Verb, main
from drivelab_shared.settings import setting

needs_a_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always full")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Count to a number."""

    size: int = 1
    """How far."""
    resume: str | None = setting(None, bare="latest")
    """Which run to go on with."""


def count(settings):
    return settings.size


def write_a_report(settings):
    return Path("report.html")


def refuse(settings):
    raise UserError("lane.yaml: lambda_cls: expected a number >= 0, got 'abc'")


def have_a_bug(settings):
    raise ValueError("a bug")


def be_interrupted(settings):
    raise KeyboardInterrupt


def lose_a_worker(settings):
    raise BrokenPipeError("a worker's pipe")


def fill_a_text_file(settings):
    Path("/dev/full").write_text("x")


def fill_an_open_file(settings):
    with open("/dev/full", "w") as file:
        print("x", file=file, flush=True)


def copy_to_a_full_disk(settings):
    shutil.copyfile(__file__, "/dev/full")


def save_with_torch(settings):
    with open("/dev/full", "wb") as file:
        torch.save(torch.zeros(100_000), file)


def report_a_full_disk_in_other_words(settings):
    folder = Path("runs/demo/checkpoints")
    raise RuntimeError(f"I/O error: No space left on device (os error 28) in {len(folder.parts)}")


def verb(function, default_config=None):
    name = function if isinstance(function, str) else f"{__name__}:{function.__name__}"
    return Verb(f"{__name__}:DemoSettings", name, "count to a number", default_config)


def run(function, *arguments, configs=Path("no-configs"), default_config=None):
    """Exit code of the one verb of a package; drivelab-shared stands for it because it is surely installed."""
    return main("drivelab-shared", {"count": verb(function, default_config)}, configs, ["count", *arguments])


def test_help_lists_every_verb_with_its_line(capsys):
    verbs = {"make-data": Verb("a:B", "a:b", "drive a simulator"), "train": Verb("a:B", "a:b", "learn")}
    assert main("drivelab-shared", verbs, Path(), ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("drivelab-shared: ")
    assert lines[-2:] == ["  make-data  drive a simulator", "  train      learn"]


def test_no_verb_is_answered_with_the_overview_and_exit_code_2(capsys):
    assert main("drivelab-shared", {"count": verb(count)}, Path(), []) == 2
    out, err = capsys.readouterr()
    assert (out, "  count  count to a number" in err) == ("", True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cuont", "did you mean 'count'?"), ("paint", "expected one of count"), ("--size=3", "expected one of count")],
)
def test_an_unknown_verb_is_one_line_with_the_nearest_name(name, hint, capsys):
    assert main("drivelab-shared", {"count": verb(count)}, Path(), [name]) == 2
    assert capsys.readouterr().err == f"drivelab-shared: unknown verb '{name}'; {hint}\n"


def test_the_version_is_the_installed_one(capsys):
    assert main("drivelab-shared", {"count": verb(count)}, Path(), ["--version"]) == 0
    assert capsys.readouterr().out.split()[0] == "drivelab-shared"


def test_the_help_of_a_verb_lists_its_settings(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(count, "--help", configs=tmp_path)
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "drivelab-shared count" in out
    assert "How far." in out


def test_the_function_gets_the_settings_and_its_number_is_the_exit_code():
    assert run(count, "--size", "3") == 3
    assert run(count, "--size=0") == 0


def test_a_result_that_is_no_number_means_success():
    assert run(write_a_report) == 0


def test_the_function_is_not_imported_when_its_settings_are_wrong():
    with pytest.raises(SystemExit) as exit_:
        run("there_is_no:such_function", "--size", "many")
    assert exit_.value.code == 2


def test_the_default_config_of_a_verb_applies(tmp_path):
    (tmp_path / "quick.yaml").write_text("size: 7\n")
    assert run(count, configs=tmp_path, default_config="quick") == 7


def test_resume_goes_on_with_the_settings_of_the_unfinished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, size, status in [("1", 6, "running"), ("2", 7, "preempted"), ("3", 9, "finished")]:
        folder = Path("runs/drivelab-shared") / name
        folder.mkdir(parents=True)
        (folder / "settings.yaml").write_text(f"size: {size}\n")
        (folder / "manifest.json").write_text(f'{{"status": "{status}"}}')
    assert run(count, configs=tmp_path) == 1
    assert run(count, "--resume", configs=tmp_path) == 7
    assert run(count, "--resume", "runs/drivelab-shared/1", "--size", "8", configs=tmp_path) == 8


def test_resume_without_an_unfinished_run_starts_afresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(count, "--resume", configs=tmp_path) == 1


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys):
    assert run(refuse) == 2
    assert capsys.readouterr() == ("", "lane.yaml: lambda_cls: expected a number >= 0, got 'abc'\n")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="a bug"):
        run(have_a_bug)


def test_ctrl_c_ends_with_130_and_one_line(capsys):
    assert run(be_interrupted) == 130
    assert capsys.readouterr().err == "drivelab-shared: interrupted\n"


def test_a_broken_pipe_that_is_not_stdout_keeps_its_traceback():
    with pytest.raises(BrokenPipeError):
        run(lose_a_worker)


@needs_a_full_disk
@pytest.mark.parametrize("function", [fill_a_text_file, fill_an_open_file, copy_to_a_full_disk, save_with_torch])
def test_a_full_disk_is_one_line_that_names_the_file(function, capsys):
    assert run(function) == 2
    assert capsys.readouterr().err == "/dev/full: No space left on device\n"


def test_a_full_disk_reported_by_a_library_names_the_folder_at_hand(capsys):
    assert run(report_a_full_disk_in_other_words) == 2
    assert capsys.readouterr().err == "runs/demo/checkpoints: No space left on device\n"


PROGRAM = """
import sys
from dataclasses import dataclass
from pathlib import Path
from drivelab_shared.launch import Verb, main

@dataclass(frozen=True, kw_only=True)
class Settings:
    size: int = 1

def talk(settings):
    while True:
        print("x" * settings.size)

if __name__ == "__main__":
    sys.exit(main("drivelab-shared", {"talk": Verb("__main__:Settings", "__main__:talk", "talk")}, Path()))
"""


@pytest.mark.parametrize("arguments", [["talk", "--size", "1000"], ["talk", "--help"], ["--help"]])
@pytest.mark.parametrize("buffering", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_reader_that_leaves_ends_the_program_quietly(arguments, buffering):
    command = [sys.executable, *buffering, "-c", PROGRAM, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 141


@needs_a_full_disk
@pytest.mark.parametrize("arguments", [["talk", "--size", "1000"], ["talk", "--help"], ["--help"]])
def test_output_that_goes_to_a_full_disk_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (process.returncode, process.stderr) == (2, "<stdout>: No space left on device\n")
