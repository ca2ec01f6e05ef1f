"""The training verb in small: exact resume, what it learns, writes and says, and what it refuses."""

import hashlib
import json
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from drivelab_shared import runs
from drivelab_shared.errors import UserError
from drivelab_shared.modules import num_parameters
from drivelab_shared.testing import CrashError, be_killed, receive_sigterm, status
from v2x_teacher import evaluate as evaluate_module
from v2x_teacher.config import EvaluateSettings, LabelSettings, MakeDataSettings
from v2x_teacher.data.make_data import make_data
from v2x_teacher.metrics import spread_ratio
from v2x_teacher.models.build import build_backbone
from v2x_teacher.train import debug_line, range_line, train
from v2x_teacher.trained import open_trained

from .trees import edit

CPU = torch.device("cpu")
STAGES = ["teacher", "ego_mlp", "no_infrastructure"]


def weights(run: Path) -> dict[str, str]:
    """Of the weight file of every network that the run keeps."""
    return {
        folder.name: hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        for folder in sorted((run / "models").iterdir())
    }


def lines(run: Path) -> list[dict]:
    """metrics.jsonl without the time of day."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in found]


def metrics(run: Path, split: str, stage: str = "teacher") -> list[dict]:
    return [line for line in lines(run) if line["stage"] == stage and line["split"] == split]


@pytest.fixture(scope="module")
def flat_data(tmp_path_factory):
    """The request's own folder, whose rows no car can drive. There is no test list."""
    folder = tmp_path_factory.mktemp("flat") / "data"
    make_data(MakeDataSettings(data_dir=folder, layout="flat", num_sequences=9, seconds=6.0, width=64, workers=1))
    return folder


@pytest.fixture(scope="module")
def flat_settings(flat_data, tiny_settings):
    """Labels and head as the request had them."""
    head = replace(tiny_settings.head, prior="none", use_ego=False)
    labels = LabelSettings(kind="rows", allow_implausible=True)
    return replace(tiny_settings, data_dir=flat_data, labels=labels, head=head)


# --- exact resume


@pytest.mark.parametrize(
    ("happens", "moments"),
    [
        (receive_sigterm, [(stage, step) for stage in STAGES for step in (1, 2)]),
        (be_killed, [("teacher", 1), ("teacher", 2), ("ego_mlp", 2), ("no_infrastructure", 1)]),
    ],
    ids=["stopped by a signal", "killed without saving"],
)
def test_a_run_that_is_resumed_again_and_again_ends_like_an_uninterrupted_one(
    tiny_run, tiny_settings, tmp_path, at_step, happens, moments
):
    folder, resume = tmp_path / "run", None
    settings = replace(tiny_settings, run_dir=folder, checkpoint_every=1)
    for stage, step in moments:
        at_step(stage, step, happens)
        with suppress(CrashError):
            train(replace(settings, resume=resume))
        assert status(folder) == ("preempted" if happens is receive_sigterm else "failed")
        assert metrics(folder, "train", stage)[-1]["step"] == step
        resume = str(folder)
    train(replace(settings, resume=resume))
    assert status(folder) == "finished"
    assert weights(folder) == weights(tiny_run)
    assert lines(folder) == lines(tiny_run)  # none logged twice, none missing


@pytest.mark.parametrize(
    "changes",
    [{}, {"lora_rank": 2}, {"train_vision": True}],
    ids=["the language half", "adapters", "both halves"],
)
def test_so_does_one_whose_backbone_learns(tiny_settings, tmp_path, at_step, changes):
    # Dropout of the tiny Florence-2 is on: its random numbers must come back too.
    head = replace(tiny_settings.head, pooling="fixed")
    settings = replace(tiny_settings, freeze_backbone=False, head=head, epochs=3, baselines=not changes, **changes)
    train(replace(settings, run_dir=tmp_path / "whole"))
    folder = tmp_path / "run"
    at_step("teacher", 1, receive_sigterm)
    train(replace(settings, run_dir=folder))
    at_step("teacher", 3, be_killed)
    with pytest.raises(CrashError):
        train(replace(settings, run_dir=folder, resume=str(folder)))
    train(replace(settings, run_dir=folder, resume=str(folder)))
    assert weights(folder) == weights(tmp_path / "whole")
    assert lines(folder) == lines(tmp_path / "whole")


