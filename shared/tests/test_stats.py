import dataclasses

import numpy as np
import pytest

from drivelab_shared.stats import Interval, bootstrap, difference, group_draws, interquartile_mean, ratio


def windows(rng, num_seeds=1, num_groups=14, accuracy=0.75, spread=0.1):
    """Correct and counted windows of trajectories that differ in difficulty: [seeds, groups, 2]."""
    count = rng.integers(20, 60, size=num_groups)
    difficulty = np.clip(rng.normal(accuracy, spread, size=num_groups), 0, 1)
    correct = rng.binomial(count, difficulty, size=(num_seeds, num_groups))
    return np.stack([correct, np.broadcast_to(count, correct.shape)], axis=-1)


def balanced_accuracy(confusion):
    return np.mean(np.diagonal(confusion, axis1=-2, axis2=-1) / confusion.sum(-1), axis=-1)


def slow_interval(sums, statistic, draws):
    """Repeats whole groups and seeds one draw after the other."""
    measures = []
    for times_group, times_seed in zip(draws.groups, draws.seeds, strict=True):
        groups = np.repeat(np.arange(sums.shape[1]), times_group)
        seeds = np.repeat(np.arange(sums.shape[0]), times_seed)
        measures.append(np.mean([statistic(sum(sums[seed, group] for group in groups)) for seed in seeds]))
    return np.percentile(measures, [2.5, 97.5])


def test_a_ratio_of_sums_equals_a_plain_loop_over_groups_and_seeds():
    sums = windows(np.random.default_rng(0), num_seeds=3)
    draws = group_draws(14, num_seeds=3, num_draws=60)
    interval = bootstrap(sums, ratio, draws)
    np.testing.assert_allclose([interval.low, interval.high], slow_interval(sums, ratio, draws))
    assert interval.value == pytest.approx(np.mean(sums[..., 0].sum(1) / sums[..., 1].sum(1)))
    assert interval.n == 14


def test_any_statistic_of_sums_equals_a_plain_loop():
    confusion = np.random.default_rng(1).integers(1, 30, size=(1, 9, 3, 3))
    draws = group_draws(9, num_draws=60)
    interval = bootstrap(confusion, balanced_accuracy, draws)
    np.testing.assert_allclose([interval.low, interval.high], slow_interval(confusion, balanced_accuracy, draws))


def test_every_draw_takes_as_many_groups_and_seeds_as_there_are():
    draws = group_draws(14, num_seeds=3, num_draws=50)
    assert (draws.groups.sum(axis=1) == 14).all()
    assert (draws.seeds.sum(axis=1) == 3).all()
    assert not (draws.groups == 1).all()


def test_the_same_seed_gives_the_same_draws_and_another_one_does_not():
    assert (group_draws(14, seed=4).groups == group_draws(14, seed=4).groups).all()
    assert (group_draws(14, seed=4).groups != group_draws(14, seed=5).groups).any()


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    draws = group_draws(30, num_draws=400)
    hits = 0
    for _ in range(400):
        values = rng.normal(5.0, 2.0, size=(1, 30))
        interval = bootstrap(np.stack([values, np.ones_like(values)], axis=-1), ratio, draws)
        hits += interval.low <= 5.0 <= interval.high
    # A percentile interval of 30 normal values is short by the t factor: about 93 % (standard error 1.3 %).
    assert 0.89 <= hits / 400 <= 0.97


def test_windows_of_one_trajectory_do_not_count_as_independent():
    rng = np.random.default_rng(3)
    sums = windows(rng, num_groups=14, spread=0.2)
    by_trajectory = bootstrap(sums, ratio, group_draws(14))
    correct, count = sums[0].sum(axis=0)
    every_window = np.stack([np.arange(count) < correct, np.ones(count)], axis=-1)[None]
    by_window = bootstrap(every_window, ratio, group_draws(int(count)))
    assert by_trajectory.high - by_trajectory.low > 1.5 * (by_window.high - by_window.low)


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(4)
    theirs = windows(rng, accuracy=0.6, spread=0.2)
    ours = theirs.copy()
    ours[..., 0] = np.minimum(theirs[..., 0] + rng.integers(1, 5, size=14), theirs[..., 1])
    paired = difference(ours, theirs, ratio, group_draws(14))
    single = bootstrap(ours, ratio, group_draws(14))
    assert paired.low > 0
    assert paired.value == pytest.approx(single.value - bootstrap(theirs, ratio, group_draws(14)).value)
    assert paired.high - paired.low < 0.5 * (single.high - single.low)


