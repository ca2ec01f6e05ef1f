"""Tables and sentences from made-up answers of which we know what they must say."""

import numpy as np
import pytest

from latent_predictor.scores import Method, Scores
from latent_predictor.tables import evaluation_tables

HORIZONS = (1, 10)
WINDOWS, TRAJECTORIES = 80, 8
GROUPS = np.arange(WINDOWS) % TRAJECTORIES
LABELS = (np.arange(WINDOWS * 2).reshape(WINDOWS, 2) // 3 % 3).astype(np.int8)


def right_in(share, labels=LABELS):
    """Answers of which this share is right: the first ones of every trajectory."""
    is_right = np.arange(WINDOWS)[:, None] < share * WINDOWS
    return np.where(is_right, labels, (labels + 1) % 3).astype(np.int8)


def method(a, b, c, error=1.0, std=1.0):
    return Method(
        classes={judge: right_in(share) for judge, share in zip("abc", (a, b, c), strict=True)},
        error=np.full((WINDOWS, 2), error),
        psnr=np.full((WINDOWS, 2), 20.0),
        std=np.full(2, std),
    )


def scores(changes=None, labels=LABELS, groups=GROUPS) -> Scores:
    """A good model unless `changes` say otherwise; a method that is None was not measured."""
    methods = {
        "real": method(0.95, 0.95, 0.9),
        "reconstruction": method(0.95, 0.95, 0.9),
        "predictor": method(0.8, 0.8, 0.75, error=0.5, std=0.8),
        "no-action twin": method(0.7, 0.7, 0.65, error=0.6),
        "swapped actions": method(0.5, 0.5, 0.45, error=0.9),
        "copy last": method(0.6, 0.6, 0.6),
        "constant mean": method(0.4, 0.4, 0.4, error=0.55, std=0.0),
        "majority class": Method({"label": np.ones((WINDOWS, 2), np.int8)}),
        "state oracle": Method({"label": right_in(0.8)}),
    }
    methods |= changes or {}
    return Scores(HORIZONS, groups, labels, {name: found for name, found in methods.items() if found is not None})


def tables_of(*seeds):
    tables = evaluation_tables(list(seeds), list(range(len(seeds))), dt=0.08, num_draws=200, seed=0)
    return {table.table: table for table in tables}


def sentences(found):
    return " ".join(tables_of(found)["horizons"].conclusions)


def value(table, row, metric, at=10):
    (found,) = [cell for cell in table.rows if (cell.row, cell.at) == (row, at) and cell.metric.startswith(metric)]
    return found.value


def test_the_tables_say_what_the_answers_are():
    tables = tables_of(scores())
    assert list(tables) == ["horizons", "comparisons", "recall", "errors"]
    assert value(tables["horizons"], "predictor", "accuracy [%], judge c") == pytest.approx(75)
    assert value(tables["horizons"], "real", "accuracy [%], judge a") == pytest.approx(95)
    assert value(tables["comparisons"], "predictor - no-action twin, judge c", "difference") == pytest.approx(10)
    assert value(tables["comparisons"], "predictor / state oracle, judge b", "quotient") == pytest.approx(1)
    assert value(tables["comparisons"], "gaming gap", "difference") == pytest.approx((80 - 95) - (75 - 90))
    assert value(tables["errors"], "predictor", "MSE / copy last") == pytest.approx(0.5)
    assert value(tables["errors"], "predictor", "spread / real spread") == pytest.approx(0.8)
    recalls = [value(tables["recall"], "predictor", f"recall of {lane}") for lane in ("left", "center", "right")]
    assert value(tables["horizons"], "predictor", "balanced accuracy") == pytest.approx(np.mean(recalls))


def test_without_judge_b_everything_else_is_said():
    found = scores()
    for measured in found.methods.values():
        measured.classes.pop("b", None)
    tables = tables_of(found)
    assert not any("judge b" in f"{row.row} {row.metric}" for table in tables.values() for row in table.rows)
    said = " ".join(tables["horizons"].conclusions)
    assert "It uses its actions: with the actions of another drive it loses 30.0 points" in said
    assert "(judge c)" in said
    assert said.endswith("There is no judge b: it reads the latents of the run's own VAE, and another one was given.")


def test_several_seeds_are_one_table():
    better = scores({"predictor": method(0.9, 0.9, 0.85)})
    tables = tables_of(scores(), better)
    assert tables["horizons"].seeds == [0, 1]
    assert value(tables["horizons"], "predictor", "accuracy [%], judge c") == pytest.approx(80)


def test_the_first_sentence_is_the_headline():
    first = tables_of(scores())["horizons"].conclusions[0]
    assert first.startswith("**0.8 s ahead the imagined pictures show the right lane in 75.0 % [")
    assert "repeating the last frame gives 60.0 % [" in first


def test_an_honest_model_is_not_accused():
    text = sentences(scores())
    assert "No gaming: between judge a and the pictures lie 0.0 points" in text
    assert "It uses its actions: with the actions of another drive it loses 30.0 points" in text
    assert "is right 1.00 [1.00, 1.00] times as often as a model that is told the true state" in text
    assert "below that of a constant, the mean latent, at 1, 10 frames ahead" in text
    assert "spread" not in text


def test_a_model_that_writes_for_the_classifier_is_called_gaming():
    text = sentences(scores({"predictor": method(0.98, 0.9, 0.4)}))
    assert "**Gaming: the classifier of the loss reads 5" in text  # (97.5 - 95) - (40 - 90) = 52.5 points
    assert "No gaming" not in text


def test_a_gap_that_may_be_chance_is_neither_called_gaming_nor_none():
    predictor = method(0.8, 0.8, 0.75)
    predictor.classes["c"][GROUPS == 0] = (LABELS[GROUPS == 0] + 1) % 3  # one odd drive
    text = sentences(scores({"predictor": predictor}))
    assert "Perhaps gaming" in text
    assert "too few drives to be sure" in text


def test_a_model_that_ignores_its_actions_is_said_to():
    text = sentences(scores({"swapped actions": method(0.8, 0.8, 0.75)}))
    assert "**It does not visibly use its actions**" in text
    assert "it loses 0.0 points" in text


def test_a_model_that_is_no_better_than_a_constant_is_said_to_be():
    text = sentences(scores({"constant mean": method(0.4, 0.4, 0.4, error=0.4)}))
    assert "at no horizon surely below that of a constant" in text


@pytest.mark.parametrize(("std", "meaning"), [(0.3, "the mean of what could happen"), (2.0, "it drifts")])
def test_a_collapsed_and_a_drifting_model_are_told_apart(std, meaning):
    assert meaning in sentences(scores({"predictor": method(0.8, 0.8, 0.75, std=std)}))


def test_what_was_not_measured_is_not_mentioned():
    text = sentences(scores({"no-action twin": None, "swapped actions": None, "state oracle": None}))
    assert "actions" not in text
    assert "told the true state" not in text


def test_unlabelled_data_have_errors_and_no_accuracy():
    unlabelled = np.full_like(LABELS, -1)
    tables = tables_of(scores(labels=unlabelled))
    assert list(tables) == ["errors"]
    assert not any("accuracy" in row.metric for row in tables["errors"].rows)


def test_a_trajectory_without_labels_counts_in_no_accuracy():
    labels = LABELS.copy()
    labels[GROUPS < 6] = -1
    kept = GROUPS >= 6
    by_hand = 100 * np.mean(right_in(0.75)[kept, 1] == LABELS[kept, 1])
    tables = tables_of(scores(labels=labels))
    assert value(tables["horizons"], "predictor", "accuracy [%], judge c") == pytest.approx(by_hand)
    assert value(tables["horizons"], "predictor", "balanced accuracy") is not None


def test_one_trajectory_gives_figures_without_intervals():
    tables = tables_of(scores({"swapped actions": None}, groups=np.zeros(WINDOWS, int)))
    (cell,) = [row for row in tables["errors"].rows if (row.row, row.metric, row.at) == ("predictor", "PSNR [dB]", 10)]
    assert (cell.value, cell.low, cell.high, cell.n) == (20, None, None, 1)
    assert "nan" not in " ".join(tables["horizons"].conclusions)


def test_a_single_window_has_no_spread():
    one = scores({name: method(1, 1, 1, std=0.0) for name in ("real", "predictor", "no-action twin", "copy last")})
    assert value(tables_of(one)["errors"], "predictor", "spread") is None
    assert "spread" not in sentences(one)
