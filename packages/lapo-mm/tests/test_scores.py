"""Scores: figures by hand, pairs that stay pairs, files that read back."""

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from drivelab_shared.stats import group_draws
from lapo_mm.scores import Comparison, Policy, Scores, iqm_interval, q_error

RNG = np.random.default_rng(0)


def scores(returns, q=None, truth=None, **references):
    parts = {} if q is None else {"q": np.array(q), "truth": np.array(truth)}
    return Scores({"agent": Policy(np.array(returns, float), **parts)}, **references)


def test_random_is_0_and_the_expert_100():
    one = scores([0], random=-12.0, expert=-2.0)
    assert one.score(np.array([-12.0, -7.0, -2.0, 0.0])).tolist() == [0, 50, 100, 120]


def test_without_references_the_score_is_the_return():
    assert scores([3]).score(np.array([3.0])).tolist() == [3.0]
    assert scores([3]).unit == "return"


def test_q_errors_are_as_on_paper():
    found = q_error(np.array([1.0, 2.0, 6.0]), np.array([0.0, 2.0, 4.0]))
    assert found["MSE"] == pytest.approx((1 + 0 + 4) / 3)
    assert found["bias"] == pytest.approx(1.0)
    assert found["nMSE"] == pytest.approx((5 / 3) / (8 / 3))
    assert found["correlation"] == pytest.approx(np.corrcoef([1, 2, 6], [0, 2, 4])[0, 1])


def test_the_best_constant_has_an_nmse_of_1_and_no_correlation():
    found = q_error(np.full(3, 2.0), np.array([0.0, 2.0, 4.0]))
    assert found["nMSE"] == 1.0
    assert np.isnan(found["correlation"])


def test_the_interquartile_mean_needs_four_seeds_to_cut_any():
    draws = group_draws(2, 4)
    assert iqm_interval(np.array([[0.0, 0], [10, 10], [20, 20], [1000, 1000]]), draws).value == 15.0
    draws = group_draws(2, 3)
    assert iqm_interval(np.array([[0.0, 0], [10, 10], [50, 50]]), draws).value == 20.0


def test_what_is_hard_for_both_cancels_in_a_paired_difference():
    hardness = RNG.normal(0, 30, 60)
    ours, theirs = ([scores(hardness + gain + RNG.normal(0, 1, 60)) for _ in range(3)] for gain in (5.0, 0.0))
    ours, theirs = Comparison.of(ours, "agent"), Comparison.of(theirs, "agent")
    gap, alone = ours.score_difference(theirs), ours.score()
    assert 4 < gap.low < gap.value < gap.high < 6
    assert alone.high - alone.low > 10


def test_the_quotient_of_scores_is_that_of_their_means():
    ours = Comparison.of([scores([2, 4], random=0.0, expert=1.0)], "agent")
    theirs = Comparison.of([scores([1, 2], random=0.0, expert=1.0)], "agent")
    assert ours.score_quotient(theirs).value == pytest.approx(2.0)


def test_nmse_and_correlation_are_compared_on_the_same_pairs():
    truth = RNG.normal(0, 1, 200)
    good, bad = (
        Comparison.of([scores([0], truth + RNG.normal(0, noise, 200), truth) for _ in range(3)], "agent")
        for noise in (0.3, 1.0)
    )
    quotient, gap = good.nmse_quotient(bad), good.correlation_difference(bad)
    assert quotient.value == pytest.approx(0.09, abs=0.03)
    assert quotient.high < 0.2
    assert gap.low > 0.1
    assert good.q_figure("nMSE").low < good.q_figure("nMSE").value < good.q_figure("nMSE").high


def test_scores_read_back_as_they_were_written(tmp_path):
    policy = Policy(np.arange(3.0), q=np.ones(2), truth=np.zeros(2), curve_steps=np.array([5.0]), curve=np.array([1.0]))
    Scores({"agent": policy, "blind": Policy(np.zeros(3))}, -1.0, 2.0).save(tmp_path / "scores.npz")
    read = Scores.load(tmp_path / "scores.npz")
    assert (read.random, read.expert) == (-1.0, 2.0)
    assert list(read.policies) == ["agent", "blind"]
    for name, value in vars(policy).items():
        np.testing.assert_array_equal(getattr(read.policies["agent"], name), value)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "scores.npz", something=np.zeros(1))
    with pytest.raises(UserError, match="expected the scores of an evaluation"):
        Scores.load(tmp_path / "scores.npz")
