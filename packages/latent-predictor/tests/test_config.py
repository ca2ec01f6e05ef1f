import re
from dataclasses import replace
from pathlib import Path

import pytest

import latent_predictor
from drivelab_shared.errors import UserError
from drivelab_shared.settings import dump, load, parse
from latent_predictor import config
from latent_predictor.config import EvaluateSettings, TrainSettings

CONFIGS = Path(latent_predictor.__file__).parent / "configs"
VERBS = [getattr(config, name) for name in dir(config) if name.endswith("Settings")]

# As written in the request: train_predictor_with_cls and eval_latent_e2e.
TRAIN = """
--vae_model_path vae_recon/best_model.pt --classifier_path lane_classifier/latent_classifier_checkpoints/best_model.pt
--data_dir npz_data --npz_files traj1_64x64.npz traj2_64x64.npz --predictor lstm --epochs 20 --batch_size 4 --lr 1e-4
--lambda_cls 0.5 --hidden_size 256 --use_actions --residual_prediction --scheduled_sampling --lr_schedule cosine
--input_noise_std 0.01 --target_jitter_scale 0.005 --save_dir predictor/checkpoints_with_cls
"""
EVALUATE = "--vae_path a --predictor_path b --classifier_path c --output_dir d"


def train_settings(*arguments):
    return parse(TrainSettings, arguments, prog="latent-predictor train", configs=CONFIGS, default_config="quick")


def test_the_requested_training_command_parses_unchanged():
    assert train_settings(*TRAIN.split()) == replace(
        train_settings(),
        vae_model_path=Path("vae_recon/best_model.pt"),
        classifier_path=Path("lane_classifier/latent_classifier_checkpoints/best_model.pt"),
        data_dir=Path("npz_data"),
        npz_files=("traj1_64x64.npz", "traj2_64x64.npz"),
        predictor="lstm",
        epochs=20,
        batch_size=4,
        lr=1e-4,
        lambda_cls=0.5,
        hidden_size=256,
        use_actions=True,
        residual_prediction=True,
        scheduled_sampling=True,
        lr_schedule="cosine",
        input_noise_std=0.01,
        target_jitter_scale=0.005,
        save_dir=Path("predictor/checkpoints_with_cls"),
    )


def test_the_requested_evaluation_command_parses_unchanged():
    settings = parse(EvaluateSettings, EVALUATE.split(), prog="latent-predictor evaluate")
    assert settings == EvaluateSettings(
        vae_model_path=Path("a"), predictor_path=Path("b"), classifier_path=Path("c"), output_dir=Path("d")
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_reads_back(path, tmp_path):
    settings = load(TrainSettings, path)
    assert settings == train_settings("--config", path.stem)
    (tmp_path / "settings.yaml").write_text(dump(settings))
    assert load(TrainSettings, tmp_path / "settings.yaml") == settings


def test_best_is_what_the_defaults_say():
    assert load(TrainSettings, CONFIGS / "best.yaml") == TrainSettings()


def test_quick_differs_from_best_in_budget_only():
    quick = load(TrainSettings, CONFIGS / "quick.yaml")
    assert (
        replace(quick, epochs=TrainSettings().epochs, vae=config.VaeSettings(), judges=config.JudgeSettings())
        == TrainSettings()
    )
    assert replace(quick.vae, epochs=config.VaeSettings().epochs) == config.VaeSettings()


@pytest.mark.parametrize("settings_class", VERBS, ids=lambda settings_class: settings_class.__name__)
def test_every_class_of_settings_has_help_for_every_field(settings_class, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # one line per help text, so that none begins with its default
    with pytest.raises(SystemExit) as stopped:
        parse(settings_class, ["--help"], prog="latent-predictor", configs=CONFIGS)
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert settings_class.__doc__ in text
    lines = [line.strip("│| ") for line in text.splitlines() if "(default: " in line]
    assert lines
    assert not [line for line in lines if re.match(r"(--\S+ .*  )?\(default", line)]


@pytest.mark.parametrize("flag", ["--lr=0", "--lambda_cls=-1", "--hidden_size=0", "--vae.epochs=0", "--steps=0"])
def test_values_out_of_range_are_refused_by_name(flag):
    name = flag.strip("-").partition("=")[0]
    with pytest.raises(UserError, match=f"command line: {name}: expected a number"):
        train_settings(flag)