def test_resuming_with_changed_data_is_refused(tiny_data, tiny_settings, tmp_path, at_step):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    settings = replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run")
    at_step("teacher", 1, receive_sigterm)
    train(settings)
    pose = sorted((data / "vehicle-side" / "calib" / "novatel_to_world").iterdir())[40]
    edit(pose, lambda document: document["translation"][0].__setitem__(0, document["translation"][0][0] + 0.1))
    with pytest.raises(
        UserError, match=r"run: data: expected \w{16} as when the run started, got \w{16}; the data have changed"
    ):
        train(replace(settings, resume=str(tmp_path / "run")))


# --- what is learned


def test_the_loss_falls_and_the_error_is_below_that_of_the_train_mean(tiny_settings, tmp_path):
    settings = replace(tiny_settings, epochs=40, head_lr=1e-2, baselines=False, checkpoint_every=100)
    train(replace(settings, run_dir=tmp_path))
    losses = [line["loss"] for line in metrics(tmp_path, "train")]
    assert np.mean(losses[-5:]) < 0.2 * np.mean(losses[:5])
    last = metrics(tmp_path, "val")[-1]
    assert last["ade_m"] < 0.7 * last["train_mean_ade_m"]


def test_without_a_prior_one_batch_is_learned_by_heart_and_answers_differ_between_samples(tiny_settings, tmp_path):
    head = replace(tiny_settings.head, prior="none", use_ego=False, feature_dropout=0.0)
    settings = replace(tiny_settings, batch_size=100, epochs=150, head=head, head_lr=3e-2, log_every=10)
    train(replace(settings, run_dir=tmp_path, baselines=False, checkpoint_every=1000))
    losses = [line["loss"] for line in metrics(tmp_path, "train")]
    assert losses[-1] < 0.05 * losses[0]
    trained = open_trained(tmp_path, CPU, EvaluateSettings())
    rows = trained.rows("train")
    assert len(metrics(tmp_path, "val")) == 150  # a batch is all samples at most, so that an epoch is a step
    spread = spread_ratio(
        trained.inputs.method(trained.teacher, rows, CPU).trajectories, trained.inputs.samples.truth[rows]
    )
    assert (np.abs(spread - 1) < 0.2).all()


def test_four_batches_of_two_are_one_of_eight(tiny_settings, tmp_path):
    # MSE, because smooth L1's signs can cancel, and Adam makes a full step of the rounding error that is left.
    head = replace(tiny_settings.head, feature_dropout=0.0, loss="mse")
    settings = replace(tiny_settings, head=head, epochs=4, baselines=False)
    train(replace(settings, run_dir=tmp_path / "one", batch_size=8))
    train(replace(settings, run_dir=tmp_path / "four", batch_size=2, accumulation=4))
    one, four = (load_file(tmp_path / name / "models" / "teacher" / "model.safetensors") for name in ("one", "four"))
    for name in one:
        torch.testing.assert_close(four[name], one[name], atol=1e-6, rtol=0)
    losses = [[line["loss"] for line in metrics(tmp_path / name, "train")] for name in ("one", "four")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert len(set(losses[0])) == 4


def test_units_of_a_backbone_that_learns_are_those_of_its_features_before_the_first_step(tiny_settings, tmp_path):
    settings = replace(tiny_settings, head=replace(tiny_settings.head, pooling="fixed"), steps=1, baselines=False)
    found = []
    for name, frozen in (("frozen", True), ("learning", False)):
        train(replace(settings, run_dir=tmp_path / name, freeze_backbone=frozen))
        found.append(load_file(tmp_path / name / "models" / "teacher" / "model.safetensors"))
    for name in ("head.features.mean", "head.features.std"):
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-5, rtol=1e-4)


def test_the_two_rows_beside_the_teacher_read_less(tiny_run):
    arguments = {
        stage: json.loads((tiny_run / "models" / stage / "config.json").read_text())["arguments"] for stage in STAGES
    }
    assert arguments["ego_mlp"] == arguments["teacher"] | {"vectors": 0, "width": 0, "feature_dropout": 0.0}
    assert arguments["no_infrastructure"] == arguments["teacher"] | {"vectors": 1}
    assert arguments["teacher"]["vectors"] == 2


def test_another_seed_is_another_training(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path, seed=1))
    before, after = weights(tiny_run), weights(tmp_path)
    assert all(before[stage] != after[stage] for stage in STAGES)


# --- what is written and said


