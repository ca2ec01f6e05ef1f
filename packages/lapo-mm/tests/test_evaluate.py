"""Evaluation in small: the same episodes for all, truth by reset, values by the data alone, files and pages."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from lapo_mm.config import EvaluateSettings
from lapo_mm.data.batches import Batches
from lapo_mm.evaluate import evaluate
from lapo_mm.fqe import fitted_q
from lapo_mm.q_truth import held_out_pairs
from lapo_mm.rollouts import roll_out
from lapo_mm.scores import Scores
from lapo_mm.tables import label
from lapo_mm.train import train
from lapo_mm.trained import open_trained

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tiny_run):
    return open_trained(tiny_run, CPU, EvaluateSettings())


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    settings = EvaluateSettings(
        run_dir=tiny_run, output_dir=folder, num_episodes=4, num_q_samples=6, q_horizon=5, num_bootstrap=20, fqe_steps=3
    )
    evaluate(settings)
    return folder


def test_every_policy_of_the_run_is_measured(evaluated):
    scores = Scores.load(evaluated / "scores.npz")
    assert list(scores.policies) == ["agent", "blind"]
    for policy in scores.policies.values():
        assert len(policy.returns) == 4
        assert len(policy.q) == len(policy.truth) == 6
        assert len(policy.fqe) == 1  # held-out episodes
        assert policy.curve_steps.tolist() == [3.0, 6.0]
    assert scores.expert > scores.random


def test_tables_and_page_are_written(evaluated):
    tables = {table.table: table for table in results.read(evaluated / "results.json")}
    assert list(tables) == ["scores", "values", "fqe"]
    rows = {row.row for row in tables["scores"].rows}
    assert {"LAPO, critic wiring", "LAPO, state alone (blind)", "recorded episodes", "random policy"} <= rows
    page = (evaluated / "report.html").read_text()
    assert page.count("<img") >= 3
    assert "Learning curves" in page


def test_the_same_evaluation_twice_gives_the_same_figures(tiny_run, evaluated, tmp_path):
    settings = EvaluateSettings(
        run_dir=tiny_run,
        output_dir=tmp_path,
        num_episodes=4,
        num_q_samples=6,
        q_horizon=5,
        num_bootstrap=20,
        fqe_steps=3,
    )
    evaluate(settings)
    first, second = (Scores.load(folder / "scores.npz").policies["agent"] for folder in (evaluated, tmp_path))
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name))


def test_the_truth_of_a_recorded_pair_begins_with_the_recorded_reward(trained):
    """With a horizon of one step, what comes of a pair is the reward that the dataset has for it."""
    store, agent = trained.store, trained.agent
    batches = trained.batches(agent)
    q, truth = held_out_pairs(agent, batches, store, trained.task, num_pairs=50, horizon=1, seed=0)
    recorded = store.rewards[store.steps_of("val")]
    np.testing.assert_allclose(truth, recorded, atol=1e-5)
    with torch.no_grad():
        batch = batches.fetch(store.steps_of("val"))
        np.testing.assert_allclose(q, agent.q_values(batch.observation, batch.actions), atol=1e-6)


def test_the_truth_is_discounted_step_by_step(trained):
    store, agent = trained.store, trained.agent
    found = [
        held_out_pairs(agent, trained.batches(agent), store, trained.task, num_pairs=3, horizon=h, seed=0)[1]
        for h in (1, 2)
    ]
    assert (np.abs(found[1] - found[0]) <= agent.settings.gamma * 1.0).all()
    assert (found[1] < found[0]).all()  # every reward is negative


def test_fitted_q_of_a_constant_reward_approaches_its_sum(tiny_settings, tiny_dataset, tmp_path):
    """A reward of 1 for every step adds up to 1 / (1 - gamma) where nothing ends."""
    train(replace(tiny_settings, data_dir=tiny_dataset, run_dir=tmp_path / "run", gamma=0.5, baselines=()))
    trained = open_trained(tmp_path / "run", CPU, EvaluateSettings())
    agent, store = trained.agent, trained.store
    store = replace(store, rewards=np.ones_like(store.rewards), terminals=np.zeros_like(store.terminals))
    agent.units.reward_unit.fill_(1.0)
    values = fitted_q(agent, Batches(store, CPU), store.steps_of("train"), np.array([0, 10]), steps=400, seed=0)
    np.testing.assert_allclose(values, 2.0, atol=0.35)


def test_without_an_environment_the_data_alone_are_asked(tiny_settings, tiny_dataset, tmp_path):
    train(replace(tiny_settings, data_dir=tiny_dataset, run_dir=tmp_path / "run", baselines=()))
    settings = EvaluateSettings(run_dir=tmp_path / "run", output_dir=tmp_path / "out", fqe_steps=2, num_bootstrap=20)
    evaluate(settings)
    assert [table.table for table in results.read(tmp_path / "out" / "results.json")] == ["fqe"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_other_data_than_the_policy_has_seen_are_refused(tiny_run, tiny_dataset):
    with pytest.raises(UserError, match=r"shapes that"):
        evaluate(EvaluateSettings(run_dir=tiny_run, data_dir=tiny_dataset))


def test_a_damaged_policy_is_one_line(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "models" / "agent" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config.json: expected the description of a network"):
        evaluate(EvaluateSettings(run_dir=tmp_path / "run"))


def test_labels_say_what_was_trained(tiny_settings):
    assert label("agent", tiny_settings) == "LAPO, critic wiring"
    assert label("agent", replace(tiny_settings, algorithm="bc", top_share=0.25)) == "25% BC"
    assert label("agent", replace(tiny_settings, modalities=("state",))) == "LAPO, state, critic wiring"
    assert label("vae", tiny_settings) == "LAPO, vae wiring"


def test_the_expert_scores_100_in_the_rollouts_that_score_policies(trained):
    """References and rollouts speak of the same returns: actions of zero score between random and expert."""
    done = roll_out(
        lambda observation: torch.zeros(len(observation["state"]), 2),
        trained.task.make_env,
        trained.task.read,
        [{"seed": seed} for seed in range(10)],
        CPU,
    )
    assert 0 < trained.task.score(done.returns).mean() < 100
