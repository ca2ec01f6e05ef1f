"""Scores are kept as they are, and every figure is what a plain loop over samples gives."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.collisions import Traffic
from v2x_teacher.comfort import violations
from v2x_teacher.data.labels import Samples
from v2x_teacher.data.recording import Pair
from v2x_teacher.figures import ADE, Comparison, figures
from v2x_teacher.metrics import mode_errors, spread_ratio
from v2x_teacher.scores import Method, Scores

HORIZONS = (2.5, 3.5, 4.5)
NUM, STEPS = 40, 45
SEQUENCES = tuple(f"s{i % 5}" for i in range(NUM))
FIGURES = figures(HORIZONS)
NAN = float("nan")


def made_up(seed=0, truth=None):
    """Four methods on drives of five sequences; the last steps of some samples are not known."""
    rng = np.random.default_rng(seed)
    if truth is None:
        truth = np.cumsum(np.random.default_rng(99).normal([0.8, 0.0], 0.2, (NUM, STEPS, 2)), axis=1)
        truth[::7, 35:] = NAN
        truth = truth.astype(np.float32)
    known = np.nan_to_num(truth)
    evaluated = np.random.default_rng(98).random((NUM, STEPS)) < 0.8
    evaluated[3] = False

    def method(noise, **more):
        path = known + noise * rng.normal(0, 1, known.shape).cumsum(axis=1)
        return Method(path.astype(np.float32), collides=(rng.random((NUM, STEPS)) < 0.05) & evaluated, **more)

    modes = (known[:, None] + rng.normal(0, 3, (NUM, 3, STEPS, 2))).astype(np.float32)
    methods = {
        "teacher": method(0.1, modes=modes),
        "ctrv": method(0.3, scale=np.ones((NUM, STEPS, 2), np.float32)),
        "train mean": Method(np.broadcast_to(np.float32(1.0), truth.shape)),
        "ego MLP/2": method(0.2),
    }
    ids = tuple(f"{sequence}/{i:06d}" for i, sequence in enumerate(SEQUENCES))
    return Scores(ids, SEQUENCES, truth, np.full(NUM, 8.0, np.float32), methods, evaluated)


def distances(scores, method):
    """(sample, step, distance) of every step that is known."""
    for n in range(NUM):
        for k in range(STEPS):
            (px, py), (x, y) = scores.methods[method].trajectories[n, k], scores.truth[n, k]
            if not math.isnan(x):
                yield n, k, math.hypot(float(px) - float(x), float(py) - float(y))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def value(name, method, scores=None):
    return Comparison([scores or made_up()]).interval(FIGURES[name], method).value


# --- figures by hand ---


def test_every_displacement_is_a_mean_over_what_is_known():
    found = list(distances(made_up(), "ctrv"))
    assert len(found) == NUM * STEPS - 6 * 10
    point = {h: mean(d for _, k, d in found if k == round(h * 10) - 1) for h in HORIZONS}
    until = {h: mean(d for _, k, d in found if k < round(h * 10)) for h in HORIZONS}
    assert value("ade_m", "ctrv") == pytest.approx(mean(d for _, _, d in found))
    assert value("fde_m", "ctrv") == pytest.approx(point[4.5])
    assert value("miss_percent", "ctrv") == pytest.approx(100 * mean(d > 2 for _, k, d in found if k == 44))
    for h in HORIZONS:
        assert value(f"l2_{h:g}s_m", "ctrv") == pytest.approx(point[h])
        assert value(f"l2_to_{h:g}s_m", "ctrv") == pytest.approx(until[h])
    assert value("l2_avg_m", "ctrv") == pytest.approx(mean(point.values()))
    assert value("l2_to_avg_m", "ctrv") == pytest.approx(mean(until.values()))


def test_collisions_are_shares_of_what_was_evaluated():
    scores = made_up()
    hits, evaluated = scores.methods["teacher"].collides, scores.evaluated
    at, to = {}, {}
    for h in HORIZONS:
        steps = round(h * 10)
        at[h] = 100 * mean(hits[n, steps - 1] for n in range(NUM) if evaluated[n, steps - 1])
        to[h] = 100 * mean(hits[n, :steps].any() for n in range(NUM) if evaluated[n, :steps].any())
        assert value(f"collision_{h:g}s_percent", "teacher") == pytest.approx(at[h])
        assert value(f"collision_to_{h:g}s_percent", "teacher") == pytest.approx(to[h])
    assert value("collision_avg_percent", "teacher") == pytest.approx(mean(at.values()))
    assert value("collision_to_avg_percent", "teacher") == pytest.approx(mean(to.values()))
    assert 0 < at[2.5] < to[2.5] < to[4.5] < 100


def test_the_spread_is_that_of_all_samples_together():
    scores = made_up()
    by_hand = spread_ratio(scores.methods["teacher"].trajectories, scores.truth)
    assert [value("spread_x", "teacher"), value("spread_y", "teacher")] == pytest.approx(by_hand.tolist())
    assert value("spread_x", "train mean") == 0


def test_the_other_figures_are_means_of_their_parts():
    scores = made_up()
    errors, teacher = scores.errors("teacher"), scores.methods["teacher"]
    best = mode_errors(teacher.modes, scores.truth)
    # Predictions are complete, so all of them are judged.
    uncomfortable = mean(any(v[n] for v in violations(teacher.trajectories).values()) for n in range(NUM))
    for name, expected in {
        "longitudinal_m": np.nanmean(np.abs(errors.longitudinal)),
        "lateral_m": np.nanmean(np.abs(errors.lateral)),
        "heading_deg": np.degrees(np.nanmean(errors.heading)),
        "uncomfortable_percent": 100 * uncomfortable,
        "min_ade_m": np.nanmean(best.ade),
        "min_fde_m": np.nanmean(best.fde),
        "min_miss_percent": 100 * np.nanmean(best.missed),
    }.items():
        assert value(name, "teacher") == pytest.approx(expected), name


def test_what_a_method_does_not_have_is_not_a_number():
    for name, method in {"collision_2.5s_percent": "train mean", "collision_to_avg_percent": "train mean",
                         "min_ade_m": "ctrv", "min_miss_percent": "ctrv"}.items():  # fmt: skip
        interval = Comparison([made_up()]).interval(FIGURES[name], method)
        assert math.isnan(interval.value)
        assert math.isnan(interval.low)


def test_a_horizon_beyond_the_prediction_is_refused():
    with pytest.raises(ValueError, match=r"horizons_s: expected 0\.1 to 4\.5 s, got 6"):
        figures((2.5, 6.0))


# --- intervals ---


def test_an_interval_draws_whole_sequences():
    """Equal errors within a sequence: the interval is that of five numbers, however many samples there are."""
    scores = made_up()
    offset = np.array([int(sequence[1]) for sequence in SEQUENCES], dtype=np.float32)
    path = np.nan_to_num(scores.truth) + [1, 0] * offset[:, None, None]
    scores = replace(scores, methods={"off": Method(path)})
    found = Comparison([scores], num_draws=2000).interval(FIGURES["l2_2.5s_m"], "off")
    assert found.value == pytest.approx(2.0, rel=1e-5)
    rng = np.random.default_rng(1)
    edges = np.percentile(rng.integers(0, 5, (2000, 5)).mean(axis=1), [2.5, 97.5])
    assert [found.low, found.high] == pytest.approx(edges, abs=0.21)
    assert found.n == 5


def test_several_seeds_are_averaged():
    seeds = [made_up(seed) for seed in range(3)]
    by_hand = mean(value("ade_m", "teacher", scores) for scores in seeds)
    assert Comparison(seeds).interval(ADE, "teacher").value == pytest.approx(by_hand)


def test_skill_is_the_share_of_the_baselines_error_that_is_gone():
    comparison = Comparison([made_up(seed) for seed in range(3)])
    by_hand = mean(1 - value("ade_m", "teacher", s) / value("ade_m", "ctrv", s) for s in comparison.seeds)
    found = comparison.skill("teacher", "ctrv")
    assert found.value == pytest.approx(by_hand)
    assert found.low < found.value < found.high
    same = comparison.skill("ctrv", "ctrv")
    assert (same.low, same.value, same.high) == (0, 0, 0)


@pytest.mark.parametrize("name", ["ade_m", "l2_avg_m", "spread_x"])
def test_a_quotient_is_that_of_the_figures_whatever_they_are_made_of(name):
    comparison = Comparison([made_up()])
    found = comparison.quotient(FIGURES[name], "teacher", "ctrv")
    assert found.value == pytest.approx(value(name, "teacher") / value(name, "ctrv"))


def test_a_difference_is_paired():
    """A method that is always 0.1 m worse than another one: the difference is certain, the two figures are not."""
    scores = made_up()
    theirs = scores.methods["ctrv"].trajectories
    direction = theirs - np.nan_to_num(scores.truth)
    worse = theirs + 0.1 * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    scores.methods["worse"] = Method(worse)
    comparison = Comparison([scores])
    found = comparison.difference(ADE, "worse", "ctrv")
    assert [found.low, found.value, found.high] == pytest.approx([0.1] * 3, abs=1e-4)
    own = comparison.interval(ADE, "ctrv")
    assert own.high - own.low > 0.05


def test_another_recipe_is_compared_on_the_same_draws():
    ours, theirs = (Comparison([made_up(seed), made_up(seed + 1)]) for seed in (0, 10))
    found = ours.difference(ADE, "teacher", "teacher", other=theirs)
    values = [comparison.interval(ADE, "teacher").value for comparison in (ours, theirs)]
    assert found.value == pytest.approx(values[0] - values[1])
    assert ours.difference(ADE, "teacher", "teacher", other=ours).high == 0


def test_a_baseline_with_one_seed_is_compared_with_several():
    ours, one = Comparison([made_up(seed) for seed in range(3)]), Comparison([made_up(7)])
    by_hand = mean(1 - value("ade_m", "teacher", s) / value("ade_m", "ctrv", one.seeds[0]) for s in ours.seeds)
    assert ours.skill("teacher", "ctrv", other=one).value == pytest.approx(by_hand)


def test_a_part_of_the_samples_is_compared_on_the_sequences_that_have_it():
    comparison, chosen = Comparison([made_up(0), made_up(1)]), np.zeros(NUM, dtype=bool)
    chosen[[0, 1, 5, 6, 10]] = True  # of s0 and s1
    found = comparison.on(chosen).interval(FIGURES["l2_2.5s_m"], "teacher")
    at = [[d for n, k, d in distances(s, "teacher") if chosen[n] and k == 24] for s in comparison.seeds]
    assert found.value == pytest.approx(mean(mean(values) for values in at))
    assert found.n == 2
    assert math.isfinite(comparison.on(chosen).interval(FIGURES["collision_2.5s_percent"], "teacher").value)


def test_other_samples_are_not_compared():
    with pytest.raises(ValueError, match="expected the same samples"):
        Comparison([made_up(), made_up(truth=np.zeros((NUM, STEPS, 2), np.float32))])
    fewer = Comparison([made_up().take(np.arange(NUM) < 30)])
    with pytest.raises(ValueError, match="expected the same samples"):
        Comparison([made_up()]).difference(ADE, "teacher", "teacher", other=fewer)


# --- from samples, and files ---


def test_scores_take_over_samples_and_look_for_collisions():
    truth = np.zeros((2, STEPS, 2), np.float32)
    pairs = tuple(Pair(f"00000{i}", None, "s", "test", i, None, Path(), None) for i in range(2))
    samples = Samples(
        pairs=pairs, sequences=("s", "s"), truth=truth, ego=np.float32([[3, 4, 0, 0], [1, 0, 0, 0]]),
        history_s=np.ones(2), world_from_ego=np.tile(np.eye(4), (2, 1, 1)), excluded=Counter(), forward_axis="x",
    )  # fmt: skip
    # One car, 10 m ahead of the first sample at step 5.
    rectangle = np.float32([[10, 0, 0, 4, 2]])
    traffic = Traffic(truth, np.ones((2, STEPS), bool), np.array([5]), rectangle)
    methods = {"stays": Method(truth), "jumps": Method(truth + np.float32([10, 0]))}
    scores = Scores.of(samples, methods, traffic, (4.0, 2.0))
    assert scores.ids == ("s/000000", "s/000001")
    assert scores.ego_speed_mps.tolist() == [5, 1]
    assert scores.evaluated.all()
    assert not scores.methods["stays"].collides.any()
    assert np.argwhere(scores.methods["jumps"].collides).tolist() == [[0, 5]]
    without = Scores.of(samples, methods, None, (4.0, 2.0))
    assert without.evaluated is None
    assert without.methods["jumps"].collides is None


def test_scores_come_back_as_they_were_saved(tmp_path):
    saved = made_up()
    saved.save(tmp_path / "scores.npz")
    loaded = Scores.load(tmp_path / "scores.npz")
    assert (loaded.ids, loaded.sequences, list(loaded.methods)) == (saved.ids, saved.sequences, list(saved.methods))
    assert np.array_equal(loaded.truth, saved.truth, equal_nan=True)
    assert np.array_equal(loaded.evaluated, saved.evaluated)
    assert np.array_equal(loaded.ego_speed_mps, saved.ego_speed_mps)
    for name, method in saved.methods.items():
        for part in ("trajectories", "scale", "modes", "collides"):
            before, after = getattr(method, part), getattr(loaded.methods[name], part)
            assert (before is None and after is None) or np.array_equal(before, after)


def test_scores_without_collisions_come_back_without_them(tmp_path):
    saved = replace(made_up(), evaluated=None, methods={"still": Method(np.zeros((NUM, STEPS, 2), np.float32))})
    saved.save(tmp_path / "scores.npz")
    assert Scores.load(tmp_path / "scores.npz").evaluated is None


def changed(**changes):
    """Writes scores of which some arrays were exchanged; None leaves one out."""

    def write(path):
        made_up().save(path)
        with np.load(path) as file:
            arrays = dict(file) | changes
        np.savez(path, **{name: values for name, values in arrays.items() if values is not None})

    return write


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def cut(path):
    made_up().save(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("not an archive"),
        lambda path: path.write_bytes(b""),
        lambda path: None,
        cut,
        one_array,
        changed(truth=None),
        changed(truth=np.zeros(3)),
        changed(truth=np.full((NUM, STEPS, 2), "far")),
        changed(ids=np.array(["one"])),
        changed(ids=np.array([{}], dtype=object)),
        changed(evaluated=np.zeros((NUM, 3), bool)),
        changed(**{"ctrv/trajectories": np.zeros((NUM, STEPS, 3))}),
        changed(**{"ctrv/trajectories": None}),
        changed(**{"ctrv/weights": np.zeros(3)}),
        changed(**{"ctrv/modes": np.zeros(3)}),
        changed(**{"ctrv/collides": np.zeros((NUM, STEPS, 2))}),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, write):
    write(tmp_path / "scores.npz")
    with pytest.raises(UserError) as caught:
        Scores.load(tmp_path / "scores.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'scores.npz'}: expected the scores of an evaluation, got ")
    assert "\n" not in str(caught.value)
