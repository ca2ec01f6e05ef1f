"""The training verb in small: exact resume, caches, given networks, and what it writes."""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from drivelab_shared import engine
from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.networks import weights_hash
from drivelab_shared.runs import open_run
from drivelab_shared.testing import CrashError, be_killed, receive_sigterm, status
from latent_predictor import train as train_module
from latent_predictor.config import TrainSettings, VaeSettings
from latent_predictor.fit import Schedule, fit
from latent_predictor.storage import load_network
from latent_predictor.train import train


def weights(run: Path) -> dict[str, str]:
    """Of the weight file of every network that the run keeps."""
    return {
        folder.name: hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        for folder in sorted((run / "models").iterdir())
    }


def metrics(run: Path, stage: str = "predictor", split: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line["split"] == split]


def stages(run: Path) -> list[str]:
    """Those that were trained, in this order."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return list(dict.fromkeys(line["stage"] for line in lines))


# --- exact resume


@pytest.mark.parametrize(
    ("happens", "moments"),
    [
        (receive_sigterm, [("vae", 5), ("judge_latent", 2), ("oracle", 1), ("predictor", 2), ("twin", 1)]),
        (be_killed, [("vae", 1), ("classifier", 3), ("judge_pixel", 2), ("predictor", 3), ("twin", 4)]),
    ],
    ids=["stopped by a signal", "killed without saving"],
)
def test_a_run_that_is_resumed_again_and_again_ends_like_an_uninterrupted_one(
    tiny_run, tiny_settings, tmp_path, at_step, happens, moments
):
    folder, resume = tmp_path / "run", None
    settings = replace(tiny_settings, run_dir=folder, cache_dir=tmp_path / "cache")
    for stage, step in moments:
        at_step(stage, step, happens)
        with suppress(CrashError):
            train(replace(settings, resume=resume))
        assert status(folder) == ("preempted" if happens is receive_sigterm else "failed")
        assert metrics(folder, stage)[-1]["step"] == step
        resume = str(folder)
    train(replace(settings, resume=resume))
    assert status(folder) == "finished"
    assert weights(folder) == weights(tiny_run)
    for stage in stages(tiny_run):
        steps = [[line["step"] for line in metrics(run, stage)] for run in (folder, tiny_run)]
        assert steps[0] == steps[1]  # none logged twice, none missing


def test_a_run_that_ends_between_two_stages_goes_on_with_the_next(tiny_run, tiny_settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "latents_of", lambda session, vae: be_killed())
        with pytest.raises(CrashError):
            train(replace(tiny_settings, run_dir=tmp_path / "run", cache_dir=tmp_path / "cache"))
    train(replace(tiny_settings, cache_dir=tmp_path / "cache", resume=str(tmp_path / "run")))
    assert weights(tmp_path / "run") == weights(tiny_run)


def test_resuming_with_changed_data_is_refused(tiny_data, tiny_settings, tmp_path, at_step):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    settings = replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run")
    at_step("predictor", 1, receive_sigterm)
    train(settings)
    shutil.copy(data / "traj1_64x64.npz", data / "traj0_64x64.npz")
    with pytest.raises(
        UserError, match=r"run: data: expected \w{16} as when the run started, got \w{16}; the data have"
    ):
        train(replace(settings, resume=str(tmp_path / "run")))


# --- stages: cached, given, trained


def test_a_second_run_reuses_the_finished_stages_and_learns_the_same(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run"))
    assert stages(tmp_path / "run") == ["predictor", "twin"]
    assert weights(tmp_path / "run") == weights(tiny_run)


def test_another_seed_changes_the_predictor_alone(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run", seed=1))
    assert stages(tmp_path / "run") == ["predictor", "twin"]
    before, after = weights(tiny_run), weights(tmp_path / "run")
    assert {name for name in before if before[name] != after[name]} == {"predictor", "twin"}


def test_another_vae_is_trained_and_so_is_all_that_reads_its_latents(tiny_run, tiny_settings, tmp_path):
    settings = replace(tiny_settings, vae=replace(tiny_settings.vae, kl_weight=0.5))
    train(replace(settings, run_dir=tmp_path / "run", twin=False))
    assert stages(tmp_path / "run") == ["vae", "classifier", "judge_latent", "predictor"]


@pytest.mark.parametrize("as_state_dict", [False, True], ids=["run", "state dict"])
def test_given_networks_are_used_unchanged(tiny_run, tiny_settings, tmp_path, as_state_dict):
    paths = {"vae": tiny_run, "classifier": tiny_run}
    if as_state_dict:
        for name, kind in (("vae", "vae"), ("classifier", "latent_mlp")):
            (tmp_path / name).mkdir()
            paths[name] = tmp_path / name / "best_model.pt"
            torch.save(load_network(tiny_run, kind, name=name).module.state_dict(), paths[name])
    settings = replace(
        tiny_settings,
        vae_model_path=paths["vae"],
        classifier_path=paths["classifier"],
        vae=VaeSettings(latent_dim=32),  # what would be trained otherwise
        run_dir=tmp_path / "run",
    )
    train(settings)
    assert not {"vae", "classifier"} & set(stages(tmp_path / "run"))
    assert weights(tmp_path / "run") == weights(tiny_run)


def test_a_given_classifier_of_other_latents_is_refused(tiny_run, tiny_settings, tmp_path):
    settings = replace(tiny_settings, vae=replace(tiny_settings.vae, latent_dim=2), run_dir=tmp_path / "run")
    with pytest.raises(UserError, match="latent_dim: expected 2 as in the VAE, got 4"):
        train(replace(settings, classifier_path=tiny_run))
    assert status(tmp_path / "run") == "failed"


@pytest.mark.parametrize("given", ["run", "best_model.pt"])
def test_a_given_predictor_is_where_training_starts(tiny_run, tiny_settings, tmp_path, given):
    path = tiny_run
    if given == "best_model.pt":
        train(replace(tiny_settings, run_dir=tmp_path / "first", save_dir=tmp_path / "saved"))
        path = tmp_path / "saved" / "best_model.pt"
    # The wrong hidden size shows that the given network's own is used.
    settings = replace(tiny_settings, predictor_path=path, hidden_size=99, lr=1e-9, steps=1, twin=False)
    train(replace(settings, run_dir=tmp_path / "run"))
    start, end = (load_network(run, "lstm", name="predictor").module for run in (tiny_run, tmp_path / "run"))
    differences = [
        float((a - b).detach().abs().max()) for a, b in zip(start.parameters(), end.parameters(), strict=True)
    ]
    assert 0 < max(differences) < 1e-8


def test_a_given_predictor_without_actions_is_not_passed_over(tiny_settings, tmp_path):
    blind = replace(tiny_settings, use_actions=False)
    train(replace(blind, run_dir=tmp_path / "first", seed=3))
    train(replace(blind, run_dir=tmp_path / "run", predictor_path=tmp_path / "first", lr=1e-9, steps=1))
    biases = [load_network(tmp_path / run, "lstm", name="predictor").module.read[0].bias for run in ("first", "run")]
    torch.testing.assert_close(*biases, atol=1e-8, rtol=0)


def test_a_given_predictor_of_other_latents_is_refused(tiny_run, tiny_settings, tmp_path):
    settings = replace(tiny_settings, vae=replace(tiny_settings.vae, latent_dim=2), predictor_path=tiny_run)
    with pytest.raises(UserError, match="latent_size: expected 32, got 64"):
        train(replace(settings, run_dir=tmp_path / "run"))


def test_save_dir_receives_a_plain_state_dict_and_its_description(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run", save_dir=tmp_path / "checkpoints_with_cls"))
    path = tmp_path / "checkpoints_with_cls" / "best_model.pt"
    found = torch.load(path, weights_only=True)
    own = load_network(tiny_run, "lstm", name="predictor").module.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert weights_hash(load_network(path, "lstm").module) == weights_hash(
        load_network(tiny_run, "lstm", name="predictor").module
    )


def test_without_actions_there_is_no_twin(tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run", use_actions=False))
    predictor = load_network(tmp_path / "run", "lstm", name="predictor").module
    assert predictor.conditioning == "none"
    assert "twin" not in weights(tmp_path / "run")


def test_the_twin_differs_in_nothing_but_the_actions(tiny_run):
    predictor, twin = (load_network(tiny_run, "lstm", name=name) for name in ("predictor", "twin"))
    assert twin.arguments == predictor.arguments | {"conditioning": "none"}
    assert predictor.arguments["conditioning"] == "film"
    assert torch.equal(twin.module.latent_std, predictor.module.latent_std)


# --- what is learnt and written


def test_overfitting_one_batch_lowers_the_loss(tiny_settings, tmp_path):
    one_batch = replace(tiny_settings, batch_size=100, steps=30, lr=3e-2, dropout=0.0, input_noise_std=0.0, twin=False)
    train(replace(one_batch, run_dir=tmp_path / "run", checkpoint_every=100))
    lines = metrics(tmp_path / "run")
    for term in ("loss", "mse"):
        assert lines[-1][term] < 0.8 * lines[0][term]


def test_every_stage_learns(tiny_run, tiny_settings, tmp_path):
    judges = replace(
        tiny_settings.judges, classifier_epochs=3, latent_epochs=3, pixel_epochs=3, oracle_steps=9, lr=1e-2
    )
    train(replace(tiny_settings, judges=judges, steps=1, twin=False, run_dir=tmp_path / "run"))
    lines = {
        stage: metrics(tmp_path / "run", stage) for stage in ("classifier", "judge_latent", "judge_pixel", "oracle")
    }
    for stage, logged in {"vae": metrics(tiny_run, "vae"), **lines}.items():
        losses = [line["loss"] for line in logged]
        assert np.mean(losses[-3:]) < np.mean(losses[:3]), stage


def test_every_epoch_is_logged_with_mse_ce_total_and_validation_accuracy(tiny_run, tiny_settings):
    lines = metrics(tiny_run, split="val")
    assert [line["step"] for line in lines] == [2, 4]  # 45 windows in batches of 16 are 2 whole ones
    for line in lines:
        assert line["total"] == pytest.approx(line["mse"] + tiny_settings.lambda_cls * line["ce"])
        assert {f"{kind}_h{h}" for kind in ("accuracy", "pixel_accuracy") for h in (1, 5, 10, 20)} < line.keys()
        assert 0 <= line["pixel_accuracy"] <= 1


def test_every_step_is_logged_with_both_terms_and_their_gradients(tiny_run, tiny_settings):
    lines = metrics(tiny_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert line["loss"] == pytest.approx(line["mse"] + tiny_settings.lambda_cls * line["ce"])
        assert line["grad_mse"] > 0
        assert line["grad_ce"] > 0


def test_the_learning_rate_is_a_function_of_the_step(tiny_run):
    def rates(name):
        schedule = Schedule(steps=100, lr=8.0, lr_schedule=name)
        return [schedule.lr_at(step) for step in (0, 25, 50, 59, 60, 84, 85, 99)]

    assert rates("constant") == [8] * 8
    assert rates("step") == pytest.approx([8, 8, 8, 8, 0.8, 0.8, 0.08, 0.08])
    assert rates("cosine")[:3] == pytest.approx([8, 4 + 4 / 2**0.5, 4])
    assert rates("cosine") == sorted(rates("cosine"), reverse=True)
    assert 0 < rates("cosine")[-1] < 0.01
    by_hand = [1e-3 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(4)]
    assert [line["lr"] for line in metrics(tiny_run)] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [("predictor", {"lr": 1e30}), ("vae", {"vae": VaeSettings(latent_dim=4, widths=(4, 4, 8), lr=1e30)})],
)
def test_a_loss_that_is_not_finite_stops_the_run_and_names_stage_and_step(tiny_settings, tmp_path, stage, changes):
    settings = replace(tiny_settings, clip_norm=0.0, **changes)
    with pytest.raises(UserError, match=rf"^{stage}: step \d: expected finite losses, got loss (nan|inf)[^\n]*$"):
        train(replace(settings, run_dir=tmp_path / "run"))
    assert status(tmp_path / "run") == "failed"


def changed_data(source: Path, target: Path, change, names=None) -> Path:
    """A copy of the drives after `change(arrays)` of those that are named, or of all."""
    shutil.copytree(source, target)
    for path in target.glob("*.npz"):
        if names is None or path.name in names:
            with np.load(path) as file:
                arrays = dict(file)
            change(arrays)
            np.savez(path, **arrays)
    return target


def test_drives_without_actions_train_a_predictor_without_them(tiny_data, tiny_settings, tmp_path):
    data = changed_data(tiny_data, tmp_path / "data", lambda arrays: arrays.update(actions=arrays["actions"][:, :0]))
    train(replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run"))
    assert load_network(tmp_path / "run", "lstm", name="predictor").module.conditioning == "none"
    assert not {"twin", "oracle"} & set(weights(tmp_path / "run"))


def test_drives_without_any_label_are_refused_before_anything_is_learned(tiny_data, tiny_settings, tmp_path):
    def forget(arrays):
        arrays["labels"][:] = arrays["visual_labels"][:] = -1

    data = changed_data(tiny_data, tmp_path / "data", forget)
    with pytest.raises(UserError, match=rf"^{data}: labels: expected"):
        train(replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_drives_without_a_label_count_in_no_figure(tiny_data, tiny_settings, tmp_path):
    validation = json.loads((tiny_data / "splits.json").read_text())["val"]

    def forget(arrays):
        arrays["labels"][:] = arrays["visual_labels"][:] = -1

    data = changed_data(tiny_data, tmp_path / "data", forget, validation)
    train(replace(tiny_settings, data_dir=data, run_dir=tmp_path / "run", twin=False))
    line = metrics(tmp_path / "run", split="val")[-1]
    assert line["accuracy_h10"] is None
    assert line["ce"] == 0
    assert line["mse"] > 0


def test_windows_longer_than_the_drives_are_refused_before_anything_is_learned(tiny_settings, tmp_path):
    settings = replace(tiny_settings, cache_dir=tmp_path / "cache", run_dir=tmp_path / "run")
    with pytest.raises(UserError, match="expected training trajectories of 48 frames, got shorter ones"):
        train(replace(settings, forced_steps=40, open_loop_steps=7))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


# --- the loop by itself


class Counter(nn.Module):
    """One weight that every step moves by -1, so that it counts the steps."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def count(tmp_path, figures, steps, num_samples=4, **arguments):
    """Steps that the returned network has seen; `figures` are its validation figures, one epoch being one step."""
    accelerator = engine.start("cpu")
    folder = tmp_path / "run"
    resume = str(folder) if folder.exists() else None
    run = open_run("latent-predictor", TrainSettings(), accelerator, run_dir=folder, resume=resume)
    try:
        network = fit(
            run, StopSignal(), "count", Counter(), lambda network, batch, at: {"loss": network.weight.sum()},
            num_samples, global_batch=4, schedule=Schedule(steps=steps, lr=1.0, lr_schedule="constant", keep=1),
            validate=lambda network: {"figure": float(figures[-round(network.weight.item()) - 1])}, **arguments,
        )  # fmt: skip
    finally:
        run.finish("failed")
    return -round(network.weight.item())


def test_the_last_step_is_returned_and_the_best_one_if_asked_for(tmp_path):
    assert count(tmp_path / "last", [0, 3, 1, 2], steps=4) == 4
    assert count(tmp_path / "best", [0, 3, 1, 2], steps=4, select="figure") == 2


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(UserError, match="count: batch_size: expected a multiple of 3 processes, got 4"):
        count(tmp_path, [0], steps=1, num_samples=9)
