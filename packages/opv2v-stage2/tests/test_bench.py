"""Bench in small: the plain ways give what ours give, and the tables hold every row that a claim needs."""

from dataclasses import replace

import numpy as np
import pytest

from drivelab_shared import results
from opv2v_stage2 import bench as bench_module
from opv2v_stage2.bench import bench, training
from opv2v_stage2.bench.clouds import all_distances, iou_of_tuples
from opv2v_stage2.bench.data import LABELS, resized_labels
from opv2v_stage2.bench.inputs import some_frames
from opv2v_stage2.bench.training import CACHED, INFER, LIVE, NONE, Workbench, measure_training
from opv2v_stage2.config import BenchSettings
from opv2v_stage2.data.agent_files import read_lidar
from opv2v_stage2.data.depth_labels import depth_labels
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.metrics.clouds import bev_iou, nearest_distances


@pytest.fixture
def settings(tiny_data, tmp_path):
    return BenchSettings(
        data_dir=tiny_data, cache_dir=tiny_data.parent / "cache", repeats=2, output_dir=tmp_path / "out"
    )


@pytest.fixture
def clouds():
    return np.random.default_rng(0).uniform((-130, -130, 0), (130, 130, 8), (2, 700, 3))


def test_all_distances_find_the_neighbours_of_the_tree(clouds):
    np.testing.assert_allclose(all_distances(*clouds), nearest_distances(*clouds), atol=1e-6)


def test_sets_of_cells_find_the_iou_of_the_grid(clouds):
    predicted, truth = (np.round(cloud, 0) for cloud in clouds)
    assert iou_of_tuples(predicted, truth) == pytest.approx(bev_iou(predicted, truth))
    assert 0 < bev_iou(predicted, truth) < 1


def test_a_resized_map_keeps_some_of_the_labels(tiny_data):
    (frame,) = some_frames(open_tree(tiny_data), 1)
    points, _ = read_lidar(frame)
    ours, plain = (
        make(points, frame.cameras[0], (100, 75), *rest)  # an eighth of the native size: no pixel lies in two
        for make, rest in ((depth_labels, (LABELS, (0,))), (resized_labels, ()))
    )
    assert 0 < (plain > 0).sum() < (ours > 0).sum() / 2
    kept = plain > 0
    assert (ours[kept] > 0).all()
    assert (ours[kept] <= plain[kept] + 1e-4).all()  # the nearest of what falls into a pixel


def test_steps_are_measured_with_every_kind_of_teacher(settings, tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "TURNS", 1)
    workbench = Workbench.of(open_tree(settings.data_dir), settings, tiny_settings.model)
    (table,) = measure_training(workbench, settings, tmp_path)
    rows = {(row.row, row.metric): row for row in table.rows}
    for name in (NONE, CACHED, LIVE):
        assert rows[name, "steps per CPU-second"].value > 0
    assert rows[CACHED, f"times the CPU time of {NONE}"].value > 0
    assert rows[INFER, "pictures per CPU-second"].value > rows["a training step", "pictures per CPU-second"].value
    assert "(bar: 1.05, " in table.conclusions[0]


def test_a_suite_is_printed_and_written(settings, capsys):
    bench(replace(settings, suite="clouds"))
    (table,) = results.read(settings.output_dir / "results.json")
    assert table.table == "clouds"
    said = capsys.readouterr().out
    assert all(sentence.replace("**", "") in said for sentence in table.conclusions)


def test_readers_and_labels_are_measured(settings, monkeypatch):
    monkeypatch.setattr("opv2v_stage2.bench.data.NUM_AGENTS", 1)
    monkeypatch.setattr("opv2v_stage2.bench.data._render", lambda *_: sum(range(1000)))
    bench(replace(settings, suite="data"))
    tables = {table.table: table for table in results.read(settings.output_dir / "results.json")}
    assert tables.keys() == {"projection", "files"}
    shares = [row.value for row in tables["projection"].rows if row.metric == "pixels with a label [%]"]
    assert 0 < shares[0] < shares[1]
    gains = [row.value for row in tables["files"].rows if row.metric == "times the plain reader"]
    assert len(gains) == 3
    assert min(gains[1:]) > 1


def test_all_means_every_suite(settings, monkeypatch):
    asked = []
    suites = {name: lambda *_, name=name: asked.append(name) or [] for name in bench_module.SUITES}
    monkeypatch.setattr(bench_module, "SUITES", suites)
    bench(settings)
    assert asked == ["training", "clouds", "data"]
