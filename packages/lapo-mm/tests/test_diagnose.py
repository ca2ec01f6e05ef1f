"""The verb: fresh networks and runs, noise and data, what is printed and written, and how it ends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

import lapo_mm.diagnose as verb
from drivelab_shared import results
from drivelab_shared.errors import UserError
from lapo_mm.algorithms import build
from lapo_mm.cli import main
from lapo_mm.config import DiagnoseSettings, EncoderSettings, TrainSettings
from lapo_mm.diagnose import self_test
from lapo_mm.diagnose.checks import CHECKS, Violation
from lapo_mm.diagnose.contract import CRITIC, contract_of
from lapo_mm.diagnose.drawing import GREEN, RED, gradient_matrix
from lapo_mm.diagnose.request import Answers
from lapo_mm.diagnose.steps import random_batch, watched
from lapo_mm.diagnose.subject import subject_of
from lapo_mm.diagnose.trials import Trial
from lapo_mm.models.shapes import Shapes
from lapo_mm.storage import save_algorithm

torch.set_num_threads(1)

TINY = TrainSettings(
    hidden_sizes=(16, 16), encoder=EncoderSettings(channels=(4, 8), image_features=8, state_features=4)
)
TINY_SHAPES = Shapes(image=(3, 16, 16), state=5, lidar=(8, 2), action=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Without runs or data nearby, and without the engine of the test before."""
    monkeypatch.chdir(tmp_path)
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def finished_run(folder, settings, shapes=TINY_SHAPES):
    """A run as train leaves it, as far as the diagnosis reads it."""
    torch.manual_seed(0)
    save_algorithm(folder / "models" / "agent", build(shapes, settings), {})
    (folder / "manifest.json").write_text(json.dumps({"status": "finished", "started": "now"}))
    return folder


def tables(folder):
    return {table.table: table for table in results.read(folder / "results.json")}


def figures(table):
    return {(row.row, row.metric, row.at): row.value for row in table.rows}


# --- fresh networks


def test_without_a_run_and_without_data_fresh_networks_are_judged_on_noise(tmp_path, capsys):
    assert main(["diagnose"]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert "The contract of wiring critic holds, over 3 training steps on batches of 64 (noise, because" in printed
    assert "optimizer configuration right?            yes" in printed
    folder = tmp_path / "runs" / "lapo-mm" / "diagnose"
    found = tables(folder)
    assert list(found) == ["verdict", "ownership", "gradients", "movement", "hygiene", "targets", "request"]
    assert figures(found["verdict"]) == {(name, "violations", None): 0 for name in CHECKS}
    gradients = figures(found["gradients"])
    assert gradients["obs_encoder.image_encoder", "gradient norm", "critic"] > 0
    assert gradients["obs_encoder.image_encoder", "gradient norm", "vae"] is None
    assert figures(found["movement"])["obs_encoder.image_encoder", "relative change per step", "actor_optimizer"] == 0
    page = (folder / "report.html").read_text()
    assert page.count("<img") == 1
    assert "green" in page.lower()


def test_the_request_s_bug_is_clean_by_its_own_contract_and_warned_of(tmp_path, capsys):
    assert main(["diagnose", "--wiring", "vae", "--output_dir", "here"]) == 0
    printed = capsys.readouterr().out
    assert "The contract of wiring vae holds" in printed
    warning = "the critic loss reaches obs_encoder, and actorvae_optimizer deletes what it puts there: nothing of it"
    assert f"- Warning: {warning} moves obs_encoder.\n" in printed
    assert "gradient reaches the encoder? (method 2)  yes" in printed
    assert "parameters really updated? (method 1)     NO" in printed
    assert "Warning" in (tmp_path / "here" / "report.html").read_text()


def test_fresh_networks_are_made_for_the_data_that_are_there(tiny_dataset):
    subject = subject_of(DiagnoseSettings(wiring="both", data_dir=tiny_dataset, batch_size=32), CPU)
    assert subject.make().shapes == TINY_SHAPES
    assert "training split" in subject.source
    assert [len(batch.rewards) for batch in subject.batches] == [32] * 3
    assert not torch.equal(subject.batches[0].actions, subject.batches[1].actions)
    assert (subject.make().obs_encoder.state_encoder.standardise.std != 1).all()


# --- runs


def test_the_newest_run_is_judged_by_the_contract_of_its_wiring_on_its_own_data(tiny_dataset, tmp_path, capsys):
    folder = tmp_path / "runs" / "lapo-mm" / "one"
    finished_run(folder, replace(TINY, wiring="separate", data_dir=tiny_dataset, cache_dir=tmp_path / "cache"))
    assert verb.diagnose(DiagnoseSettings()) == 0
    printed = capsys.readouterr().out
    assert f"The contract of wiring separate holds, over 3 training steps on batches of 64 ({tiny_dataset}" in printed
    assert tables(folder / "diagnose")["verdict"].seeds == [0]


def test_the_networks_of_a_run_are_the_ones_that_are_judged(tmp_path):
    run = finished_run(tmp_path / "run", TINY)
    subject = subject_of(DiagnoseSettings(run_dir=run), CPU)
    one, other = subject.make(), subject.make()
    torch.manual_seed(0)
    saved = build(TINY_SHAPES, TINY).state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in one.state_dict().items())
    assert next(one.parameters()) is not next(other.parameters())
    assert subject.output == run / "diagnose"


