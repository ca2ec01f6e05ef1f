"""Evaluation of the tiny run: figures against what its networks say one by one, and the files that it writes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from latent_predictor.cli import main
from latent_predictor.config import EvaluateSettings
from latent_predictor.evaluate import evaluate, score, windows_of
from latent_predictor.imagine import Windows
from latent_predictor.latents import to_frames, to_pictures
from latent_predictor.scores import Scores
from latent_predictor.storage import load_network
from latent_predictor.train import train
from latent_predictor.trained import TrainedRun, open_trained

CPU = torch.device("cpu")
FILES = ["report.html", "results.json", "scores.npz"]
QUICK = EvaluateSettings(num_bootstrap=50, device="cpu")


@pytest.fixture(scope="module")
def trained(tiny_run) -> TrainedRun:
    return open_trained(tiny_run, CPU, QUICK)


@pytest.fixture(scope="module")
def windows(trained) -> Windows:
    return windows_of(trained.store, QUICK)


@pytest.fixture(scope="module")
def scores(trained, windows) -> Scores:
    return score(trained, windows, QUICK)


@pytest.fixture(scope="module")
def future(trained, windows) -> torch.Tensor:
    """What the predictor imagines, window by window and step by step: [windows, 20, latent]."""
    futures = []
    for start in windows.starts:
        latents = [torch.from_numpy(trained.latents[row].copy()) for row in range(start, start + 10)]
        actions = torch.from_numpy(trained.store.actions[start : start + 29].copy())
        for step in range(20):
            # Each time from the beginning, the last predictions being taken for real.
            real = torch.stack(latents[:10])[None]
            latents.append(trained.predictor(real, actions[None, : 10 + step])[0, -1])
        futures.append(torch.stack(latents[10:]))
    return torch.stack(futures)


def value(table, row, metric, at=10):
    (found,) = [
        cell.value for cell in table.rows if (cell.row, cell.at) == (row, at) and cell.metric.startswith(metric)
    ]
    return found


def changed_data(source: Path, target: Path, change) -> Path:
    """A copy of the drives after `change(arrays)`."""
    shutil.copytree(source, target)
    for path in target.glob("*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(path, **arrays)
    return target


# --- figures


def test_every_method_is_there_on_windows_of_both_test_drives(scores):
    assert list(scores.methods) == [
        *("real", "reconstruction", "predictor", "no-action twin", "swapped actions"),
        *("copy last", "constant mean", "majority class", "label stays", "state oracle"),
    ]
    assert scores.horizons == (1, 5, 10, 20)
    assert scores.num_groups == 2


def test_the_labels_are_those_of_the_imagined_frames(trained, windows, scores):
    for i, start in enumerate(windows.starts):
        expected = [trained.store.judge_labels[start + 9 + h] for h in (1, 5, 10, 20)]
        assert scores.labels[i].tolist() == expected


def test_the_latent_error_is_that_of_the_imagined_latents(trained, windows, scores, future):
    for i, start in enumerate(windows.starts):
        for column, h in enumerate(scores.horizons):
            real = trained.latents[start + 9 + h]
            error = float(np.mean((future[i, h - 1].numpy() - real) ** 2))
            assert scores.methods["predictor"].error[i, column] == pytest.approx(error, rel=1e-3)
            copied = float(np.mean((trained.latents[start + 9] - real) ** 2))
            assert scores.methods["copy last"].error[i, column] == pytest.approx(copied, rel=1e-3)


@torch.no_grad()
def test_judges_a_and_b_read_latents_and_judge_c_the_decoded_pictures(trained, scores, future):
    pictures = trained.vae.decode(future[:, 9])
    expected = {
        "a": trained.classifier(future[:, 9]),
        "b": trained.judge_latent(future[:, 9]),
        "c": trained.judge_pixel(pictures),
    }
    for judge, logits in expected.items():
        margin = logits.topk(2).values.diff(dim=-1).abs().flatten() > 1e-3  # a tie may fall either way
        answers = scores.methods["predictor"].classes[judge][:, scores.at(10)]
        assert answers[margin].tolist() == logits.argmax(-1)[margin].tolist()


@torch.no_grad()
def test_the_upper_line_reads_real_latents_and_real_pictures(trained, windows, scores):
    rows = windows.rows(10)
    answers = {judge: found[:, scores.at(10)].tolist() for judge, found in scores.methods["real"].classes.items()}
    latents = torch.from_numpy(trained.latents[rows])
    assert answers["a"] == trained.classifier(latents).argmax(-1).tolist()
    assert answers["c"] == trained.judge_pixel(to_pictures(trained.store.frames[rows])).argmax(-1).tolist()


@torch.no_grad()
def test_the_picture_quality_of_reconstructions_is_that_of_decoded_real_latents(trained, windows, scores):
    rows = windows.rows(20)
    decoded = to_frames(trained.vae.decode(torch.from_numpy(trained.latents[rows]))).astype(float)
    error = np.mean((decoded - trained.store.frames[rows]) ** 2, axis=(1, 2, 3))
    assert scores.methods["reconstruction"].psnr[:, -1] == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)


def test_baselines_without_a_model_name_the_majority_and_the_last_lane(trained, windows, scores):
    labels = trained.store.judge_labels[trained.store.indices("train")].tolist()
    assert (scores.methods["majority class"].classes["label"] == max(range(3), key=labels.count)).all()
    last = trained.store.judge_labels[windows.starts + 9]
    assert (scores.methods["label stays"].classes["label"] == last[:, None]).all()


def test_a_constant_has_no_spread_and_real_latents_have_some(scores):
    assert scores.methods["constant mean"].std == pytest.approx(0, abs=1e-6)
    assert (scores.methods["real"].std > 0).all()


# --- files and flags


def test_training_ends_with_a_report(tiny_run, tiny_settings, tmp_path):
    train(replace(tiny_settings, run_dir=tmp_path, evaluate=True))
    assert all((tmp_path / name).is_file() for name in FILES)


def test_the_requests_evaluation_command_judges_the_given_networks(tiny_run, tmp_path, monkeypatch, scores):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, "runs/latent-predictor/20260101-000000")
    paths = {}
    for name, kind in {"vae": "vae", "classifier": "latent_mlp", "predictor": "lstm"}.items():
        network = load_network(tiny_run, kind, name=name)
        paths[name] = Path(name) / "best_model.pt"
        paths[name].parent.mkdir()
        torch.save(network.module.state_dict(), paths[name])
        if name == "predictor":  # as train --save_dir writes it
            paths[name].with_name("config.json").write_text(network.description())
    given = [argument for name, path in paths.items() for argument in (f"--{name}_path", str(path))]
    before = sorted(Path("runs").rglob("*"))
    assert main(["evaluate", *given, "--output_dir", "eval_results", "--num_bootstrap", "20"]) == 0
    assert sorted(path.name for path in Path("eval_results").iterdir()) == FILES
    assert sorted(Path("runs").rglob("*")) == before
    found = Scores.load(Path("eval_results/scores.npz"))
    assert "no-action twin" not in found.methods  # it belongs to the run's own predictor
    assert np.array_equal(found.methods["predictor"].error, scores.methods["predictor"].error)
    tables = {table.table: table for table in results.read(Path("eval_results/results.json"))}
    assert list(tables) == ["horizons", "comparisons", "recall", "errors"]
    right = scores.methods["predictor"].classes["c"][:, 2] == scores.labels[:, 2]
    assert value(tables["horizons"], "predictor", "accuracy [%], judge c") == pytest.approx(100 * right.mean())


@pytest.fixture(scope="module")
def strangers(tiny_run, tiny_settings, tmp_path_factory) -> Path:
    """A run whose VAE has the same size and other weights."""
    folder = tmp_path_factory.mktemp("strangers") / "run"
    vae = replace(tiny_settings.vae, lr=1e-2)
    train(replace(tiny_settings, vae=vae, steps=1, twin=False, run_dir=folder))
    return folder


def test_judge_b_is_not_asked_about_latents_of_another_vae(tiny_run, strangers, tmp_path, capsys):
    given = {"vae_model_path": strangers, "classifier_path": strangers, "predictor_path": strangers}
    evaluate(replace(QUICK, run_dir=tiny_run, output_dir=tmp_path, **given))
    said = f"judge b is left out: it reads latents of the VAE of {tiny_run}, and {strangers} is another\n"
    assert said in capsys.readouterr().err
    found = Scores.load(tmp_path / "scores.npz")
    assert found.judges == ["a", "c"]
    tables = results.read(tmp_path / "results.json")
    assert not any("judge b" in f"{row.row} {row.metric}" for table in tables for row in table.rows)
    assert tables[0].conclusions[-1].startswith("There is no judge b: ")
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("missing", ["classifier_path", "predictor_path"])
def test_networks_of_the_run_are_not_asked_about_latents_of_another_vae(tiny_run, strangers, missing):
    given = {"vae_model_path": strangers, "classifier_path": strangers, "predictor_path": strangers, missing: None}
    expected = f"expected one for the latents of {strangers}, which is not the VAE of the run, got none"
    assert refusal(replace(QUICK, run_dir=tiny_run, **given)) == f"{missing}: {expected}"


def test_unlabelled_drives_have_errors_and_pictures_and_no_accuracy(tiny_run, tiny_data, tmp_path):
    def forget(arrays):
        arrays["labels"][:] = arrays["visual_labels"][:] = -1

    data = changed_data(tiny_data, tmp_path / "data", forget)
    evaluate(replace(QUICK, run_dir=tiny_run, data_dir=data, output_dir=tmp_path / "out"))
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [table["table"] for table in document["tables"]] == ["errors"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_drives_without_state_have_no_oracle(tiny_run, tiny_data, tmp_path):
    data = changed_data(tiny_data, tmp_path / "data", lambda arrays: arrays.pop("state"))
    trained = open_trained(tiny_run, CPU, replace(QUICK, data_dir=data))
    assert trained.oracle is None
    assert "state oracle" not in score(trained, windows_of(trained.store, QUICK), QUICK).methods


def test_a_single_window_can_be_evaluated(tiny_run, tmp_path):
    one = replace(QUICK, run_dir=tiny_run, split="val", window_stride=100, output_dir=tmp_path)
    evaluate(one)
    assert "nan" not in " ".join(results.read(tmp_path / "results.json")[0].conclusions)


# --- refusals, one line each


def refusal(settings: EvaluateSettings) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_drives_with_other_actions_are_refused(tiny_run, tiny_data, tmp_path):
    def widen(arrays):
        arrays["actions"] = np.repeat(arrays["actions"], 2, axis=1)

    data = changed_data(tiny_data, tmp_path / "data", widen)
    found = refusal(replace(QUICK, run_dir=tiny_run, data_dir=data))
    assert found == f"{data}: actions: expected 3 columns as in training, got 6"


def test_horizons_beyond_the_drives_are_refused(tiny_run):
    found = refusal(replace(QUICK, run_dir=tiny_run, horizons=(1, 31)))
    assert "expected trajectories of at least 41 frames, got shorter ones" in found


def test_networks_for_other_latents_are_refused(tiny_run, tiny_settings, tmp_path):
    other = tmp_path / "other"
    settings = replace(tiny_settings, vae=replace(tiny_settings.vae, latent_dim=2), steps=1, twin=False)
    train(replace(settings, run_dir=other))
    settings = replace(QUICK, run_dir=tiny_run)
    assert "latent_dim: expected 2 as in the VAE, got 4" in refusal(replace(settings, vae_model_path=other))
    assert "latent_dim: expected 4 as in the VAE, got 2" in refusal(replace(settings, classifier_path=other))
    assert "latent_size: expected 64 as in the VAE, got 32" in refusal(replace(settings, predictor_path=other))


def test_a_run_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected a finished run, got none" in refusal(QUICK)