def test_a_run_folder_holds_settings_manifest_metrics_checkpoints_and_networks(tiny_run, tiny_settings):
    names = {path.name for path in tiny_run.iterdir()} - {".lock"}
    assert names == {"settings.yaml", "manifest.json", "metrics.jsonl", "checkpoints", "models"}
    for folder in ("checkpoints", "models"):
        assert sorted(path.name for path in (tiny_run / folder).iterdir()) == sorted(STAGES)
    manifest = runs.read_manifest(tiny_run)
    lists = json.loads((tiny_settings.data_dir / "cooperative-split-data-spd.json").read_text())["cooperative_split"]
    listed = {split: len(lists[split]) for split in ("train", "val", "test")}
    assert sum(manifest["samples"].values()) == sum(listed.values())  # each is used, or counted as left out
    assert all(0 < manifest["samples"][split] <= listed[split] for split in listed)
    assert manifest["forward_axis"] == "x"
    assert manifest["implausible"] == {"faster than 40 m/s": 0, "ends behind the vehicle": 0}
    facts = json.loads((tiny_run / "models" / "teacher" / "config.json").read_text())["facts"]
    # Two vectors of 128 numbers and four of motion -> 16 -> 16 -> 45 x 2, with biases.
    learned = {"head": 261 * 16 + 17 * 16 + 17 * 90}
    samples = manifest["samples"]["train"]
    assert facts == {"cameras": 2, "learned_parameters": learned, "steps": 2, "samples": samples}


def test_validation_figures_are_those_of_the_saved_network_in_metres(tiny_run):
    trained = open_trained(tiny_run, CPU, EvaluateSettings())
    samples, rows = trained.inputs.samples, trained.rows("val")
    with torch.no_grad():
        features, ego, _, prior = trained.inputs.batch(rows, CPU)
        predicted = trained.teacher.head.metres(trained.teacher(features, ego).mean, prior).numpy()
    errors = np.linalg.norm(predicted - samples.truth[rows], axis=-1)
    mean = samples.truth[trained.rows("train")].mean(0)
    expected = {
        "ade_m": errors.mean(),
        "fde_m": errors[:, 44].mean(),
        "l2_2.5s_m": errors[:, 24].mean(),
        "l2_3.5s_m": errors[:, 34].mean(),
        "l2_4.5s_m": errors[:, 44].mean(),
        "spread_x": predicted[..., 0].std(0).mean() / samples.truth[rows, :, 0].std(0).mean(),
        "spread_y": predicted[..., 1].std(0).mean() / samples.truth[rows, :, 1].std(0).mean(),
        "train_mean_ade_m": np.linalg.norm(samples.truth[rows] - mean, axis=-1).mean(),
    }
    last = metrics(tiny_run, "val")[-1]
    assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_says_how_much_of_what_learns_and_why(tiny_settings, tmp_path, capsys, monkeypatch, frozen):
    monkeypatch.setenv("FREEZE_BACKBONE", str(frozen).lower())
    head = replace(tiny_settings.head, pooling="fixed")
    train(replace(tiny_settings, freeze_backbone=frozen, head=head, steps=1, baselines=False, run_dir=tmp_path))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("teacher: ")]
    backbone = build_backbone(tiny_settings.backbone)
    every = num_parameters(backbone)
    learns = sum(backbone.get_parameter(name).numel() for name in backbone.language_parameters())
    # One vector of 128 numbers and four of motion -> 16 -> 16 -> 45 x 2, with biases.
    text = f"teacher: {133 * 16 + 17 * 16 + 17 * 90:,} parameters of the head"
    text += f" learn; {every:,}" if frozen else f", {learns:,} parameters of the backbone learn; {every - learns:,}"
    assert line == f"{text} of the backbone are frozen (FREEZE_BACKBONE={str(frozen).lower()})"


def test_every_epoch_of_the_teacher_prints_both_lines(tiny_settings, tmp_path, capsys):
    train(replace(tiny_settings, run_dir=tmp_path))
    printed = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("[Range] GT: x [") for line in printed) == tiny_settings.epochs
    assert sum(line.startswith("[Debug T=4.5s] GT: [") for line in printed) == tiny_settings.epochs


TRUTH = np.stack([np.linspace([0, 0], end, 45) for end in ([-59.74, -13.77], [40, 3], [20, -8])])
"""The first ends where that of the request's log did."""


def figures_of(predicted):
    x, y = spread_ratio(predicted, TRUTH)
    return {"spread_x": x, "spread_y": y, "ade_m": 51.2, "train_mean_ade_m": 51.0}


def test_the_range_line_of_a_collapse_says_that_nothing_varies():
    collapsed = np.broadcast_to(np.linspace([-50, -13], [35, 3], 45), TRUTH.shape)
    assert range_line(TRUTH, collapsed, figures_of(collapsed)) == (
        "[Range] GT: x [-59.7, 40.0] y [-13.8, 3.0] | Pred: x [-50.0, 35.0] y [-13.0, 3.0] | "
        "Spread (1 = as the truth): x 0.00 y 0.00"
    )