def test_a_broken_contract_ends_with_1_and_names_what_is_broken(tmp_path, monkeypatch, capsys):
    run = finished_run(tmp_path / "run", replace(TINY, wiring="vae"))
    monkeypatch.setattr(verb, "contract_of", lambda settings: replace(CRITIC, tau=settings.tau))
    assert verb.diagnose(DiagnoseSettings(run_dir=run)) == 1
    printed, said = capsys.readouterr()
    expected = "reach: vae loss on obs_encoder.image_encoder: expected no gradient, got one on all 8 tensors"
    assert f"run, wiring vae: {expected}\n" in said
    assert "is broken in" in printed
    assert f"**Broken:** {expected}." in tables(run / "diagnose")["verdict"].conclusions
    assert figures(tables(run / "diagnose")["verdict"])["movement", "violations", None] > 0


@pytest.mark.parametrize("algorithm", ["bc", "td3bc", "iql"])
def test_baselines_have_contracts_of_their_own(algorithm, tmp_path, capsys):
    run = finished_run(tmp_path / "run", replace(TINY, algorithm=algorithm))
    assert verb.diagnose(DiagnoseSettings(run_dir=run)) == 0
    printed = capsys.readouterr().out
    assert f"The contract of {algorithm} holds" in printed
    assert ("test_gradient_flow.py" in printed) == (algorithm != "bc")


def test_the_request_s_script_needs_a_picture(tmp_path, capsys):
    run = finished_run(tmp_path / "run", TINY, Shapes(state=5, action=2))
    assert verb.diagnose(DiagnoseSettings(run_dir=run)) == 0
    assert "test_gradient_flow.py" not in capsys.readouterr().out


def test_noise_keeps_to_the_units_of_the_run(tmp_path):
    one = build(TINY_SHAPES, TINY)
    one.units.fit_actions(torch.zeros(2), torch.full((2,), 5.0), torch.full((2,), -1.0), torch.full((2,), 1.0))
    one.obs_encoder.state_encoder.standardise.fit(torch.full((5,), 100.0), torch.full((5,), 0.1))
    batch = random_batch(one, 64, 0, 0)
    assert batch.actions.abs().max() <= 1
    assert np.allclose(batch.observation["state"], 100, atol=1)
    assert torch.equal(batch.actions, random_batch(one, 64, 0, 0).actions)
    assert not torch.equal(batch.actions, random_batch(one, 64, 0, 1).actions)


# --- what users get wrong


def test_a_run_that_is_not_there_is_the_user_s_mistake(capsys):
    assert main(["diagnose", "--run_dir", "nowhere"]) == 2
    assert capsys.readouterr().err == "nowhere: expected a run (a folder with manifest.json), got none\n"


