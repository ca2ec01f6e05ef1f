"""Suites of recipes: their settings, what is trained again, and the tables from made-up and from real runs."""

import json
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import v2x_teacher
from drivelab_shared import results
from drivelab_shared import sweep as sweep_module
from drivelab_shared.settings import dump, flatten, load, parse
from drivelab_shared.sweep import Recipe, Sweep
from v2x_teacher import ablate as ablate_module
from v2x_teacher import ablation_report, evaluation_report
from v2x_teacher.ablate import ALONE, LABELS, ablate, recipes, sweep
from v2x_teacher.cli import main
from v2x_teacher.config import AblateSettings, TrainSettings
from v2x_teacher.scores import Method, Scores
from v2x_teacher.situations import HIDDEN, save_situations

CONFIGS = Path(v2x_teacher.__file__).parent / "configs"
SUITES = ("fixes", "bars", "recipes", "backbones")
SAMPLES = 40


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("FREEZE_BACKBONE", raising=False)


@cache  # the parser takes 40 ms
def settings_of(recipe: Recipe) -> TrainSettings:
    return parse(TrainSettings, recipe.arguments, prog="train", configs=CONFIGS, default_config="quick")


def differing(ours: TrainSettings, theirs: TrainSettings) -> set[str]:
    ours, theirs = flatten(ours), flatten(theirs)
    return {name for name in ours if ours[name] != theirs[name]}


def suite_of(name: str, **changes) -> dict[str, TrainSettings]:
    return {recipe.name: settings_of(recipe) for recipe in recipes(AblateSettings(**changes))[name]}


# --- recipes


@pytest.mark.parametrize("name", SUITES)
def test_every_recipe_is_understood_by_train_and_has_a_folder_of_its_own(name):
    suite = recipes(AblateSettings())[name]
    names = [recipe.name for recipe in suite]
    assert len(set(names)) == len(names)
    by_folder = {recipe.folder: dump(settings_of(recipe)) for recipe in suite}
    # The seventh fix prints a line: the recipe with it alone is the original, and shares its run.
    assert len(by_folder) == len(set(by_folder.values())) == len(suite) - (2 if name == "fixes" else 0)
    assert all("/" not in folder and len(folder) < 200 for folder in by_folder)


def test_the_settings_of_the_shipped_recipes_are_theirs():
    fixes = suite_of("fixes")
    for name in ("original", "original-fixed", "robust"):
        shipped = load(TrainSettings, CONFIGS / f"{name}.yaml")
        assert differing(fixes[f"{name}, time"], shipped) <= {"baselines"}
    assert suite_of("bars") == {"robust": load(TrainSettings, CONFIGS / "robust.yaml")}


def test_each_fix_is_made_alone_and_all_of_them_are_the_fixed_recipe():
    fixes = suite_of("fixes")
    original, fixed = (flatten(fixes[f"{name}, time"]) for name in ("original", "original-fixed"))
    changed = {name: differing(fixes[f"{name}, time"], fixes["original, time"]) for name in ALONE}
    assert changed == {
        "fix 1, fusion": {"head.fusion"},
        "fix 2, initialisation": {"head.init"},
        "fix 3, pooling": {"head.pooling"},
        "fix 4, loss": {"head.loss"},
        "fix 5, learning rates": {"head_lr", "backbone_lr"},
        "fix 6, frozen backbone": {"freeze_backbone"},
        "fix 7, range line": set(),
    }
    for name, fields in changed.items():
        assert all(flatten(fixes[f"{name}, time"])[field] == fixed[field] for field in fields)
    schedule = {"final_lr_share", "warmup_steps", "accumulation"}  # the request's, one per state of the backbone
    assert {name for name in fixed if fixed[name] != original[name]} == set().union(*changed.values()) | schedule


def test_every_recipe_of_the_fixes_is_trained_on_both_kinds_of_labels():
    fixes = suite_of("fixes")
    by_rows = {name.removesuffix(", rows"): found for name, found in fixes.items() if name.endswith(", rows")}
    assert len(by_rows) == len(fixes) / 2
    for name, found in by_rows.items():
        by_time = fixes[f"{name}, time"]
        assert differing(found, by_time) == {"labels.kind", "labels.allow_implausible"}
        assert (found.labels.kind, by_time.labels.kind) == ("rows", "time")