def test_a_method_without_seeds_is_compared_with_every_seed_of_the_other():
    rng = np.random.default_rng(5)
    ours, copy_last = windows(rng, num_seeds=3), windows(rng)
    draws = group_draws(14, num_seeds=3)
    repeated = np.repeat(copy_last, 3, axis=0)
    once, thrice = difference(ours, copy_last, ratio, draws), difference(ours, repeated, ratio, draws)
    np.testing.assert_allclose(dataclasses.astuple(once), dataclasses.astuple(thrice))


def test_disagreeing_seeds_widen_the_interval():
    one = windows(np.random.default_rng(6))
    agreeing = np.repeat(one, 3, axis=0)
    disagreeing = agreeing.copy()
    disagreeing[0, :, 0] //= 2
    width = {}
    for name, sums in {"agreeing": agreeing, "disagreeing": disagreeing}.items():
        interval = bootstrap(sums, ratio, group_draws(14, num_seeds=3))
        width[name] = interval.high - interval.low
    assert width["disagreeing"] > 2 * width["agreeing"]


def test_one_group_has_a_value_but_no_interval():
    interval = bootstrap(np.array([[[3, 4]], [[2, 4]]]), ratio, group_draws(1, num_seeds=2))
    assert interval.value == pytest.approx(5 / 8)
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.n == 1


def test_draws_that_miss_a_rare_class_are_left_out_while_they_are_few():
    confusion = np.tile(np.array([[20, 2], [0, 0]]), (1, 14, 1, 1))
    confusion[0, :4, 1, 1] = 5  # 4 of 14 trajectories show the second class: missed by (10/14)^14 = 0.9 % of the draws
    interval = bootstrap(confusion, balanced_accuracy, group_draws(14))
    assert interval.low == pytest.approx((20 / 22 + 1) / 2)


def test_a_measure_that_is_mostly_undefined_has_no_interval():
    confusion = np.tile(np.array([[20, 2], [0, 0]]), (1, 14, 1, 1))
    confusion[0, 0, 1, 1] = 5  # one trajectory: missed by 35 % of the draws
    interval = bootstrap(confusion, balanced_accuracy, group_draws(14))
    assert interval.value == pytest.approx((20 / 22 + 1) / 2)
    assert np.isnan([interval.low, interval.high]).all()


def test_other_groups_than_the_drawn_ones_are_refused():
    with pytest.raises(ValueError, match=r"sums: expected 3 \(or 1\) seeds x 14 groups as in the draws, got 2 x 13"):
        bootstrap(np.ones((2, 13, 2)), ratio, group_draws(14, num_seeds=3))


def test_a_statistic_that_leaves_an_axis_is_refused():
    with pytest.raises(ValueError, match=r"one number per seed, got shape \(1, 4\)"):
        bootstrap(np.ones((1, 14, 4, 2)), ratio, group_draws(14))


def test_no_groups_are_refused():
    with pytest.raises(ValueError, match="num_groups: expected at least 1, got 0"):
        group_draws(0)


def test_the_interquartile_mean_drops_the_outer_quarters():
    assert interquartile_mean(np.array([900, 1, 2, 3, 4, 5, 6, -900])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([7.0, 1.0])) == pytest.approx(4)
    np.testing.assert_allclose(interquartile_mean(np.array([[9, 9], [1, 2], [3, 4], [0, 0]]), axis=0), [2, 3])


@pytest.mark.parametrize(
    ("interval", "arguments", "words"),
    [
        (Interval(25.12, 24.81, 25.43, 3), ("dB",), "25.1 dB [24.8, 25.4]"),
        (Interval(25.12, 24.81, 25.43, 3), (), "25.1 [24.8, 25.4]"),
        (Interval(0.987, 0.9, 1.1, 3), ("times", 2), "0.99 times [0.90, 1.10]"),
        (Interval(25.12, np.nan, np.nan, 1), ("%", 0), "25 %"),
    ],
)
def test_an_interval_in_words(interval, arguments, words):
    assert interval.shown(*arguments) == words