def test_data_that_were_asked_for_must_be_there_and_fit(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        verb.diagnose(DiagnoseSettings(wiring="critic", data_dir=tmp_path / "nowhere"))
    run = finished_run(tmp_path / "run", TINY, Shapes(image=(3, 16, 16), state=4, action=2))
    with pytest.raises(UserError, match=r"observations and actions: expected Shapes.*state=4.*got Shapes.*state=5"):
        verb.diagnose(DiagnoseSettings(run_dir=run, data_dir=tiny_dataset))


def test_a_run_without_networks_is_the_user_s_mistake(tmp_path):
    (tmp_path / "manifest.json").write_text('{"status": "finished"}')
    with pytest.raises(UserError, match="expected a trained policy"):
        verb.diagnose(DiagnoseSettings(run_dir=tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_steps": 2}, "num_steps: expected at least 3, got 2"),
        ({"batch_size": 16}, "batch_size: expected at least 32"),
        ({"wiring": "vae", "run_dir": Path("x")}, "wiring: expected none beside run_dir"),
    ],
)
def test_settings_under_which_nothing_could_be_proved_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        DiagnoseSettings(**changes)


# --- the picture and the self-test


def test_the_picture_frames_what_is_declared_and_what_is_not_as_declared():
    torch.manual_seed(0)
    one = build(TINY_SHAPES, replace(TINY, wiring="vae"))
    one.start_training()
    record = watched(one, [random_batch(one, 32, 0, 0)], seed=0)

    def frames(contract):
        (axes,) = gradient_matrix(record, contract).axes
        texts = {text.get_text() for text in axes.texts}
        assert "none" in texts
        assert "" not in texts
        colours = [frame.get_edgecolor() for frame in axes.patches]
        return [sum(np.allclose(colour[:3], rgb(name)) for colour in colours) for name in (GREEN, RED)]

    # 3 modalities and 2 parts each of critic and VAE, and the policy; the VAE's loss on the 3 is what CRITIC forbids.
    assert frames(contract_of(one.settings)) == [5 + 5 + 1, 0]
    assert frames(CRITIC) == [5 + 2 + 1, 3]


def rgb(name):
    return [int(name[start : start + 2], 16) / 255 for start in (1, 3, 5)]


FINDING = [Violation("reach", "what", "a", "b")]
ANSWERS = Answers(is_configured=True, grad_norm=1.0, change=0.0)


@pytest.mark.parametrize(
    ("trials", "code", "said"),
    [
        ([Trial("1 bad", True, FINDING, ANSWERS), Trial("good", False, [], None)], 0, ""),
        ([Trial("1 bad", True, [], ANSWERS)], 1, "self-test: 1 bad: expected a violation, got none\n"),
        (
            [Trial("good", False, FINDING, None)],
            1,
            "self-test: good: expected no violation, got reach: what: expected a, got b\n",
        ),
    ],
    ids=["all right", "a fault missed", "a false alarm"],
)
def test_the_self_test_ends_with_1_if_anything_was_judged_wrongly(trials, code, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(self_test, "try_all", lambda seed: (trials, 1.5))
    assert main(["diagnose", "--self_test"]) == code
    printed, errors = capsys.readouterr()
    assert errors == said
    assert "CPU time [s] (bar: <= 20): 1.50: reached." in printed
    found = tables(tmp_path / "runs" / "lapo-mm" / "self-test")
    assert list(found) == ["self_test", "self_test_cases"]
    assert (tmp_path / "runs" / "lapo-mm" / "self-test" / "report.html").is_file()


def test_the_self_test_s_table_says_who_found_a_fault_and_who_did_not(monkeypatch, capsys):
    trials = [Trial("1 bad", True, FINDING, ANSWERS), Trial("good", False, [], None)]
    monkeypatch.setattr(self_test, "try_all", lambda seed: (trials, 1.5))
    main(["diagnose", "--self_test"])
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert first.split() == ["1", "bad", "reach", "notices", "passes", "passes"]
    assert second.split() == ["good", "nothing"]
