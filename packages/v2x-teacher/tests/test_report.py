"""The report of an evaluation: the cases that it says it shows, and plots in which a collapse can be seen."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drivelab_shared import results
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.evaluate import evaluate, score
from v2x_teacher.evaluation_plots import error_over_time, learning_curves, range_scatter, within_scale
from v2x_teacher.evaluation_report import chosen_cases, write_report
from v2x_teacher.figures import Comparison
from v2x_teacher.inputs import step_times
from v2x_teacher.scores import Method, Scores
from v2x_teacher.tables import evaluation_tables
from v2x_teacher.trained import TrainedRun, open_trained

SETTINGS = EvaluateSettings(num_bootstrap=20, device="cpu")


@pytest.fixture(scope="module")
def trained(tiny_run) -> TrainedRun:
    return open_trained(tiny_run, torch.device("cpu"), SETTINGS)


@pytest.fixture(scope="module")
def scores(trained) -> Scores:
    return score(trained, SETTINGS)[0]


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    evaluate(replace(SETTINGS, run_dir=tiny_run, output_dir=folder))
    return folder


@pytest.fixture(scope="module")
def page(evaluated) -> str:
    return (evaluated / "report.html").read_text()


def pictures(page: str) -> list[str]:
    return [html.unescape(alt) for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page)]


def test_worst_median_and_best_are_the_ones_that_they_are_called(page, scores):
    errors = np.sort(np.linalg.norm(scores.methods["teacher"].trajectories - scores.truth, axis=-1).mean(axis=1))
    count = len(errors)
    expected = [
        f"Worst of {count} samples: off by {errors[-1]:.2f} m on average",
        f"Median of {count} samples: off by {errors[count // 2]:.2f} m on average",
        f"Best of {count} samples: off by {errors[0]:.2f} m on average",
    ]
    assert pictures(page)[:3] == expected


def test_conclusions_come_first_and_every_table_is_there(page, evaluated):
    assert page.index("What to conclude") < page.index("Conventions.") < page.index("<img")
    for table in results.read(evaluated / "results.json"):
        assert html.escape(table.title) in page


def test_the_factor_between_the_two_conventions_is_the_measured_one(page, scores):
    errors = np.linalg.norm(scores.methods["teacher"].trajectories - scores.truth, axis=-1)
    steps = [24, 34, 44]
    point = errors[:, steps].mean()
    until = np.mean([errors[:, : step + 1].mean() for step in steps])
    assert f"here {point:.2f} m and {until:.2f} m, a factor of {point / until:.1f}" in page


def test_of_hidden_cross_traffic_the_case_is_shown_that_the_motion_alone_foretells_worst(trained, scores):
    samples, rows, real = trained.inputs.samples, trained.rows("test"), trained.inputs.recording
    surprise = scores.errors("CTRV").l2.mean(axis=1)
    hidden = np.argsort(surprise)[1:3]
    by_frame = {(samples.pairs[row].sequence, samples.pairs[row].vehicle_id): row for row in rows[hidden]}
    # 20 m ahead, 8 m to the right, driving to the left.
    ego_from_box = np.array([[0.0, -1, 0, 20], [1, 0, 0, -8], [0, 0, 1, 0.3], [0, 0, 0, 1]])

    def boxes(sequence: str, vehicle_id: str) -> list:
        row = by_frame.get((sequence, vehicle_id))
        if row is None:
            return []
        return [replace(a_box(real), seen_by="inf", world_from_box=samples.world_from_ego[row] @ ego_from_box)]

    shown = list(chosen_cases(scores, replace(real, boxes=boxes), samples, rows))
    assert shown[3] == (
        hidden[1],
        "Hidden cross traffic: of 2 samples the one that the motion alone foretells worst",
    )
    assert len(list(chosen_cases(scores, replace(real, boxes=lambda *_: []), samples, rows))) == 3


def a_box(recording) -> object:
    pairs = ((pair.sequence, pair.vehicle_id) for pair in recording.pairs)
    return next(box for pair in pairs for box in recording.boxes(*pair) or ())


def test_errors_over_time_are_the_means_at_each_half_second(scores, trained):
    figure = error_over_time(Comparison([scores], 10), step_times(trained.inputs.samples))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["ego MLP", "teacher", "CTRV", "train mean"]
    x, y = lines["teacher"].get_data()
    np.testing.assert_allclose(x, np.arange(1, 10) / 2)
    errors = np.linalg.norm(scores.methods["teacher"].trajectories - scores.truth, axis=-1)
    np.testing.assert_allclose(y, errors.mean(axis=0)[4::5], rtol=1e-6)


def collapsed(scores: Scores) -> Scores:
    mean = scores.methods["train mean"]
    return replace(scores, methods=dict(scores.methods) | {"teacher": mean})


def test_a_collapse_is_a_flat_line_of_points_in_both_panels(scores):
    for axes in range_scatter(collapsed(scores)).axes:
        driven, predicted = axes.collections[0].get_offsets().T
        assert np.ptp(predicted) < 1e-5
        assert np.ptp(driven) > 0.05
        assert predicted[0] == pytest.approx(axes.lines[1].get_ydata()[0], abs=1e-5)  # on the dashed line
    alive = range_scatter(scores).axes[0].collections[0].get_offsets()
    assert np.ptp(alive[:, 1]) > 5


def test_learning_curves_show_every_stage_epoch_by_epoch(tiny_run, tmp_path):
    (errors, _), (spread, _) = learning_curves(tiny_run)
    logged = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    teacher = [line for line in logged if line["split"] == "val" and line["stage"] == "teacher"]
    lines = {line.get_label(): line.get_ydata() for line in errors.axes[0].lines}
    assert list(lines) == ["ego MLP", "teacher", "trained without infrastructure", "train mean"]
    np.testing.assert_allclose(lines["teacher"], [line["ade_m"] for line in teacher])
    assert [line.get_label() for line in spread.axes[0].lines] == ["teacher, x", "teacher, y", "as the truth"]
    assert learning_curves(tmp_path) == []


def test_a_run_of_one_epoch_has_no_curve(tiny_run, tmp_path):
    first = (tiny_run / "metrics.jsonl").read_text().splitlines()
    val = next(line for line in first if json.loads(line)["split"] == "val")
    (tmp_path / "metrics.jsonl").write_text(val + "\n")
    assert learning_curves(tmp_path) == []


def test_a_figure_that_was_not_finite_leaves_a_hole(tmp_path):
    rows = [{"step": s, "split": "val", "stage": "teacher", "ade_m": ade, "train_mean_ade_m": 5.0, "spread_x": None,
             "spread_y": 0.5} for s, ade in ((1, None), (2, 3.0))]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (errors, _), _ = learning_curves(tmp_path)
    np.testing.assert_array_equal(errors.axes[0].lines[0].get_ydata(), [np.nan, 3.0])


def test_63_percent_of_errors_lie_within_a_laplace_scale():
    error = np.array([0.9, 1.1, 4.0, np.nan])
    method = Method(np.zeros((1, 4, 2)), scale=np.full((1, 4, 2), 1.0))
    truth = np.stack([error, -error], axis=-1)[None]
    inside = within_scale(method, truth, 1 - np.exp(-1))  # where -log(1 - share) is 1
    np.testing.assert_array_equal(inside[0, :, 0], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(inside[0, :, 1], [1, 0, 0, np.nan])
    # 95 %: -log(0.05) is 3.0
    np.testing.assert_array_equal(within_scale(method, truth, 0.95)[0, :, 0], [1, 1, 0, np.nan])


def test_the_report_says_how_far_the_scale_can_be_trusted(trained, scores, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.laplace(0.0, 2.0, scores.truth.shape)
    sure = Method(scores.truth + noise, scale=np.full(scores.truth.shape, 1.0))  # half of what it should be
    known = replace(scores, methods=dict(scores.methods) | {"teacher": sure})
    tables = evaluation_tables([known], {}, [0], trained, SETTINGS)
    write_report(tmp_path / "report.html", tables, known, trained, SETTINGS)
    text = re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text())
    shares = [float(share) for share in re.findall(r"within it lie (\d+) % \(x\) and (\d+) % \(y\)", text)[0]]
    assert shares == pytest.approx([39, 39], abs=5)  # 1 - exp(-1 / 2)


def test_results_keep_their_own_conclusions(evaluated):
    """The report replaces them by what to know before reading a table; the file must not."""
    errors = results.read(evaluated / "results.json")[0]
    assert any("off by" in sentence for sentence in errors.conclusions)
