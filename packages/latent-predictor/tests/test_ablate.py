"""Suites of recipes: their settings, what is trained again, and the tables from made-up and from real runs."""

import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import latent_predictor
from drivelab_shared import results
from drivelab_shared import sweep as sweep_module
from drivelab_shared.settings import dump, load, parse
from drivelab_shared.sweep import Recipe, Sweep
from latent_predictor import ablate as ablate_module
from latent_predictor.ablate import LAMBDAS, ablate, recipes, sweep
from latent_predictor.cli import main
from latent_predictor.config import AblateSettings, TrainSettings
from latent_predictor.scores import Method, Scores

CONFIGS = Path(latent_predictor.__file__).parent / "configs"
SUITES = ("recipes", "lambda", "parts")
WINDOWS, TRAJECTORIES = 40, 4
LABELS = (np.arange(WINDOWS * 4).reshape(WINDOWS, 4) // 3 % 3).astype(np.int8)
PICTURES = "accuracy on pictures (c) [%]"


def settings_of(recipe: Recipe) -> TrainSettings:
    return parse(TrainSettings, recipe.arguments, prog="train", configs=CONFIGS, default_config="quick")


def differing(ours: TrainSettings, theirs: TrainSettings) -> set[str]:
    ours, theirs = asdict(ours), asdict(theirs)
    return {name for name in ours if ours[name] != theirs[name]}


def scores_with(share_c: float, share_b=0.8, groups=TRAJECTORIES) -> Scores:
    """A predictor that is right in so many windows: judged by c, and by a and b."""

    def right_in(share):
        return np.where(np.arange(WINDOWS)[:, None] < share * WINDOWS, LABELS, (LABELS + 1) % 3).astype(np.int8)

    def method(b, c, error=1.0):
        classes = {"a": right_in(b), "b": right_in(b), "c": right_in(c)}
        return Method(classes, np.full((WINDOWS, 4), error), np.full((WINDOWS, 4), 20.0), np.ones(4))

    methods = {
        "real": method(1, 1),
        "reconstruction": method(1, 1),
        "predictor": method(share_b, share_c, error=0.5),
        "swapped actions": method(share_b - 0.3, share_c - 0.3),
        "copy last": method(0.5, 0.5),
        "constant mean": method(0.4, 0.4),
        "majority class": Method({"label": np.ones((WINDOWS, 4), np.int8)}),
        "state oracle": Method({"label": right_in(0.8)}),
    }
    if groups == 1:  # nobody to swap with
        del methods["swapped actions"]
    return Scores((1, 5, 10, 20), np.arange(WINDOWS) % groups, LABELS, methods)


@pytest.fixture
def suite(tmp_path, tiny_data, monkeypatch):
    """Runs a suite on scores by recipe instead of trained networks, and returns its tables by name."""

    def run(name, scores_of, seeds=(0, 1)):
        def pretend(runs, recipe, seed):
            folder = runs.run_folder(recipe, seed)
            folder.mkdir(parents=True, exist_ok=True)
            scores_of(recipe.name, seed).save(folder / "scores.npz")

        monkeypatch.setattr(Sweep, "train", pretend)
        ablate(AblateSettings(suite=name, data_dir=tiny_data, output_dir=tmp_path, seeds=seeds, num_bootstrap=50))
        assert (tmp_path / name / "report.html").stat().st_size > 10_000
        return {table.table: table for table in results.read(tmp_path / name / "results.json")}

    return run


def value(table, row, metric, at):
    (found,) = [cell.value for cell in table.rows if (cell.row, cell.metric, cell.at) == (row, metric, at)]
    return found


# --- recipes


@pytest.mark.parametrize("budget", ["best", "quick"])
@pytest.mark.parametrize("name", SUITES)
def test_every_recipe_is_understood_by_train_and_has_a_folder_of_its_own(name, budget):
    suite = recipes(AblateSettings(budget=budget))[name]
    settings = [settings_of(recipe) for recipe in suite]
    assert len({dump(found) for found in settings}) == len(suite)
    assert len({recipe.name for recipe in suite}) == len({recipe.folder for recipe in suite}) == len(suite)
    assert not any("/" in recipe.folder for recipe in suite)


def test_the_best_recipe_is_the_shipped_one():
    best, *_ = recipes(AblateSettings())["recipes"]
    assert settings_of(best) == load(TrainSettings, CONFIGS / "best.yaml")


def test_the_requests_recipe_is_the_shipped_one_with_the_vae_and_judges_of_the_best():
    best, _, mse_only, with_ce = map(settings_of, recipes(AblateSettings())["recipes"])
    original = load(TrainSettings, CONFIGS / "original.yaml")
    assert differing(with_ce, original) <= {"vae", "judges"}
    assert (with_ce.vae, with_ce.judges) == (best.vae, best.judges)
    assert differing(mse_only, with_ce) == {"lambda_cls"}
    assert mse_only.lambda_cls == 0


def test_the_lambda_suite_varies_lambda_alone():
    suite = recipes(AblateSettings())["lambda"]
    settings = [settings_of(recipe) for recipe in suite]
    assert [found.lambda_cls for found in settings] == [*LAMBDAS, *LAMBDAS]
    for first, *others in (settings[:6], settings[6:]):
        assert all(differing(other, first) == {"lambda_cls"} for other in others)


def test_each_part_is_taken_away_alone():
    best, *without = recipes(AblateSettings())["parts"]
    changed = {recipe.name: differing(settings_of(recipe), settings_of(best)) for recipe in without}
    assert changed["without whitening"] == {"whiten_latents"}
    assert changed["without FiLM"] == {"action_conditioning"}
    assert changed["without open loop"] == {"forced_steps", "open_loop_steps"}
    assert all(len(names) == 1 for name, names in changed.items() if name != "without open loop")
    windows = {settings_of(recipe).window for recipe in (best, *without)}
    assert len(windows) == 1  # all see the same transitions


def test_the_same_recipe_is_one_run_in_all_suites():
    suites = recipes(AblateSettings())
    folders = [{recipe.folder for recipe in suites[name]} for name in SUITES]
    best = suites["recipes"][0].folder
    assert all(best in found for found in folders)


# --- what is trained


def test_all_runs_share_data_cache_and_threads_and_have_no_twin(tmp_path):
    settings = AblateSettings(output_dir=tmp_path, data_dir=Path("drives"), cache_dir=Path("stages"), threads=2)
    runs = sweep(settings)
    assert (runs.module, runs.folder) == ("latent_predictor", tmp_path / "runs" / "drives")
    recipe = recipes(settings)["recipes"][0]
    arguments = (*recipe.arguments, *runs.common)
    assert parse(TrainSettings, arguments, prog="train", configs=CONFIGS, default_config="quick") == replace(
        settings_of(recipe), data_dir=Path("drives"), cache_dir=Path("stages"), threads=2, twin=False
    )


def test_a_suite_trains_evaluates_and_compares_real_runs_and_does_it_once(
    tiny_run, tiny_settings, tmp_path, monkeypatch
):
    (tmp_path / "tiny.yaml").write_text(dump(replace(tiny_settings, evaluate=True)))
    tiny = ("--config", str(tmp_path / "tiny.yaml"))
    suite = [Recipe("best", tiny), Recipe("without whitening", (*tiny, "--no-whiten_latents"))]
    monkeypatch.setattr(ablate_module, "recipes", lambda settings: {"parts": suite})
    started = []

    def run_here(command, **_):
        started.append(command)
        return subprocess.CompletedProcess(command, main(command[3:]))

    # Only the processes that a sweep starts: git is asked for the commit in the same way.
    monkeypatch.setattr(sweep_module, "subprocess", SimpleNamespace(run=run_here, STDOUT=subprocess.STDOUT))
    settings = AblateSettings(
        suite="parts", data_dir=tiny_settings.data_dir, cache_dir=tiny_settings.cache_dir,
        output_dir=tmp_path / "ablate", seeds=(0,), num_bootstrap=50,
    )  # fmt: skip
    ablate(settings)
    assert len(started) == 2
    path = tmp_path / "ablate" / "parts" / "results.json"
    first = [table.rows for table in results.read(path)]
    ablate(settings)
    assert len(started) == 2
    assert [table.rows for table in results.read(path)] == first


def test_runs_on_other_data_are_other_runs(tmp_path):
    here, there = (sweep(AblateSettings(output_dir=tmp_path, data_dir=Path(name))) for name in ("summer", "winter"))
    recipe = recipes(AblateSettings())["recipes"][0]
    assert here.run_folder(recipe, 0) != there.run_folder(recipe, 0)


# --- tables


def test_the_recipes_are_held_against_the_bars(suite):
    shares = {"best": 0.75, "best without actions": 0.6, "original, MSE only": 0.5, "original + 0.5 CE": 0.55}
    tables = suite("recipes", lambda name, seed: scores_with(shares[name] + 0.05 * seed, shares[name]))
    assert list(tables) == ["bars", "recipes"]
    assert tables["recipes"].seeds == [0, 1]
    assert value(tables["recipes"], "best", PICTURES, 10) == pytest.approx(77.5)
    bars = {row.row: row for row in tables["bars"].rows}
    assert bars["accuracy (c) - request's MSE recipe, 10 frames (bar: >= 8)"].value == pytest.approx(25)
    assert bars["accuracy (b) / state oracle, 10 frames (bar: >= 0.95)"].value == pytest.approx(0.75 / 0.8)
    assert bars["accuracy (b) - own no-action twin, 10 frames (bar: > 0)"].value == pytest.approx(15)
    verdicts = dict(zip(bars, tables["bars"].conclusions, strict=True))
    assert "**missed**" in verdicts["accuracy (b) / state oracle, 10 frames (bar: >= 0.95)"]
    assert "reached, and the whole interval is" in verdicts["gaming gap, 10 frames (bar: <= 5)"]


def test_the_lambda_suite_is_a_table_and_a_curve(suite):
    tables = suite("lambda", lambda name, seed: scores_with(0.5 if name.startswith("original") else 0.7), seeds=(0,))
    assert list(tables) == ["lambda"]
    for x in LAMBDAS:
        assert value(tables["lambda"], f"best, lambda {x:g}", PICTURES, 20) == pytest.approx(70)


def test_what_a_part_is_worth_is_said_in_words(suite):
    shares = {"without FiLM": 0.4, "without input noise": 0.9}
    tables = suite("parts", lambda name, seed: scores_with(shares.get(name, 0.7)))
    assert list(tables) == ["parts-differences", "parts"]
    conclusions = tables["parts-differences"].conclusions
    assert "**without FiLM** costs accuracy on pictures: -30.0 at 1, -30.0 at 5" in " ".join(conclusions)
    assert "**without input noise** gains accuracy on pictures: +20.0 at 1" in " ".join(conclusions)
    assert "without whitening: no difference on pictures that the intervals would show." in conclusions


@pytest.mark.parametrize("name", SUITES)
def test_one_test_drive_is_enough_for_tables_without_intervals(suite, name):
    tables = suite(name, lambda recipe, seed: scores_with(0.7, groups=1), seeds=(0,))
    assert not any("nan" in line or "None" in line for table in tables.values() for line in table.conclusions)
