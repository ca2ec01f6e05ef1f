"""Settings: the shipped files, the request's own words, and what is refused by name."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import v2x_teacher
from drivelab_shared.errors import UserError
from drivelab_shared.settings import dump, flatten, load, parse
from v2x_teacher import config
from v2x_teacher.cli import main
from v2x_teacher.config import TrainSettings

CONFIGS = Path(v2x_teacher.__file__).parent / "configs"
CLASSES = [getattr(config, name) for name in dir(config) if name.endswith("Settings")]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("FREEZE_BACKBONE", raising=False)


def train_settings(*arguments):
    return parse(TrainSettings, arguments, prog="v2x-teacher train", configs=CONFIGS, default_config="quick")


def shipped(name):
    return load(TrainSettings, CONFIGS / f"{name}.yaml")


def differing(ours, theirs):
    ours, theirs = flatten(ours), flatten(theirs)
    return {name for name in ours if ours[name] != theirs[name]}


# --- shipped files


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_reads_back(path, tmp_path):
    settings = load(TrainSettings, path)
    assert settings == train_settings("--config", path.stem)
    (tmp_path / "settings.yaml").write_text(dump(settings))
    assert load(TrainSettings, tmp_path / "settings.yaml") == settings


@pytest.mark.parametrize("name", ["best", "robust"])
def test_the_recipe_of_the_quality_figures_is_what_the_defaults_say(name):
    assert shipped(name) == TrainSettings()


def test_quick_differs_from_it_in_epochs_only():
    assert differing(shipped("quick"), TrainSettings()) == {"epochs"}
    assert train_settings() == shipped("quick")


def test_the_two_literal_recipes_differ_by_the_requests_fixes_alone():
    schedule = {"final_lr_share", "warmup_steps", "accumulation"}  # its script had one per state of the backbone
    assert differing(shipped("original"), shipped("original-fixed")) == schedule | {
        "head.fusion",
        "head.init",
        "head.pooling",
        "head.loss",
        "head_lr",
        "backbone_lr",
        "freeze_backbone",
    }


def test_the_literal_recipes_say_what_the_request_says():
    before, after = shipped("original"), shipped("original-fixed")
    assert (before.head_lr, after.head_lr) == (5e-3, 1e-2)
    assert (before.backbone_lr, after.backbone_lr) == (2e-5, 5e-5)
    assert (before.head.loss, after.head.loss) == ("smooth_l1", "mse")
    assert (before.freeze_backbone, after.freeze_backbone) == (False, True)
    for recipe in (before, after):
        assert (recipe.batch_size, recipe.epochs, recipe.backbone.views) == (4, 10, "joined")
        assert (recipe.head.prior, recipe.head.use_ego, recipe.head.targets) == ("none", False, "metres")


# --- the request's variable and words


@pytest.mark.parametrize(
    ("text", "frozen"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("False", False), ("0", False), ("", True)],
)
def test_freeze_backbone_is_read_from_the_environment(monkeypatch, text, frozen):
    monkeypatch.setenv("FREEZE_BACKBONE", text)
    assert train_settings() == replace(train_settings("--freeze_backbone"), freeze_backbone=frozen)


def test_defaults_yield_to_yaml_yaml_to_the_environment_and_that_to_the_command_line(monkeypatch):
    assert train_settings().freeze_backbone is True
    assert train_settings("--config", "original").freeze_backbone is False
    monkeypatch.setenv("FREEZE_BACKBONE", "true")
    assert train_settings("--config", "original").freeze_backbone is True
    assert train_settings("--config", "original", "--no-freeze_backbone").freeze_backbone is False
    assert train_settings("--config", "original", "freeze_backbone=false").freeze_backbone is False


def test_another_word_is_refused_by_the_variables_name(monkeypatch):
    monkeypatch.setenv("FREEZE_BACKBONE", "maybe")
    with pytest.raises(UserError, match=r"^FREEZE_BACKBONE: freeze_backbone: expected true or false, got 'maybe'$"):
        train_settings()


def test_the_requests_config_file_is_understood(tmp_path):
    (tmp_path / "config.yaml").write_text("batch_size: 2\naccumulation: 2\nepochs: 20\n")
    found = train_settings("--config", "original", "--config", str(tmp_path / "config.yaml"))
    assert found == replace(shipped("original"), batch_size=2, accumulation=2, epochs=20)


def test_the_requests_words_are_flags():
    words = """
    --data_dir data --batch_size 2 --accumulation 4 --epochs 20 --head_lr 1e-2 --backbone_lr 5e-5 --freeze_backbone
    --head.loss mse --head.targets scaled --head.target_scale 100 --head.fusion fixed --head.init fixed
    --head.pooling fixed --labels.kind rows --labels.allow_implausible
    """
    found = train_settings(*words.split())
    assert asdict(found.head) == asdict(TrainSettings().head) | {
        "loss": "mse",
        "targets": "scaled",
        "target_scale": 100.0,
        "fusion": "fixed",
        "init": "fixed",
        "pooling": "fixed",
    }
    assert asdict(found.labels) == asdict(TrainSettings().labels) | {"kind": "rows", "allow_implausible": True}
    assert replace(found, head=TrainSettings().head, labels=TrainSettings().labels) == replace(
        TrainSettings(),
        data_dir=Path("data"),
        batch_size=2,
        accumulation=4,
        epochs=20,
        head_lr=1e-2,
        backbone_lr=5e-5,
    )


# --- help and refusals


@pytest.mark.parametrize("settings_class", CLASSES, ids=lambda settings_class: settings_class.__name__)
def test_every_class_of_settings_has_help_for_every_field(settings_class, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # one line per help text, so that none begins with its default
    with pytest.raises(SystemExit) as stopped:
        parse(settings_class, ["--help"], prog="v2x-teacher", configs=CONFIGS)
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert settings_class.__doc__ in text
    lines = [line.strip("│| ") for line in text.splitlines() if "(default: " in line]
    assert lines
    assert not [line for line in lines if re.match(r"(--\S+ .*  )?\(default", line)]


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("make-data", "--num_sequences 2", "num_sequences: expected at least 3, one per split, got 2"),
        ("make-data", "--seconds 5", "seconds: expected at least 6: past, present and 4.5 s of future, got 5.0"),
        ("make-data", "--width 100", "width: expected a multiple of 16, at least 32, got 100"),
        ("make-data", "--drop_frames 1", "drop_frames: expected 0 to 1, got 1.0"),
        ("train", "--labels.max_gap_s 0", "labels.max_gap_s: expected a number > 0, got 0.0"),
        ("train", "--backbone.height 100", "backbone.height: expected a multiple of 32, got 100"),
        ("train", "--head.feature_dropout 1", "head.feature_dropout: expected 0 to 1, got 1.0"),
        ("train", "--head.num_modes 0", "head.num_modes: expected a number >= 1, got 0"),
        ("train", "--head_lr 0", "head_lr: expected a number > 0, got 0.0"),
        ("train", "--accumulation 0", "accumulation: expected a number >= 1, got 0"),
        ("train", "--lora_rank -1", "lora_rank: expected a number >= 0, got -1"),
        ("train", "--final_lr_share 2", "final_lr_share: expected 0 to 1, got 2.0"),
        ("train", "--steps 0", "steps: expected a number >= 1, got 0"),
        ("evaluate", "--horizons_s 6", "horizons_s: expected different numbers of seconds from 0.1 to 4.5, got (6.0,)"),
        ("evaluate", "--horizons_s 1 1", "horizons_s: expected different numbers of seconds from 0.1 to 4.5"),
        ("evaluate", "--num_bootstrap 0", "num_bootstrap: expected a number >= 1, got 0"),
        ("ablate", "--jobs 0", "jobs: expected a number >= 1, got 0"),
        ("ablate", "--seeds", "seeds: expected at least one number, got ()"),
    ],
)
def test_values_out_of_range_are_one_line_that_names_the_setting(verb, arguments, message, capsys):
    assert main([verb, *arguments.split()]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"command line: {message}")
    assert printed.count("\n") == 1