def test_the_range_line_of_a_healthy_model_says_that_answers_vary_as_the_truth_does():
    shifted = TRUTH + 0.5
    assert range_line(TRUTH, shifted, figures_of(shifted)).endswith("Spread (1 = as the truth): x 1.00 y 1.00")


def test_the_debug_line_gives_the_requests_own_example_its_right_error():
    predicted = TRUTH.copy()
    predicted[0, -1] = [-9.20, -4.93]
    assert debug_line(TRUTH, predicted, figures_of(predicted)) == (
        "[Debug T=4.5s] GT: [-59.74, -13.77] | Pred: [-9.20, -4.93] | Error: 51.31m | "
        "Val L2 (ADE): 51.20m, train mean: 51.00m"
    )


def test_training_ends_with_an_evaluation_of_the_whole_run(tiny_settings, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate_module, "evaluate_run", lambda run, device: asked.append((run, weights(run))))
    train(replace(tiny_settings, run_dir=tmp_path, evaluate=True))
    assert asked == [(tmp_path, weights(tmp_path))]


# --- labels that nobody can drive


@pytest.mark.parametrize("layout", ["flat", "dair"])
def test_row_labels_are_refused_unless_somebody_insists(flat_settings, tmp_path, layout):
    settings = replace(flat_settings, run_dir=tmp_path / "run", baselines=False)
    if layout == "dair":
        settings = replace(settings, data_dir=tmp_path / "data")
        drives = MakeDataSettings(data_dir=tmp_path / "data", num_sequences=9, seconds=6.0, width=64, workers=1)
        make_data(replace(drives, layout="dair"))
    with pytest.raises(UserError) as caught:
        train(replace(settings, labels=LabelSettings(kind="rows")))
    message = str(caught.value)
    expected = r"labels: expected trajectories that a car can drive, got \d+ of \d+ samples \(\d+%\) faster than 40 m/s"
    assert re.match(rf"{settings.data_dir}: {expected}: \S+/\d+, .*; see check-data, or go on with --labels", message)
    assert "\n" not in message

    train(replace(settings, run_dir=tmp_path / "insisted"))
    manifest = runs.read_manifest(tmp_path / "insisted")
    assert manifest["implausible"]["faster than 40 m/s"] > 0.5 * manifest["samples"]["train"]


def test_a_flat_folder_trains_without_the_motion(flat_settings, tmp_path):
    train(replace(flat_settings, run_dir=tmp_path))
    assert sorted(weights(tmp_path)) == ["no_infrastructure", "teacher"]  # there is no motion to train an MLP on
    assert status(tmp_path) == "finished"


@pytest.mark.parametrize(("prior", "use_ego"), [("ctrv", False), ("none", True)])
def test_a_head_that_needs_the_motion_is_refused_where_nobody_recorded_it(flat_settings, tmp_path, prior, use_ego):
    head = replace(flat_settings.head, prior=prior, use_ego=use_ego)
    found = f"got prior {prior} and use_ego {str(use_ego).lower()}; the data do not say how fast the vehicle was"
    with pytest.raises(UserError, match=f"^head: expected prior none and use_ego false, {found} [^\n]*$"):
        train(replace(flat_settings, head=head, run_dir=tmp_path))


# --- other refusals


def test_a_loss_that_is_not_finite_stops_the_run_and_names_stage_and_step(tiny_settings, tmp_path):
    settings = replace(tiny_settings, clip_norm=0.0, head_lr=1e30)
    with pytest.raises(UserError, match=r"^teacher: step \d: expected finite losses, got loss (nan|inf)[^\n]*$"):
        train(replace(settings, run_dir=tmp_path))
    assert status(tmp_path) == "failed"


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused_before_anything_is_learned(tiny_data, tiny_settings, tmp_path, split):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    edit(data / "cooperative-split-data-spd.json", lambda lists: [part.update({split: []}) for part in lists.values()])
    with pytest.raises(UserError, match=rf"data: expected samples in the {split} split, got none"):
        train(replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_more_passes_per_step_than_samples_are_refused(tiny_settings, tmp_path):
    with pytest.raises(UserError, match=r"accumulation: expected 1 to \d\d, as many as there are .* samples, got 99$"):
        train(replace(tiny_settings, accumulation=99, run_dir=tmp_path))
