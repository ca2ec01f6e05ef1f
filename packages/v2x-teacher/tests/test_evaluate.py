"""Evaluation of the tiny run: every row against what its network says sample by sample, and the files it writes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from v2x_teacher import evaluation_report
from v2x_teacher.cli import main
from v2x_teacher.config import EvaluateSettings, LabelSettings, MakeDataSettings
from v2x_teacher.data.make_data import make_data
from v2x_teacher.evaluate import evaluate, evaluate_run, score
from v2x_teacher.features import encode_views
from v2x_teacher.scores import Scores
from v2x_teacher.tables import evaluation_tables
from v2x_teacher.train import train
from v2x_teacher.trained import TrainedRun, open_trained

CPU = torch.device("cpu")
QUICK = EvaluateSettings(num_bootstrap=50, device="cpu")
FILES = ["report.html", "results.json", "scores.npz", "situations.npz"]


@pytest.fixture(scope="module")
def trained(tiny_run) -> TrainedRun:
    return open_trained(tiny_run, CPU, QUICK)


@pytest.fixture(scope="module")
def scored(trained) -> tuple[Scores, dict[str, np.ndarray]]:
    return score(trained, QUICK)


@pytest.fixture(scope="module")
def scores(scored) -> Scores:
    return scored[0]


@pytest.fixture(scope="module")
def tables(trained, scored) -> dict[str, results.Table]:
    return {table.table: table for table in evaluation_tables([scored[0]], scored[1], [0], trained, QUICK)}


@pytest.fixture
def _no_pictures(monkeypatch):
    """Drawing takes longer than all that is looked at here; `test_report` looks at the page."""
    monkeypatch.setattr(evaluation_report, "write_report", lambda path, *_: path.write_text("report"))


def value(table, row, metric, at=None):
    (found,) = [cell.value for cell in table.rows if (cell.row, cell.metric, cell.at) == (row, metric, at)]
    return found


# --- every row


def test_every_method_is_there_on_all_test_samples(trained, scores):
    assert list(scores.methods) == [
        *("teacher", "trained without infrastructure", "ego MLP", "shuffled pictures"),
        *("infrastructure picture greyed", "CTRV", "CV", "train mean", "train median", "driven", "stand still"),
    ]
    rows = trained.rows("test")
    assert list(scores.ids) == [trained.inputs.samples.ids[row] for row in rows]
    np.testing.assert_array_equal(scores.truth, trained.inputs.samples.truth[rows])
    assert len(set(scores.sequences)) == 2


@torch.no_grad()
def answer(network, features, inputs, row) -> np.ndarray:
    """What a network says of one sample alone, in metres."""
    read = None if features is None else torch.from_numpy(np.array(features[None]))
    ego, prior = (torch.from_numpy(array[row][None]) for array in (inputs.samples.ego, inputs.prior))
    return network.head.metres(network(read, ego).mean, prior)[0].numpy()


def test_learned_rows_are_what_their_networks_say_sample_by_sample(trained, scores):
    inputs, rows = trained.inputs, trained.rows("test")
    views = np.array(inputs.views[rows])
    views[:, 1] = 127
    greyed = encode_views(inputs.backbone, views, [inputs.settings.backbone.prompt] * len(rows), "mean")
    shuffled = inputs.shuffled(QUICK.seed).features
    for index, row in enumerate(rows):
        own = inputs.features[row]
        expected = {
            "teacher": answer(trained.teacher, own, inputs, row),
            "trained without infrastructure": answer(trained.one_camera, own[:1], inputs, row),
            "ego MLP": answer(trained.ego_mlp, None, inputs, row),
            "shuffled pictures": answer(trained.teacher, shuffled[row], inputs, row),
            "infrastructure picture greyed": answer(trained.teacher, greyed[index], inputs, row),
        }
        for name, trajectory in expected.items():
            np.testing.assert_allclose(scores.methods[name].trajectories[index], trajectory, atol=1e-4, err_msg=name)
    # The tiny teacher has learned little, but each of these rows is another one.
    names = list(expected)
    for first in range(len(names)):
        for second in range(first):
            ours, theirs = (scores.methods[names[place]].trajectories for place in (first, second))
            assert not np.array_equal(ours, theirs)


def test_rows_that_learn_nothing_are_kinematics_and_constants(trained, scores):
    samples = trained.inputs.samples
    known = samples.truth[samples.mask("train")]
    for index, row in enumerate(trained.rows("test")):
        vx, vy, rate, _ = samples.ego[row].astype(float)
        speed, end = np.hypot(vx, vy), 4.5 * rate
        turned = [np.sin(end) / rate, (1 - np.cos(end)) / rate] if abs(rate) >= 1e-3 else [4.5, 0.0]
        expected = {
            "CV": [4.5 * vx, 4.5 * vy],
            "CTRV": [speed * turned[0], speed * turned[1]],
            "train mean": known[:, 44].mean(0),
            "train median": np.median(known[:, 44], axis=0),
            "driven": samples.truth[row, 44],
            "stand still": [0.0, 0.0],
        }
        for name, last in expected.items():
            assert scores.methods[name].trajectories[index, 44] == pytest.approx(last, abs=1e-3), name


# --- figures


def test_errors_are_those_of_a_plain_loop(scores, tables):
    for method in scores.methods:
        errors = [
            [float(np.hypot(*(predicted - driven))) for predicted, driven in zip(*pair, strict=True)]
            for pair in zip(scores.methods[method].trajectories.astype(float), scores.truth, strict=True)
        ]

        def mean(values):
            values = list(values)
            return sum(values) / len(values)

        point = {
            h: mean(sample[step] for sample in errors) for h, step in (("2.5 s", 24), ("3.5 s", 34), ("4.5 s", 44))
        }
        until = {h: mean(mean(sample[: step + 1]) for sample in errors) for h, step in (("2.5 s", 24), ("4.5 s", 44))}
        expected = {
            ("ADE [m]", None): mean(mean(sample) for sample in errors),
            ("FDE [m]", None): mean(sample[-1] for sample in errors),
            ("misses > 2 m [%]", None): 100 * mean(sample[-1] > 2 for sample in errors),
            **{("L2 at that moment [m]", h): found for h, found in point.items()},
            **{("L2, mean until then [m]", h): found for h, found in until.items()},
            ("L2 at that moment [m]", "average"): mean(point.values()),
        }
        for (metric, at), number in expected.items():
            assert value(tables["errors"], method, metric, at) == pytest.approx(number, rel=1e-4, abs=1e-6), method


def test_the_spread_of_constants_is_nothing_and_that_of_the_truth_is_one(tables):
    for axis in "xy":
        metric = f"spread {axis} [of the truth's]"
        assert value(tables["errors"], "train mean", metric) == pytest.approx(0, abs=1e-6)
        assert value(tables["errors"], "driven", metric) == pytest.approx(1)


def test_gains_compare_the_teacher_with_every_other_row(scores, tables):
    names = {row.row for row in tables["gain"].rows}
    assert names == {f"than {method}" for method in scores.methods if method not in ("teacher", "driven")}
    ade = {method: value(tables["errors"], method, "ADE [m]") for method in scores.methods}
    for method in ("CTRV", "train mean"):
        gain = value(tables["gain"], f"than {method}", "smaller ADE [%]")
        assert gain == pytest.approx(100 * (1 - ade["teacher"] / ade[method]))
        difference = value(tables["gain"], f"than {method}", "ADE difference [m]")
        assert difference == pytest.approx(ade["teacher"] - ade[method])


def test_the_range_is_that_of_all_positions(scores, tables):
    for method in ("teacher", "driven"):
        trajectories = scores.methods[method].trajectories
        for column, axis in enumerate("xy"):
            low, high = trajectories[..., column].min(), trajectories[..., column].max()
            assert value(tables["range"], method, "lowest [m]", axis) == pytest.approx(low)
            assert value(tables["range"], method, "highest [m]", axis) == pytest.approx(high)


def test_what_the_infrastructure_sends_is_counted_in_bytes(trained, tables):
    rates = {row.row: row.value for row in tables["transmission"].rows}
    stored = [pair.infrastructure_image.stat().st_size for pair in trained.inputs.samples.pairs]
    assert rates == {
        "raw pixels, 1920 x 1080": 1920 * 1080 * 3 * 10,
        "raw pixels as the model reads them, 64 x 32": 64 * 32 * 3 * 10,
        "pictures as they are stored": round(10 * sum(stored) / len(stored)),
        "pooled features, 4 bytes each": 128 * 4 * 10,
    }


def test_other_horizons_are_other_columns(trained, scored):
    settings = replace(QUICK, horizons_s=(1.0, 3.0))
    errors = evaluation_tables([scored[0]], scored[1], [0], trained, settings)[0]
    places = [row.at for row in errors.rows if (row.row, row.metric) == ("CV", "L2 at that moment [m]")]
    assert places == ["1 s", "3 s", "average"]


# --- situations


def test_situations_share_out_the_samples_and_their_errors(scores, scored, tables):
    tags = scored[1]
    by_speed = sum(tags.get(name, np.zeros(len(scores), bool)).astype(int) for name in ("standing", "slow", "fast"))
    assert (by_speed == 1).all()
    errors = np.linalg.norm(scores.methods["teacher"].trajectories - scores.truth, axis=-1)
    for name, chosen in tags.items():
        found = value(tables["situations"], "teacher", "ADE [m]", f"{name} ({chosen.sum()})")
        assert found == pytest.approx(errors[chosen].mean(), rel=1e-4)


# --- the verb


@pytest.mark.usefixtures("_no_pictures")
def test_a_run_is_evaluated_beside_its_files_or_where_it_is_told(tiny_run, scores, tmp_path, capsys):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    assert main(["evaluate", "--run_dir", str(run), "--num_bootstrap", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].startswith("- the teacher is off by ")
    assert {path.name for path in run.iterdir()} == before | {"evaluate"}
    assert sorted(path.name for path in (run / "evaluate").iterdir()) == FILES
    evaluate(replace(QUICK, run_dir=run, output_dir=tmp_path / "out"))
    found = Scores.load(tmp_path / "out" / "scores.npz")
    assert found.ids == scores.ids
    for name, method in scores.methods.items():
        np.testing.assert_array_equal(found.methods[name].trajectories, method.trajectories)
    written = results.read(tmp_path / "out" / "results.json")
    assert [table.table for table in written] == ["errors", "gain", "situations", "range", "transmission"]


@pytest.mark.usefixtures("_no_pictures")
def test_the_end_of_a_training_writes_into_the_run_itself(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    evaluate_run(run, CPU)
    assert {path.name for path in run.iterdir()} >= set(FILES)


@pytest.mark.usefixtures("_no_pictures")
@pytest.mark.parametrize("split", ["val", "train", "all"])
def test_another_split_is_other_samples(tiny_run, trained, tmp_path, split):
    evaluate(replace(QUICK, run_dir=tiny_run, split=split, output_dir=tmp_path))
    expected = [trained.inputs.samples.ids[row] for row in trained.rows(split)]
    assert list(Scores.load(tmp_path / "scores.npz").ids) == expected


@pytest.mark.usefixtures("_no_pictures")
def test_another_data_set_can_be_judged(tiny_run, tmp_path, trained):
    other = MakeDataSettings(data_dir=tmp_path / "other", num_sequences=3, seconds=6.0, width=64, workers=1, seed=9)
    make_data(other)
    evaluate(replace(QUICK, run_dir=tiny_run, data_dir=other.data_dir, split="all", output_dir=tmp_path / "out"))
    found = Scores.load(tmp_path / "out" / "scores.npz")
    assert len(set(found.sequences)) == 3
    opened = open_trained(tiny_run, CPU, replace(QUICK, data_dir=other.data_dir))
    assert opened.inputs.recording.root == other.data_dir
    row = opened.rows("all")[1]
    expected = answer(trained.teacher, opened.inputs.features[row], opened.inputs, row)
    np.testing.assert_allclose(found.methods["teacher"].trajectories[1], expected, atol=1e-4)


@pytest.fixture(scope="module")
def flat_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flat") / "data"
    make_data(MakeDataSettings(data_dir=folder, layout="flat", num_sequences=9, seconds=6.0, width=64, workers=1))
    return folder


@pytest.mark.usefixtures("_no_pictures")
def test_without_a_test_split_validation_is_judged_and_without_motion_there_are_no_kinematics(
    flat_data, tiny_settings, tmp_path, capsys
):
    head = replace(tiny_settings.head, prior="none", use_ego=False)
    labels = LabelSettings(kind="rows", allow_implausible=True)
    settings = replace(tiny_settings, data_dir=flat_data, labels=labels, head=head, evaluate=True, run_dir=tmp_path)
    train(settings)
    found = Scores.load(tmp_path / "scores.npz")
    assert set(found.sequences) == {"flat-val"}
    assert not {"CV", "CTRV", "ego MLP"} & found.methods.keys()
    assert "the figures are of the validation split" in capsys.readouterr().err
    tables = results.read(tmp_path / "results.json")
    assert not any("nan" in line for table in tables for line in table.conclusions)


# --- refusals, one line each


def refusal(settings: EvaluateSettings) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected a finished run, got none" in refusal(QUICK)


def test_a_run_without_its_teacher_is_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    shutil.rmtree(run / "models" / "teacher")
    assert f"{run / 'models' / 'teacher'}: expected a network" in refusal(replace(QUICK, run_dir=run))


def test_data_that_do_not_tell_the_motion_are_refused_for_a_teacher_that_reads_it(tiny_run, flat_data, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    text = (run / "settings.yaml").read_text()
    changed = text.replace("kind: time", "kind: rows").replace("allow_implausible: false", "allow_implausible: true")
    (run / "settings.yaml").write_text(changed)
    assert refusal(replace(QUICK, run_dir=run, data_dir=flat_data)).startswith("head: expected prior none")


def test_a_horizon_that_nobody_predicts_is_one_line(tiny_run, capsys):
    assert main(["evaluate", "--run_dir", str(tiny_run), "--horizons_s", "2.5", "6"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "horizons_s: expected different numbers of seconds from 0.1 to 4.5, got (2.5, 6.0)" in printed