def test_the_robust_recipe_on_the_requests_backbone_differs_in_the_backbone_alone():
    fixes = suite_of("fixes")
    changed = differing(fixes["robust on the tiny Florence-2, time"], fixes["robust, time"])
    assert changed == {"backbone.kind", "backbone.height", "backbone.width", "baselines"}


def test_each_part_is_taken_away_alone():
    suite = suite_of("recipes")
    robust = suite.pop("robust")
    changed = {name: differing(found, robust) - {"baselines"} for name, found in suite.items()}
    assert changed["without feature dropout"] == {"head.feature_dropout"}
    assert changed["without the motion as an input"] == {"head.use_ego"}
    assert changed["without the turn in the prior"] == {"head.prior"}
    assert all(len(fields) == 1 for name, fields in changed.items() if name.startswith("without "))
    assert len({min(fields) for name, fields in changed.items() if name.startswith("without ")}) >= 8


def test_backbones_differ_in_backbone_and_pooling():
    for found in suite_of("backbones").values():
        fields = differing(found, load(TrainSettings, CONFIGS / "robust.yaml")) - {"baselines", "head.pooling"}
        assert all(field.startswith("backbone.") for field in fields)


@pytest.mark.parametrize("name", SUITES)
def test_every_run_can_be_shortened(name):
    for recipe in recipes(AblateSettings(epochs=3))[name]:
        assert recipe.arguments[recipe.arguments.index("--epochs") + 1] == "3"


def test_the_robust_recipe_with_its_baselines_is_one_run_in_all_suites():
    suites = recipes(AblateSettings())
    assert suites["bars"][0].arguments == suites["recipes"][0].arguments == suites["fixes"][0].arguments


# --- what is trained


@pytest.mark.parametrize(
    ("suite", "folder", "layout"), [("fixes", "dair", "dair"), ("bars", "spd", "spd"), ("backbones", "spd", "spd")]
)
def test_the_fixes_are_trained_on_a_cooperative_list_with_holes(tmp_path, monkeypatch, suite, folder, layout):
    made, trained = [], []
    monkeypatch.setattr(ablate_module, "ensure_data", lambda data_dir, layout: made.append((data_dir, layout)))

    def stop(runs, suite, seeds, jobs):
        trained.append(runs)
        raise InterruptedError

    monkeypatch.setattr(Sweep, "train_all", stop)
    settings = AblateSettings(
        suite=suite, data_dir=Path("spd"), fixes_data_dir=Path("dair"), output_dir=tmp_path, cache_dir=Path("cache")
    )
    with pytest.raises(InterruptedError):
        ablate(settings)
    assert made == [(Path(folder), layout)]
    (runs,) = trained
    assert runs.folder == tmp_path / "runs" / folder
    common = parse(TrainSettings, runs.common, prog="train", configs=CONFIGS, default_config="quick")
    assert (common.data_dir, common.cache_dir, common.threads) == (Path(folder), Path("cache"), 1)


def test_a_suite_trains_evaluates_and_compares_real_runs_and_does_it_once(
    tiny_run, tiny_settings, tmp_path, monkeypatch
):
    (tmp_path / "tiny.yaml").write_text(dump(replace(tiny_settings, evaluate=True)))
    tiny = ("--config", str(tmp_path / "tiny.yaml"))
    suite = [Recipe("robust", tiny), Recipe("without a prior", (*tiny, "--head.prior", "none"))]
    monkeypatch.setattr(ablate_module, "recipes", lambda settings: {"recipes": suite})
    monkeypatch.setattr(evaluation_report, "write_report", lambda path, *_: path.write_text("report"))
    started = []

    def run_here(command, **_):
        started.append(command)
        return subprocess.CompletedProcess(command, main(command[3:]))

    # Only the processes that a sweep starts: git is asked for the commit in the same way.
    monkeypatch.setattr(sweep_module, "subprocess", SimpleNamespace(run=run_here, STDOUT=subprocess.STDOUT))
    settings = AblateSettings(
        suite="recipes", data_dir=tiny_settings.data_dir, cache_dir=tiny_settings.cache_dir,
        output_dir=tmp_path / "ablate", seeds=(0,), num_bootstrap=50,
    )  # fmt: skip
    ablate(settings)
    assert len(started) == 2
    path = tmp_path / "ablate" / "recipes" / "results.json"
    first = results.read(path)
    runs = sweep(settings, tiny_settings.data_dir)
    ours, theirs = (
        Scores.load(runs.run_folder(recipe, 0) / "scores.npz").errors("teacher").l2.mean() for recipe in suite
    )
    assert value(first[0], "robust", "ADE [m]") == pytest.approx(ours)
    assert value(first[0], "without a prior", "better than robust [%]") == pytest.approx(100 * (1 - theirs / ours))
    ablate(settings)
    assert len(started) == 2
    assert [table.rows for table in results.read(path)] == [table.rows for table in first]


