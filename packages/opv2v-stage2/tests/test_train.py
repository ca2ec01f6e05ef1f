"""The training verb in small: what a run leaves behind, exact resume, and every choice of its settings."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared.errors import UserError
from drivelab_shared.settings import dump, load
from drivelab_shared.testing import CrashError, be_killed, receive_sigterm, status
from opv2v_stage2.cli import main
from opv2v_stage2.config import HeightSettings, LossSettings, ModelSettings, TrainSettings
from opv2v_stage2.fit import cosine
from opv2v_stage2.storage import load_model
from opv2v_stage2.train import train

STAGES = ("stage1", "stage2")


def weights(run: Path) -> dict[str, str]:
    """Of the weight file of every model that the run keeps."""
    return {
        folder.name: hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        for folder in sorted((run / "models").iterdir())
    }


def metrics(run: Path, stage: str, split: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line["split"] == split]


@pytest.fixture
def trained(tiny_settings, tmp_path):
    """Trains with changed settings; returns the run."""

    def trained(name="run", **changes) -> Path:
        train(replace(tiny_settings, run_dir=tmp_path / name, **changes))
        return tmp_path / name

    return trained


# --- what is written


def test_a_run_keeps_settings_metrics_and_both_models(tiny_run, tiny_settings):
    assert status(tiny_run) == "finished"
    assert load(TrainSettings, tiny_run / "settings.yaml") == replace(tiny_settings, run_dir=tiny_run)
    for stage, steps in zip(STAGES, (3, 2), strict=True):
        model, settings, facts = load_model(tiny_run / "models" / stage)
        assert settings == tiny_settings.model
        assert not model.training
        assert facts["steps"] == steps
        assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        assert [line["step"] for line in metrics(tiny_run, stage)] == list(range(1, steps + 1))
    assert weights(tiny_run)["stage1"] != weights(tiny_run)["stage2"]


def test_stage_1_logs_its_terms_and_stage_2_more(tiny_run):
    single, coop = (metrics(tiny_run, stage)[0].keys() for stage in STAGES)
    assert {"loss", "depth", "mask", "height", "scale", "pose"} <= single
    assert coop - single == {"consistency", "scale_distill", "distill_local", "distill_pose"}
    assert not single - coop


def test_validation_compares_with_gps(tiny_run):
    alone, both = (metrics(tiny_run, stage, "val")[-1].keys() for stage in STAGES)
    assert {"depth_mae_m", "abs_rel", "scale_error", "validity"} <= alone
    assert both - alone == {"cross_m", "gps_cross_m"}


def test_the_first_line_says_how_much_memory_a_step_needs(trained, capsys):
    trained()
    said = capsys.readouterr().out
    assert all(f"{stage}: a step needs about 0.0" in said for stage in STAGES)


# --- exact resume


@pytest.mark.parametrize(
    ("happens", "moments"),
    [
        (receive_sigterm, [("stage1", 1), ("stage1", 2), ("stage2", 1)]),
        (be_killed, [("stage1", 3), ("stage1", 4), ("stage2", 1), ("stage2", 3)]),
    ],
    ids=["stopped by a signal", "killed without saving"],
)
def test_a_run_that_is_resumed_again_and_again_ends_like_an_uninterrupted_one(
    trained, tiny_settings, tmp_path, at_step, happens, moments
):
    changes = {"stage1_steps": 4, "stage2_steps": 3, "checkpoint_every": 2}
    whole, folder, resume = trained("whole", **changes), tmp_path / "run", None
    settings = replace(tiny_settings, run_dir=folder, **changes)
    for stage, step in moments:
        at_step(stage, step, happens)
        with suppress(CrashError):
            train(replace(settings, resume=resume))
        assert status(folder) == ("preempted" if happens is receive_sigterm else "failed")
        assert metrics(folder, stage)[-1]["step"] == step
        resume = str(folder)
    train(replace(settings, resume=resume))
    assert status(folder) == "finished"
    assert weights(folder) == weights(whole)
    for stage in STAGES:
        for split in ("train", "val"):
            steps = [[line["step"] for line in metrics(run, stage, split)] for run in (folder, whole)]
            assert steps[0] == steps[1]  # none logged twice, none missing


def test_a_running_mean_as_teacher_resumes_exactly(trained, tiny_settings, tmp_path, at_step):
    changes = {"stage1_steps": 0, "stage2_steps": 4, "teacher": "ema", "checkpoint_every": 2}
    whole, settings = trained("whole", **changes), replace(tiny_settings, run_dir=tmp_path / "cut", **changes)
    at_step("stage2", 3, be_killed)
    with suppress(CrashError):
        train(settings)
    train(replace(settings, resume=str(tmp_path / "cut")))
    assert weights(tmp_path / "cut") == weights(whole)


def test_looking_more_often_changes_nothing(tiny_run, trained):
    assert weights(trained(eval_every=1)) == weights(tiny_run)


def test_another_seed_learns_something_else(tiny_run, trained):
    assert weights(trained(seed=1))["stage1"] != weights(tiny_run)["stage1"]


# --- choices


@pytest.mark.parametrize("teacher", ["none", "privileged", "ema"])
def test_every_teacher_can_be_distilled(trained, tiny_run, teacher):
    run = trained(teacher=teacher, start_from=tiny_run)
    terms = metrics(run, "stage2")[-1].keys()
    assert ("scale_distill" in terms) == (teacher != "none")


def test_a_pretrained_teacher_is_the_newest_stage_of_its_run(trained, tiny_run, tmp_path, tiny_settings):
    run = trained(teacher="pretrained", teacher_path=tiny_run, start_from=tiny_run)
    assert "scale_distill" in metrics(run, "stage2")[-1]
    with pytest.raises(UserError, match="expected a trained model"):
        train(replace(tiny_settings, run_dir=tmp_path / "x", teacher="pretrained", teacher_path=tmp_path / "nothing"))


@pytest.mark.parametrize("modality", ["images_only", "calibrated_sfm", "rig", "posed_sfm"])
def test_every_modality_trains(trained, modality):
    run = trained(modality=modality, stage1_steps=1, stage2_steps=1)
    assert status(run) == "finished"


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": LossSettings(depth_form="l1", mask_aware=False, mask="upstream", height=HeightSettings(mode="off"))},
        {"loss": LossSettings(height=HeightSettings(mode="depth"), scale_distill_form="literal", lidar_anchor=False)},
        {"loss": LossSettings(pose_pairs="views", pose_relative="i_inv_j", box_weight=0.1, confidence_weight=0.1)},
        {"loss": LossSettings(pose_target="prior", scale_distill_detach=False, negatives="truth")},
        {"loss": LossSettings(negatives="colour"), "single_share": 0.5, "stage1_depth": "lidar"},
        {"model": ModelSettings(height=24, width=32, channels=16, layers=2, heads=2, pose_search=False)},
        {"num_agents": 3, "batch_size": 3, "curriculum": False, "clip_norm": 0.0},
    ],
    ids=["zeros", "literal", "views", "prior", "colour", "no search", "three vehicles"],
)
def test_every_choice_of_the_losses_trains(trained, changes):
    run = trained(stage1_steps=1, **changes)
    lines = metrics(run, "stage2")
    assert len(lines) == 2
    assert all(torch.isfinite(torch.tensor([v for v in line.values() if isinstance(v, float)])).all() for line in lines)


def test_loss_groups_and_weights_are_set_as_users_write_them(tiny_settings, tiny_run, tmp_path):
    settings = replace(tiny_settings, run_dir=tmp_path / "run", start_from=tiny_run)
    (tmp_path / "settings.yaml").write_text(dump(settings))
    arguments = ["train", "--config", str(tmp_path / "settings.yaml"), "loss=depth"]
    assert main([*arguments, "loss.scale_distill_weight=0.1", "loss.coop_consistency_weight=0.1"]) == 0
    used = load(TrainSettings, tmp_path / "run" / "settings.yaml").loss
    assert (used.scale_distill_weight, used.coop_consistency_weight, used.mask_aware) == (0.1, 0.1, True)
    assert (used.height.mode, used.height.z_max) == ("mask", 4.0)


def test_stage_1_of_another_run_is_taken_as_it_is(trained, tiny_run):
    run = trained(start_from=tiny_run)
    assert weights(run) == weights(tiny_run)
    assert metrics(run, "stage1") == []


def test_a_model_of_another_shape_is_refused(trained, tiny_run):
    other = ModelSettings(height=24, width=32, channels=32, layers=2, heads=2)
    with pytest.raises(UserError, match="start_from: expected a model as `model` says"):
        trained(start_from=tiny_run, model=other)


def test_stage_1_alone_is_a_run(trained):
    run = trained(stage2_steps=0)
    assert weights(run).keys() == {"stage1"}


def test_more_vehicles_than_there_are_together_is_refused(trained):
    with pytest.raises(UserError, match="expected frames with 5 vehicles to train on, got none"):
        trained(num_agents=5, batch_size=5, stage1_steps=0)


# --- the schedule


def test_the_rate_falls_from_all_to_none():
    assert cosine(0, 10) == 1
    assert cosine(5, 10) == pytest.approx(0.5)
    assert cosine(10, 10) == 0
