"""Every figure against plain loops over made-up answers."""

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from latent_predictor.scores import Comparison, Method, Scores, accuracy, balanced_accuracy, recall

HORIZONS = (1, 10)
WINDOWS, TRAJECTORIES = 60, 4
GROUPS = np.arange(WINDOWS) % TRAJECTORIES


def made_up(seed=0, labels=None) -> Scores:
    """Answers that are mostly right for judge a and less so for judge c; some labels are unknown."""
    rng = np.random.default_rng(seed)
    if labels is None:
        labels = np.random.default_rng(99).integers(-1, 3, (WINDOWS, 2)).astype(np.int8)

    def answers(share):
        return np.where(rng.random((WINDOWS, 2)) < share, labels, rng.integers(0, 3, (WINDOWS, 2))).astype(np.int8) % 3

    def method(a, b, c):
        return Method(
            classes={"a": answers(a), "b": answers(b), "c": answers(c)},
            error=rng.random((WINDOWS, 2)),
            psnr=20 + rng.random((WINDOWS, 2)),
            std=rng.random(2),
        )

    methods = {
        "real": method(0.95, 0.95, 0.9),
        "reconstruction": method(0.9, 0.9, 0.85),
        "predictor": method(0.8, 0.7, 0.6),
        "copy last": method(0.5, 0.5, 0.5),
        "majority class": Method({"label": np.ones((WINDOWS, 2), np.int8)}),
    }
    return Scores(HORIZONS, GROUPS, labels, methods)


def pairs(scores, method, judge, horizon):
    """(label, answer) of the windows whose label is known."""
    column = HORIZONS.index(horizon)
    answers = scores.methods[method].classes[judge]
    return [
        (int(label), int(answer))
        for label, answer in zip(scores.labels[:, column], answers[:, column], strict=True)
        if label >= 0
    ]


def share(found):
    found = list(found)
    return 100 * sum(found) / len(found)


def right(found):
    return share(label == answer for label, answer in found)


def test_the_confusion_matrix_counts_label_by_answer_and_trajectory():
    scores, expected = made_up(), np.zeros((TRAJECTORIES, 3, 3), int)
    for window in range(WINDOWS):
        label, answer = scores.labels[window, 1], scores.methods["predictor"].classes["b"][window, 1]
        if label >= 0:
            expected[GROUPS[window], label, answer] += 1
    assert np.array_equal(scores.confusion("predictor", "b", 10), expected)
    assert expected.sum() == (scores.labels[:, 1] >= 0).sum() < WINDOWS


@pytest.mark.parametrize("judge", "abc")
@pytest.mark.parametrize("horizon", HORIZONS)
def test_accuracy_is_the_share_of_right_answers(judge, horizon):
    scores = made_up()
    found = Comparison.of([scores]).classes("predictor", judge, horizon)
    assert found.value == pytest.approx(right(pairs(scores, "predictor", judge, horizon)))
    assert found.low < found.value < found.high
    assert found.n == TRAJECTORIES


def test_balanced_accuracy_is_the_mean_recall():
    scores = made_up()
    found = pairs(scores, "predictor", "c", 10)
    recalls = [right([pair for pair in found if pair[0] == lane]) for lane in range(3)]
    comparison = Comparison.of([scores])
    assert comparison.classes("predictor", "c", 10, balanced_accuracy).value == pytest.approx(np.mean(recalls))
    for lane in range(3):
        assert comparison.classes("predictor", "c", 10, recall(lane)).value == pytest.approx(recalls[lane])


def test_balanced_accuracy_leaves_out_a_lane_that_does_not_occur():
    confusions = np.array([[[3, 1, 0], [0, 0, 0], [1, 0, 1]], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]])
    assert balanced_accuracy(confusions) == pytest.approx([(75 + 50) / 2, 0])
    assert accuracy(confusions) == pytest.approx([100 * 4 / 6, 0])


def test_a_method_that_names_the_lane_has_the_same_answers_for_every_judge():
    scores = made_up()
    always_center = share(label == 1 for label in scores.labels[:, 0] if label >= 0)
    for judge in "abc":
        assert scores.has("majority class", judge)
        assert Comparison.of([scores]).classes("majority class", judge, 1).value == pytest.approx(always_center)


def test_the_gaming_gap_is_what_the_classifier_gains_beyond_the_pictures():
    scores = made_up()

    def by_hand(horizon):
        a, a_real = (right(pairs(scores, name, "a", horizon)) for name in ("predictor", "real"))
        c, c_real = (right(pairs(scores, name, "c", horizon)) for name in ("predictor", "reconstruction"))
        return (a - a_real) - (c - c_real)

    for horizon in HORIZONS:
        assert Comparison.of([scores]).gaming("predictor", horizon).value == pytest.approx(by_hand(horizon))