# --- tables


def scores_with(error_m: float, *, kind="time", collapsed=False, sequences=4, seed=0) -> Scores:
    """A teacher that is off by so many metres, beside the usual rows; on row labels everything is ten times as far."""
    rng = np.random.default_rng(7)
    size = 10.0 if kind == "rows" else 1.0
    speed = size * rng.normal([0.8, 0.1], [0.3, 0.1], (SAMPLES, 1, 2))
    truth = np.cumsum(speed * np.ones((1, 45, 1)), axis=1).astype(np.float32)
    jitter = np.random.default_rng(seed).normal(1, 0.02, (SAMPLES, 1, 1))

    def off_by(metres):
        return Method((truth + size * metres * jitter * [0.6, 0.8]).astype(np.float32))

    mean = Method(np.broadcast_to(truth.mean(0), truth.shape).astype(np.float32))
    methods = {
        "teacher": mean if collapsed else off_by(error_m),
        "trained without infrastructure": off_by(1.2),
        "ego MLP": off_by(1.25),
        "shuffled pictures": off_by(2.0),
        "CTRV": off_by(2.0),
        "CV": off_by(3.0),
        "train mean": mean,
        "driven": Method(truth),
        "stand still": Method(np.zeros_like(truth)),
    }
    names = tuple(f"s{index % sequences}" for index in range(SAMPLES))
    ids = tuple(f"{name}/{index:06d}" for index, name in enumerate(names))
    return Scores(ids, names, truth, np.full(SAMPLES, 8.0), methods)


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Runs a suite on scores by recipe instead of trained networks, and returns its tables by name."""
    monkeypatch.setattr(ablate_module, "ensure_data", lambda data_dir, layout: None)

    def run(name, scores_of, seeds=(0, 1)):
        def pretend(runs, recipe, seed):
            folder = runs.run_folder(recipe, seed)
            folder.mkdir(parents=True, exist_ok=True)
            scores_of(recipe.name, seed).save(folder / "scores.npz")
            save_situations(folder / "situations.npz", {HIDDEN: np.arange(SAMPLES) < SAMPLES // 2})
            lines = [
                {"stage": stage, "split": split, "ade_m": ade}
                for stage, split, ade in (
                    ("teacher", "val", 9.0),
                    ("teacher", "val", 2.0 + seed),
                    ("ego_mlp", "val", 7),
                )
            ]
            (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

        monkeypatch.setattr(Sweep, "train", pretend)
        ablate(AblateSettings(suite=name, output_dir=tmp_path, seeds=seeds, num_bootstrap=50))
        assert ablation_report.TITLES[name] in (tmp_path / name / "report.html").read_text()
        return {table.table: table for table in results.read(tmp_path / name / "results.json")}

    return run


def value(table, row, metric, at=None):
    (found,) = [cell.value for cell in table.rows if (cell.row, cell.metric, cell.at) == (row, metric, at)]
    return found


def test_the_robust_recipe_is_held_against_its_bars(suite):
    tables = suite("bars", lambda name, seed: scores_with(1.0, seed=seed))
    assert list(tables) == ["bars", "errors", "gain", "situations"]
    assert tables["bars"].seeds == [0, 1]
    bars = {row.row: row.value for row in tables["bars"].rows}
    assert bars == {
        "ADE, better than CTRV (bar: >= 35)": pytest.approx(50),
        "ADE, better than ego MLP (bar: >= 10)": pytest.approx(20),
        f"{HIDDEN}, better than trained without infrastructure (bar: > 0)": pytest.approx(100 * (1 - 1 / 1.2)),
        "ADE, worse with shuffled pictures (bar: > 0)": pytest.approx(100),
        "spread x of the truth's (bar: >= 0.8)": pytest.approx(1, abs=0.02),
        "spread y of the truth's (bar: >= 0.8)": pytest.approx(1, abs=0.02),
    }
    assert all("reached, and the whole interval is" in line for line in tables["bars"].conclusions)


def test_a_bar_that_is_missed_is_said_to_be(suite):
    tables = suite("bars", lambda name, seed: scores_with(1.4, seed=seed))
    verdicts = dict(zip([row.row for row in tables["bars"].rows], tables["bars"].conclusions, strict=True))
    assert "**missed**" in verdicts["ADE, better than CTRV (bar: >= 35)"]
    assert "**missed**" in verdicts["ADE, better than ego MLP (bar: >= 10)"]


def scores_of_a_fix(name, seed):
    """The fourth fix helps, the second harms, the sixth collapses, the others change nothing."""
    recipe, _, kind = name.rpartition(", ")
    error = {"robust": 1.0, "fix 4, loss": 1.5, "fix 2, initialisation": 3.0}.get(recipe, 2.0)
    return scores_with(error, kind=kind, collapsed=recipe == "fix 6, frozen backbone", seed=seed)


def test_the_fixes_are_compared_with_the_original_on_their_own_labels(suite):
    tables = suite("fixes", scores_of_a_fix)
    assert list(tables) == ["fixes", "fixes-details"]
    errors, details = tables.values()
    for kind in LABELS:
        size, at = 10 if kind == "rows" else 1, f"{kind} labels"
        assert value(errors, "original", "ADE [m]", at) == pytest.approx(2 * size, rel=0.02)
        assert value(errors, "CTRV", "ADE [m]", at) == pytest.approx(2 * size, rel=0.02)
        assert value(details, "fix 4, loss", "better than original [%]", at) == pytest.approx(25)
        assert value(details, "fix 2, initialisation", "better than original [%]", at) == pytest.approx(-50)
        for axis in "xy":
            metric = f"spread {axis} [of the truth's]"
            assert value(details, "fix 6, frozen backbone", metric, at) == pytest.approx(0, abs=1e-6)


def test_the_conclusions_name_what_helps_what_harms_and_what_learned_nothing(suite):
    said = suite("fixes", scores_of_a_fix)["fixes"].conclusions
    assert said[0].startswith("labels: the train mean alone is off by ")
    assert said[1].startswith("on labels by time, original: 2.00 m, ")
    by_name = {line.partition(": ")[0]: line for line in said[2:-1]}
    assert len(by_name) == len(ALONE) + 3
    assert "**helps** by 25 % [25, 25]" in by_name["fix 4, loss"]
    assert "**helps** by 50 % [50, 50]" in by_name["robust"]
    assert "**harms** by 50 % [50, 50]" in by_name["fix 2, initialisation"]
    assert "makes no difference" in by_name["fix 7, range line"]
    assert by_name["fix 6, frozen backbone"].endswith("; no better than the train mean; collapsed to one trajectory")
    assert not any("collapsed" in line for name, line in by_name.items() if name != "fix 6, frozen backbone")
    assert said[-1].startswith("on row labels the best recipe (robust) is ")


def test_what_a_part_is_worth_is_said_in_words(suite):
    errors = {"without a prior": 2.0, "without standardised targets": 0.8}
    tables = suite("recipes", lambda name, seed: scores_with(errors.get(name, 1.0), seed=seed))
    table = tables["recipes"]
    assert value(table, "without a prior", "better than robust [%]") == pytest.approx(-100)
    assert table.conclusions[0] == "**without a prior** costs 100 % [100, 100]"
    assert table.conclusions[1] == "**without standardised targets** gains 20 %"
    assert table.conclusions[2].startswith(
        "no difference that the intervals would show: without standardised features; "
    )


def test_backbones_are_compared_on_validation(suite):
    tables = suite("backbones", lambda name, seed: scores_with(1.0 if "Lite0, mean" in name else 2.0, seed=seed))
    table = tables["backbones"]
    assert value(table, "EfficientNet-Lite0, mean", "validation ADE [m]") == 2.5  # of the last epochs, 2 and 3
    assert value(table, "EfficientNet-Lite0, mean", "test ADE [m]") == pytest.approx(1, rel=0.02)
    assert value(table, "tiny Florence-2, fixed", "test ADE [m]") == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("name", SUITES)
def test_one_test_sequence_is_enough_for_tables_without_intervals(suite, name):
    tables = suite(name, lambda recipe, seed: scores_with(1.0, kind=recipe[-4:], sequences=1), seeds=(0,))
    assert not any("nan" in line or "None" in line for table in tables.values() for line in table.conclusions)
