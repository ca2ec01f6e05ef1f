import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drivelab_shared import engine, runs
from drivelab_shared.errors import UserError
from drivelab_shared.runs import Progress, open_run
from drivelab_shared.settings import load

PACKAGE = "drivelab-shared"
"""Stands for a package that trains; its version is asked for, so it must be installed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of every kind that a tracker or a file may choke on."""

    lr: float = 1e-3
    widths: tuple[int, ...] = (4, 8)
    data_dir: Path | None = None
    deterministic: bool = False
    resume: str | None = None


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """Runs are kept below the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start(accelerator):
    """Open a run; what is still open after the test is closed."""
    opened = []

    def open_(settings=None, **options):
        run = open_run(PACKAGE, settings or Settings(), accelerator, **options)
        opened.append(run)
        return run

    yield open_
    for run in opened:
        if runs.read_manifest(run.folder)["status"] == "running":
            run.finish("failed")


def make_run(name, status, started="2026-11-21T05:00:00+0000"):
    folder = runs.RUNS / PACKAGE / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"status": status, "started": started}))
    return folder


def lines_of(run):
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_importing_runs_does_not_import_torch():
    code = "import sys, drivelab_shared.runs; sys.exit(bool({'torch', 'accelerate', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_newest_finished_run_is_the_one_that_started_last_whatever_its_name():
    make_run("zebra", "finished", "2026-11-20T05:00:00+0000")
    newest = make_run("aardvark", "finished", "2026-11-21T05:00:00+0000")
    make_run("later", "preempted", "2026-11-22T05:00:00+0000")
    (runs.RUNS / PACKAGE / "cache").mkdir()
    assert runs.find(PACKAGE, None) == newest


def test_a_finished_run_can_be_named():
    folder = make_run("one", "finished")
    make_run("two", "finished", "2026-11-22T05:00:00+0000")
    assert runs.find(PACKAGE, folder) == folder


def test_what_is_no_finished_run_is_refused():
    unfinished = make_run("one", "preempted")
    for run_dir, message in [
        (None, "runs/drivelab-shared: expected a finished run, got none; `drivelab-shared train` makes one"),
        (Path("nowhere"), "nowhere: expected a run (a folder with manifest.json), got none"),
        (unfinished, f"{unfinished}: expected a finished run, got one that is preempted; train --resume continues it"),
    ]:
        with pytest.raises(UserError) as refusal:
            runs.find(PACKAGE, run_dir)
        assert str(refusal.value) == message


def test_resume_means_the_newest_unfinished_run_or_the_named_one():
    older = make_run("older", "failed", "2026-11-20T05:00:00+0000")
    newer = make_run("newer", "running", "2026-11-21T05:00:00+0000")
    finished = make_run("newest", "finished", "2026-11-22T05:00:00+0000")
    assert runs.find_unfinished(PACKAGE, "latest") == newer
    assert runs.find_unfinished(PACKAGE, str(older)) == older
    with pytest.raises(UserError, match="newest: expected an unfinished run to resume, got a finished one"):
        runs.find_unfinished(PACKAGE, str(finished))
    with pytest.raises(UserError, match="nowhere: expected a run to resume"):
        runs.find_unfinished(PACKAGE, "nowhere")


def test_resume_latest_with_nothing_to_resume_starts_a_new_run_and_says_so(start, capsys):
    make_run("done", "finished")
    run = start(resume="latest")
    assert not run.resumed
    assert capsys.readouterr().err == "resume: no unfinished run in runs/drivelab-shared, starting a new one\n"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7", '"finished"', "\ufeff{}"])
def test_a_damaged_manifest_is_refused_by_name(text):
    folder = make_run("one", "finished")
    (folder / "manifest.json").write_text(text)
    for look in (
        lambda: runs.find(PACKAGE, None),
        lambda: runs.find(PACKAGE, folder),
        lambda: runs.find_unfinished(PACKAGE, "latest"),
    ):
        with pytest.raises(UserError, match=r"one/manifest\.json: expected an object with a status"):
            look()


def test_a_manifest_with_odd_values_is_no_crash():
    odd = make_run("odd", ["finished"], started=None)
    assert runs.find_unfinished(PACKAGE, "latest") == odd
    make_run("even", "finished", started={"year": 2026})
    assert runs.find(PACKAGE, None).name == "even"


def test_two_runs_of_the_same_second_get_two_folders(start, monkeypatch):
    monkeypatch.setattr(runs.time, "strftime", lambda _: "20261121-050000")
    assert [start().folder.name for _ in range(3)] == ["20261121-050000", "20261121-050000-2", "20261121-050000-3"]


def test_settings_are_saved_and_read_back_equal_without_the_wish_to_resume(start, workplace):
    settings = Settings(lr=3e-4, widths=(1, 2, 3), data_dir=workplace / "data", resume="latest")
    run = start(settings, run_dir=Path("mine"))
    assert load(Settings, run.folder / "settings.yaml") == replace(settings, resume=None)


def test_the_manifest_says_what_ran_where(start, accelerator):
    run = start()
    manifest = runs.read_manifest(run.folder)
    assert manifest["status"] == "running"
    assert manifest["argv"] == sys.argv
    assert manifest.keys() >= {"started", "commit", "host", "machine"}
    assert manifest["versions"].keys() == {PACKAGE, "torch", "accelerate", "numpy"}
    assert (manifest["device"], manifest["world_size"], manifest["threads"]) == ("cpu", 1, 1)
    assert manifest["deterministic"] is False
    run.finish("finished")
    assert runs.read_manifest(run.folder)["status"] == "finished"
    assert runs.find(PACKAGE, None) == run.folder


def test_what_resuming_changes_is_printed_and_saved(start, capsys):
    first = start(Settings(lr=1e-3, widths=(4, 8)))
    started = runs.read_manifest(first.folder)["started"]
    first.finish("preempted")
    capsys.readouterr()
    again = start(Settings(lr=5e-4, widths=(4, 8)), resume="latest")
    assert (again.folder, again.resumed) == (first.folder, True)
    assert capsys.readouterr().err == "resume: lr: 0.001 -> 0.0005\n"
    assert load(Settings, again.folder / "settings.yaml").lr == 5e-4
    manifest = runs.read_manifest(again.folder)
    assert (manifest["status"], manifest["started"]) == ("running", started)
    assert "resumed" in manifest


def test_a_folder_that_holds_a_run_is_not_used_for_another(start):
    first = start(run_dir=Path("mine"))
    first.finish("finished")
    with pytest.raises(UserError, match="run_dir: expected a folder without a run, got mine; --resume mine continues"):
        start(run_dir=Path("mine"))


def test_a_folder_with_other_files_in_it_is_fine(start):
    Path("mine").mkdir()
    Path("mine/train.log").write_text("")
    assert start(run_dir=Path("mine")).folder == Path("mine")


def test_a_run_dir_beside_resume_has_to_be_the_same_one(start):
    first = start(run_dir=Path("mine"))
    first.finish("failed")
    with pytest.raises(UserError, match="run_dir: expected mine as --resume means, or none, got other"):
        start(run_dir=Path("other"), resume="mine")
    assert start(run_dir=Path("mine").absolute(), resume="mine").resumed


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(start):
    Path("mine").write_text("a file")
    with pytest.raises(UserError, match=r"run_dir: expected a folder that can be made, got .*File exists: 'mine'"):
        start(run_dir=Path("mine"))
    Path("blocked/.lock").mkdir(parents=True)
    with pytest.raises(UserError, match=r"blocked: expected a folder to write to, got .*Is a directory"):
        start(run_dir=Path("blocked"))


def test_a_run_that_is_being_written_is_not_resumed_beside_it(start):
    first = start()
    with pytest.raises(UserError, match=f"{first.folder}: expected a run that has stopped, got one that is being writ"):
        start(resume="latest")
    first.finish("failed")
    assert start(resume="latest").resumed


def test_a_start_that_was_interrupted_leaves_nothing_that_looks_like_a_run(start, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            start()
    assert runs.find_unfinished(PACKAGE, "latest") is None


def test_facts_are_added_to_the_manifest(start):
    run = start()
    run.note(samples=12, data_dir=Path("data"))
    manifest = runs.read_manifest(run.folder)
    assert (manifest["samples"], manifest["data_dir"], manifest["status"]) == (12, "data", "running")


def test_what_must_not_change_between_a_run_and_its_continuation_is_checked(start):
    run = start()
    run.require("data", "0123456789abcdef0000", "start a new run")
    run.require("data", "0123456789abcdef0000", "start a new run")
    with pytest.raises(UserError) as refusal:
        run.require("data", "fedcba9876543210ffff", "start a new run")
    assert str(refusal.value) == (
        f"{run.folder}: data: expected 0123456789abcdef as when the run started, got fedcba9876543210; start a new run"
    )
    assert runs.read_manifest(run.folder)["data"] == "0123456789abcdef0000"


def test_metrics_are_lines_of_json_in_which_what_is_not_finite_is_null_and_named(start):
    run = start()
    run.log(1, "train", {"loss": 0.5, "lr": 1})
    run.log(2, "val", {"loss": math.nan, "psnr": math.inf, "accuracy": 0.25}, "vae")
    first, second = lines_of(run)
    assert first.pop("time") <= second.pop("time")
    assert first == {"step": 1, "split": "train", "loss": 0.5, "lr": 1.0}
    expected = {"step": 2, "split": "val", "stage": "vae", "loss": None, "psnr": None, "accuracy": 0.25}
    assert second == expected | {"nonfinite": ["loss", "psnr"]}


def test_rewinding_drops_what_is_later_in_that_stage_and_what_was_torn(start):
    run = start()
    for step in (1, 2, 3):
        run.log(step, "train", {"loss": step}, "vae")
        run.log(step, "train", {"loss": step}, "predictor")
    run.log(3, "train", {"loss": 3})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"stage": "vae"}\n{"stage": "vae", "step": "x"}\n{"step": 4, "spl')
    run.rewind("vae", 2)
    run.log(3, "train", {"loss": 33}, "vae")
    logged = [(line.get("stage"), line["step"], line["loss"]) for line in lines_of(run)]
    assert [line for line in logged if line[0] == "vae"] == [("vae", 1, 1.0), ("vae", 2, 2.0), ("vae", 3, 33.0)]
    assert [line for line in logged if line[0] != "vae"] == [
        ("predictor", 1, 1.0), ("predictor", 2, 2.0), ("predictor", 3, 3.0), (None, 3, 3.0),
    ]  # fmt: skip


def test_rewinding_before_anything_was_logged_is_no_error(start):
    run = start()
    run.rewind("vae", 0)
    assert not (run.folder / "metrics.jsonl").exists()


def test_tensorboard_shows_the_same_numbers(workplace):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = open_run(PACKAGE, Settings(), engine.start("cpu", tracker="tensorboard"), run_dir=workplace / "run")
    run.log(10, "train", {"loss": 0.5}, "vae")
    run.log(20, "train", {"loss": 0.25}, "vae")
    run.log(5, "val", {"accuracy": 0.75})
    run.finish("finished")
    events = EventAccumulator(str(run.folder / PACKAGE)).Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert scalars == {"vae/train/loss": [(10, 0.5), (20, 0.25)], "val/accuracy": [(5, 0.75)]}
    settings = next((run.folder / PACKAGE).glob("*/hparams.yml")).read_text()
    assert "widths: (4, 8)" in settings


def test_wandb_is_given_the_step_as_a_figure_because_its_own_may_not_go_back(start, accelerator, monkeypatch):
    class Tracker:
        name = "wandb"

    given = []
    run = start()
    with monkeypatch.context() as patch:
        patch.setattr(accelerator, "trackers", [Tracker()])
        patch.setattr(accelerator, "log", lambda values, step=None: given.append((values, step)))
        run.log(10, "train", {"loss": 0.5}, "vae")
    assert given == [({"vae/train/loss": 0.5, "vae/train/step": 10}, None)]


def test_off_a_terminal_progress_is_a_line_for_every_tenth_of_the_way(capsys):
    with Progress("vae", 1000, start=100) as bar:
        for done in range(101, 1001):
            bar.update(done, loss=0.123456)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"vae: {done}/1000 loss 0.1235" for done in range(200, 1001, 100)]


def test_progress_that_is_quiet_says_nothing(capsys):
    with Progress("vae", 10, quiet=True) as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_progress_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("vae", 10, start=2) as bar:
        bar.update(7, loss=0.5)
        bar.update(10, loss=0.25)
    shown = capsys.readouterr().err
    assert "vae:  20%" in shown
    assert "vae: 2/10" not in shown
    assert "\n" not in shown.replace("\r", "")