def test_the_relative_error_is_a_quotient_of_sums():
    scores = made_up()
    errors = [sum(scores.methods[name].error[:, 1]) for name in ("predictor", "copy last")]
    found = Comparison.of([scores]).relative_error("predictor", "copy last", 10)
    assert found.value == pytest.approx(errors[0] / errors[1])
    assert found.low < found.value < found.high


def test_a_mean_is_over_all_windows_whether_labelled_or_not():
    scores = made_up()
    found = Comparison.of([scores]).mean("predictor", "psnr", 1)
    assert found.value == pytest.approx(sum(scores.methods["predictor"].psnr[:, 0]) / WINDOWS)


def test_the_quotient_of_two_methods_is_that_of_their_accuracies():
    scores = made_up()
    by_hand = right(pairs(scores, "predictor", "b", 1)) / right(pairs(scores, "copy last", "b", 1))
    assert Comparison.of([scores]).quotient("predictor", "copy last", "b", 1).value == pytest.approx(by_hand)


def test_the_spread_is_compared_with_that_of_real_latents():
    scores = [made_up(seed) for seed in (0, 1)]
    ratios = [s.methods["predictor"].std[1] / s.methods["real"].std[1] for s in scores]
    assert Comparison.of(scores).std_ratio("predictor", 10) == pytest.approx(np.mean(ratios))


def test_several_seeds_are_averaged():
    seeds = [made_up(seed) for seed in (0, 1, 2)]
    by_hand = np.mean([right(pairs(scores, "predictor", "c", 10)) for scores in seeds])
    assert Comparison.of(seeds).classes("predictor", "c", 10).value == pytest.approx(by_hand)


def test_seeds_on_other_windows_are_not_compared():
    with pytest.raises(ValueError, match="expected the same windows for every seed"):
        Comparison.of([made_up(), made_up(labels=np.ones((WINDOWS, 2), np.int8))])


def test_a_difference_is_paired():
    """Two methods that share what is hard: each one's interval is wide, that of their difference is narrow."""
    rng = np.random.default_rng(0)
    labels = np.ones((WINDOWS, 2), np.int8)
    hardness = np.array([0.0, 0.2, 0.6, 1.0])[GROUPS]
    theirs = np.where(rng.random((WINDOWS, 2)) < hardness[:, None], 1, 0).astype(np.int8)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs[:, 0] == 0)[:6]] = 1  # the same answers, and six right ones more
    methods = {name: Method({"c": answers}) for name, answers in {"ours": ours, "theirs": theirs}.items()}
    comparison = Comparison.of([Scores(HORIZONS, GROUPS, labels, methods)])
    own = comparison.classes("ours", "c", 1)
    difference = comparison.classes_difference("ours", "theirs", "c", 1)
    assert difference.value == pytest.approx(100 * 6 / WINDOWS)
    assert difference.high - difference.low < (own.high - own.low) / 2


def test_a_difference_to_another_recipe_uses_the_same_trajectories():
    best, plain = (Comparison.of([made_up(seed), made_up(seed + 1)]) for seed in (0, 10))
    found = best.classes_difference("predictor", "predictor", "c", 10, other=plain)
    values = [comparison.classes("predictor", "c", 10).value for comparison in (best, plain)]
    assert found.value == pytest.approx(values[0] - values[1])
    assert best.classes_difference("predictor", "predictor", "c", 10, other=best).high == 0


def test_scores_come_back_as_they_were_saved(tmp_path):
    saved = made_up()
    saved.save(tmp_path / "scores.npz")
    loaded = Scores.load(tmp_path / "scores.npz")
    assert loaded.horizons == saved.horizons
    assert np.array_equal(loaded.groups, saved.groups)
    assert np.array_equal(loaded.labels, saved.labels)
    assert list(loaded.methods) == list(saved.methods)
    for name, method in saved.methods.items():
        again = loaded.methods[name]
        assert method.classes.keys() == again.classes.keys()
        assert all(np.array_equal(answers, again.classes[judge]) for judge, answers in method.classes.items())
        for part in ("error", "psnr", "std"):
            before, after = getattr(method, part), getattr(again, part)
            assert (before is None and after is None) or np.array_equal(before, after)


def write_text(path):
    path.write_text("not an archive")


def write_other_arrays(path):
    np.savez(path, frames=np.zeros(3))


def write_pickle(path):
    np.savez(path, horizons=np.array([{}], dtype=object), groups=np.zeros(1), labels=np.zeros(1))


def write_half(path):
    np.savez(path, horizons=np.arange(3), groups=np.zeros(1), labels=np.zeros(1))
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize("make", [write_text, write_other_arrays, write_pickle, write_half, lambda path: None])
def test_a_foreign_file_is_refused_in_one_line(tmp_path, make):
    make(tmp_path / "scores.npz")
    with pytest.raises(UserError) as caught:
        Scores.load(tmp_path / "scores.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'scores.npz'}: expected the scores of an evaluation, got ")
    assert "\n" not in str(caught.value)
