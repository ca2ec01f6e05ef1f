"""Sweeps by a package that only says what it was asked: which runs are started, resumed and kept, and in what order."""

import json
import threading
from pathlib import Path

import pytest

from drivelab_shared.errors import UserError
from drivelab_shared.sweep import Recipe, Sweep

# Stands for a package: writes down its arguments and ends as its recipe says.
PACKAGE = """
import json, sys
from pathlib import Path

arguments = sys.argv[1:]
folder = Path(arguments[arguments.index("--run_dir") + 1])
with (folder / "asked.jsonl").open("a") as file:
    file.write(json.dumps(arguments) + "\\n")
print("first line")
status = "preempted" if "--stop" in arguments else "finished"
(folder / "manifest.json").write_text(json.dumps({"status": status}))
if "--fail" in arguments:
    sys.exit("step 4: expected finite losses, got loss nan")
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    (tmp_path / "pretender.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Sweep("pretender", tmp_path / "runs", ("--data_dir", "drives"))


def asked(sweep: Sweep, recipe: Recipe, seed: int) -> list[list[str]]:
    """Arguments of every process that was started for it."""
    path = sweep.run_folder(recipe, seed) / "asked.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def set_status(folder: Path, status: str, **facts: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"status": status, **facts}))


# --- folders


def test_a_folder_is_named_by_arguments_and_seed_in_a_way_that_file_systems_take(tmp_path):
    recipe = Recipe("my recipe", ("--config", "configs/tiny.yaml", "--lr", "1e-3", "--no-baselines"))
    folder = Sweep("package", tmp_path, ()).run_folder(recipe, 3)
    assert folder == tmp_path / "config_configs-tiny.yaml_lr_1e-3_no-baselines_seed-3"


def test_the_same_arguments_share_a_folder_whatever_the_row_is_called(tmp_path):
    sweep = Sweep("package", tmp_path, ())
    first, second, third = Recipe("a", ("--lr", "1")), Recipe("b", ("--lr", "1")), Recipe("a", ("--lr", "2"))
    assert sweep.run_folder(first, 0) == sweep.run_folder(second, 0)
    assert len({sweep.run_folder(recipe, seed) for recipe in (first, third) for seed in (0, 1)}) == 4


# --- one run


def test_a_run_that_is_missing_is_made_with_what_all_runs_share(sweep):
    recipe = Recipe("fast", ("--lr", "1"))
    sweep.train(recipe, 7)
    folder = sweep.run_folder(recipe, 7)
    expected = ["train", "--lr", "1", "--data_dir", "drives", "--seed", "7", "--run_dir", str(folder)]
    assert asked(sweep, recipe, 7) == [expected]
    assert (folder / "train.log").read_text() == "first line\n"


@pytest.mark.parametrize("status", ["running", "preempted", "failed"])
def test_a_run_that_has_not_finished_is_resumed(sweep, status):
    recipe = Recipe("fast", ("--lr", "1"))
    folder = sweep.run_folder(recipe, 0)
    set_status(folder, status)
    sweep.train(recipe, 0)
    (arguments,) = asked(sweep, recipe, 0)
    assert arguments[-2:] == ["--resume", str(folder)]


def test_a_run_that_has_finished_is_kept(sweep):
    recipe = Recipe("fast", ("--lr", "1"))
    set_status(sweep.run_folder(recipe, 0), "finished")
    sweep.train(recipe, 0)
    assert asked(sweep, recipe, 0) == []


def test_a_run_that_has_finished_on_other_data_is_not_taken_for_one_on_these(sweep):
    recipe = Recipe("fast", ("--lr", "1"))
    folder = sweep.run_folder(recipe, 0)
    set_status(folder, "finished", argv=["train", "--data_dir", "elsewhere/drives", "--lr", "1"])
    found = "expected a run on drives, got one on elsewhere/drives; name another output_dir"
    with pytest.raises(UserError, match=f"{folder}: data_dir: {found}"):
        sweep.train(recipe, 0)
    set_status(folder, "finished", argv=["train", "--data_dir", "drives", "--lr", "1"])
    sweep.train(recipe, 0)
    assert asked(sweep, recipe, 0) == []


def test_a_failed_run_is_named_with_the_last_line_of_its_log(sweep):
    recipe = Recipe("broken", ("--fail",))
    log = sweep.run_folder(recipe, 0) / "train.log"
    with pytest.raises(UserError) as caught:
        sweep.train(recipe, 0)
    found = "got exit code 1: step 4: expected finite losses, got loss nan"
    assert str(caught.value) == f"{log}: expected a finished run, {found}"


def test_a_run_that_ends_well_without_finishing_is_not_taken_for_one_that_did(sweep):
    with pytest.raises(UserError, match="expected a finished run, got exit code 0: first line"):
        sweep.train(Recipe("stopped", ("--stop",)), 0)


def test_logs_of_all_attempts_are_kept(sweep):
    recipe = Recipe("stopped", ("--stop",))
    for _ in range(2):
        with pytest.raises(UserError):
            sweep.train(recipe, 0)
    assert (sweep.run_folder(recipe, 0) / "train.log").read_text() == "first line\n" * 2


# --- all runs


def test_every_recipe_is_trained_with_every_seed_and_the_same_arguments_once(sweep):
    recipes = [Recipe("a", ("--lr", "1")), Recipe("b", ("--lr", "2")), Recipe("like a", ("--lr", "1"))]
    sweep.train_all(recipes, (0, 1), jobs=2)
    assert [len(asked(sweep, recipe, seed)) for recipe in recipes[:2] for seed in (0, 1)] == [1] * 4
    assert len(list(sweep.folder.iterdir())) == 4


def test_the_first_run_fills_the_cache_alone_and_then_several_go_at_once(sweep, monkeypatch):
    done, together = [], threading.Barrier(2)

    def train(self, recipe, seed):
        if done:
            together.wait(timeout=20)  # breaks unless two come here at the same time
        done.append((recipe.name, seed))

    monkeypatch.setattr(Sweep, "train", train)
    sweep.train_all([Recipe("a", ("1",)), Recipe("b", ("2",)), Recipe("c", ("3",))], (5,), jobs=2)
    assert done[0] == ("a", 5)
    assert sorted(done) == [("a", 5), ("b", 5), ("c", 5)]


def test_the_failure_of_a_run_ends_the_sweep(sweep):
    recipes = [Recipe("a", ("--lr", "1")), Recipe("broken", ("--fail",))]
    with pytest.raises(UserError, match="expected a finished run"):
        sweep.train_all(recipes, (0,), jobs=2)
