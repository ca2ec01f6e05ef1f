"""The training verb in small: exact resume, what it writes, and what it refuses."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from drivelab_shared.testing import CrashError, be_killed, receive_sigterm, status
from lapo_mm.config import TrainSettings
from lapo_mm.data.minari_files import write_dataset
from lapo_mm.data.store import open_store
from lapo_mm.models.units import Units
from lapo_mm.storage import load_algorithm
from lapo_mm.train import fresh, train


def weights(run: Path) -> dict[str, str]:
    """Of the weight file of every policy that the run keeps."""
    return {
        folder.name: hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        for folder in sorted((run / "models").iterdir())
    }


def metrics(run: Path, stage: str = "agent", split: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line["split"] == split]


# --- exact resume


@pytest.mark.parametrize(
    ("happens", "moments"),
    [
        (receive_sigterm, [("agent", 1), ("agent", 4), ("blind", 3)]),
        (be_killed, [("agent", 3), ("agent", 5), ("blind", 1), ("blind", 6)]),
    ],
    ids=["stopped by a signal", "killed without saving"],
)
def test_a_run_that_is_resumed_again_and_again_ends_like_an_uninterrupted_one(
    tiny_run, tiny_settings, tmp_path, at_step, happens, moments
):
    folder, resume = tmp_path / "run", None
    settings = replace(tiny_settings, run_dir=folder)
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
    for stage in ("agent", "blind"):
        for split in ("train", "val"):
            steps = [[line["step"] for line in metrics(run, stage, split)] for run in (folder, tiny_run)]
            assert steps[0] == steps[1]  # none logged twice, none missing


@pytest.mark.parametrize(
    "changes",
    [{"wiring": "vae"}, {"wiring": "both"}, {"wiring": "separate"}, {"algorithm": "iql"}, {"algorithm": "td3bc"}],
    ids=str,
)
def test_every_wiring_and_algorithm_resumes_exactly(tiny_settings, tmp_path, at_step, changes):
    settings = replace(tiny_settings, baselines=(), **changes)
    train(replace(settings, run_dir=tmp_path / "whole"))
    at_step("agent", 3, be_killed)
    with suppress(CrashError):
        train(replace(settings, run_dir=tmp_path / "cut"))
    train(replace(settings, run_dir=tmp_path / "cut", resume=str(tmp_path / "cut")))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_looking_at_the_policy_more_often_changes_nothing(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run", eval_every=1, eval_episodes=1))
    assert weights(tmp_path / "run") == weights(tiny_run)


def test_another_seed_learns_something_else(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path / "run", seed=1, baselines=()))
    assert weights(tmp_path / "run")["agent"] != weights(tiny_run)["agent"]


def test_changed_data_are_refused_on_resume(tiny_settings, tiny_dataset, tmp_path, at_step):
    settings = replace(tiny_settings, run_dir=tmp_path / "run")
    at_step("agent", 2, be_killed)
    with suppress(CrashError):
        train(settings)
    with pytest.raises(UserError, match=r"data: expected .* as when the run started, got .*; the data have changed"):
        train(replace(settings, data_dir=tiny_dataset, resume=str(tmp_path / "run")))


# --- what is written


def test_a_run_logs_losses_returns_and_held_out_errors(tiny_run):
    lines = metrics(tiny_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"critic", "vae", "actor", "kl", "positive_share", "encoder_grad_norm"} <= lines[0].keys()
    looked = metrics(tiny_run, split="val")
    assert [line["step"] for line in looked] == [3, 6]
    assert {"score", "return", "td_error", "action_error"} <= looked[0].keys()


def test_a_saved_policy_acts_like_the_trained_one_without_the_data(tiny_run, tiny_settings):
    algorithm, facts = load_algorithm(tiny_run / "models" / "agent")
    assert (facts["steps"], facts["transitions"]) == (6, 350)
    store = open_store(tiny_settings.data_dir, tiny_settings.cache_dir)
    observation = {name: torch.from_numpy(array[:5].copy()) for name, array in store.observations.items()}
    with torch.no_grad():
        actions = algorithm(observation)
    assert actions.shape == (5, 2)
    assert isinstance(algorithm.units, Units)
    torch.testing.assert_close(algorithm.units.action_mean, torch.tensor(store.statistics.action_mean))
    reward_range = store.statistics.reward_max - store.statistics.reward_min
    assert float(algorithm.units.reward_unit) == pytest.approx(reward_range)


def test_the_blind_baseline_has_no_image_encoder(tiny_run):
    blind, _ = load_algorithm(tiny_run / "models" / "blind")
    assert blind.shapes.modalities == ("state",)
    assert not hasattr(blind.obs_encoder, "image_encoder")


def test_a_third_modality_and_a_dataset_without_an_environment_train_too(tiny_settings, tiny_dataset, tmp_path):
    train(replace(tiny_settings, data_dir=tiny_dataset, run_dir=tmp_path / "run", baselines=()))
    algorithm, _ = load_algorithm(tmp_path / "run" / "models" / "agent")
    assert algorithm.shapes.modalities == ("image", "state", "lidar")
    assert "return" not in metrics(tmp_path / "run", split="val")[0]


def test_somebody_elses_dataset_whose_environment_is_not_here_trains_unchanged(
    tiny_settings, tiny_info, tiny_episodes, tmp_path, capsys
):
    spec = json.dumps({"id": "Somewhere-v3", "entry_point": "somewhere:Env", "kwargs": {}, "additional_wrappers": []})
    folder = tmp_path / "someone" / "camera-v1"
    write_dataset(folder, replace(tiny_info, dataset_id="someone/camera-v1", env_spec=spec), tiny_episodes)
    train(replace(tiny_settings, data_dir=folder, run_dir=tmp_path / "run", baselines=(), evaluate=True))
    assert "Somewhere-v3, which is not registered" in capsys.readouterr().err
    assert [table.table for table in results.read(tmp_path / "run" / "results.json")] == ["fqe"]


def test_units_are_those_of_the_training_episodes(tiny_settings, tiny_dataset, tmp_path):
    store = open_store(tiny_dataset, tmp_path)
    algorithm = fresh(replace(tiny_settings, data_dir=tiny_dataset), store)
    state = algorithm.obs_encoder.state_encoder.standardise
    torch.testing.assert_close(state.mean, torch.tensor(store.statistics.state_mean))
    lidar = algorithm.obs_encoder.lidar_encoder.standardise
    torch.testing.assert_close(lidar.std, torch.tensor(store.statistics.lidar_std))
    bounds = algorithm.actor_vae.decoder.bounds
    torch.testing.assert_close(bounds.low, algorithm.units.standardise(-torch.ones(1, 2))[0])
    torch.testing.assert_close(algorithm.target_decoder.bounds.low, bounds.low)


# --- what is refused


def test_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr("lapo_mm.algorithms.lapo.twin_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(UserError, match="agent: step 0: expected finite losses, got critic nan"):
        train(replace(tiny_settings, run_dir=tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_batch_that_is_larger_than_the_data_is_refused(tiny_settings, tmp_path):
    with pytest.raises(UserError, match="batch_size: expected 1 to 350"):
        train(replace(tiny_settings, run_dir=tmp_path / "run", batch_size=1000))


def test_a_modality_that_is_not_there_is_refused(tiny_settings, tmp_path):
    with pytest.raises(UserError, match="modalities: expected some of image, state, got lidar"):
        train(replace(tiny_settings, run_dir=tmp_path / "run", modalities=("lidar",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau": 0.0}, "tau: expected above 0, up to 1, got 0.0"),
        ({"gamma": 1.0}, "gamma: expected a number between 0 and 1, got 1.0"),
        ({"baselines": ("bcq",)}, "baselines: expected some of blind, vae, bc"),
        ({"kl_beta": -1.0}, "kl_beta: expected a number >= 0, got -1.0"),
        ({"doubleq_min": 2.0}, "doubleq_min: expected 0 to 1, got 2.0"),
        ({"top_share": 0.0}, "top_share: expected above 0"),
        ({"hidden_sizes": ()}, "hidden_sizes: expected at least one layer"),
    ],
)
def test_settings_outside_their_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**changes)
