"""The benchmark's arithmetic, and that its naive loop does the same work as what it is compared with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
from v2x_teacher.bench import bench, rendering
from v2x_teacher.bench.timing import Clock, interleave, median
from v2x_teacher.bench.training import (
    BACKBONE,
    CACHED,
    DECODE,
    FEATURES,
    NAIVE,
    SHRINK,
    STEP,
    STEPS,
    VIEWS,
    Student,
    Workbench,
    _parts,
    _speed,
    cached_epochs,
    measure_training,
    naive_epoch,
)
from v2x_teacher.config import BenchSettings


@pytest.fixture
def settings(tiny_data, tmp_path):
    return BenchSettings(data_dir=tiny_data, num_samples=16, epochs=3, repeats=1, output_dir=tmp_path / "bench")


@pytest.fixture
def workbench(tiny_settings, tmp_path):
    return Workbench.of(replace(tiny_settings, batch_size=4), 12, tmp_path)


def test_works_take_turns_and_the_warm_up_does_not_count():
    order = []

    def work(name, seconds):
        remaining = iter(seconds)

        def do(clock):
            order.append(name)
            clock.seconds["part"] = next(remaining)

        return do

    found = interleave("test", {"slow": work("slow", [99, 2, 3]), "fast": work("fast", [99, 1, 1])}, repeats=2)
    assert order == ["slow", "fast"] * 3
    assert found["slow"]["part"].tolist() == [2, 3]


def test_a_clock_adds_up_what_a_part_takes_and_nothing_else(monkeypatch):
    ticks = iter([0.0, 1.0, 5.0, 5.5, 6.0, 8.0])
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    clock = Clock()
    for name in ("a", "b", "a"):
        with clock.part(name):
            pass
    assert clock.seconds == {"a": 3.0, "b": 0.5}


def test_one_slow_repeat_does_not_move_the_median_but_widens_the_interval():
    calm, busy = median(np.array([2.0, 2.0, 2.0])), median(np.array([2.0, 2.0, 9.0]))
    assert (calm.value, calm.low, calm.high) == (2, 2, 2)
    assert (busy.value, busy.high) == (2, 9)
    assert median(np.array([3.14])).shown() == "3.1"


def test_the_naive_loop_is_scaled_to_all_epochs_and_extraction_counts(settings):
    seconds = {
        NAIVE: {DECODE: np.array([1.0]), SHRINK: np.array([1.0]), BACKBONE: np.array([5.5]), STEP: np.array([0.5])},
        CACHED: {VIEWS: np.array([2.0]), FEATURES: np.array([5.0]), STEPS: np.array([1.0])},
    }
    chosen = replace(settings, epochs=20)
    found = {(row.row, row.metric): row.value for row in _speed(chosen, seconds, 16).rows}
    assert found[CACHED, "times the naive loop"] == pytest.approx(20 * 8 / 8)
    assert found["an epoch after the first", "times the naive loop"] == pytest.approx(8 / (1 / 20))
    assert found[NAIVE, "samples per CPU-second"] == pytest.approx(16 / 8)
    parts = {(row.row, row.metric): row.value for row in _parts(chosen, seconds, 16).rows}
    assert parts["naive: backbone", "ms per sample and epoch"] == pytest.approx(5500 / 16)
    assert parts["cached: head step", "ms per sample and epoch"] == pytest.approx(1000 / 20 / 16)
    thrice = {name: {part: np.tile(s, 3) for part, s in parts.items()} for name, parts in seconds.items()}
    assert "(bar: 10, reached)" in _speed(chosen, thrice, 16).conclusions[0]
    slow = seconds | {CACHED: seconds[CACHED] | {FEATURES: np.array([50.0])}}
    assert "(bar: 10, missed)" in _speed(chosen, slow, 16).conclusions[0]


def test_after_one_epoch_both_ways_have_learned_the_same(workbench):
    features = workbench.features()
    students = [Student(workbench, features) for _ in range(3)]
    naive_epoch(workbench, students[0], Clock())
    cached_epochs(workbench, students[1], 1, Clock())
    naive, cached, untrained = (torch.nn.utils.parameters_to_vector(one.head.parameters()) for one in students)
    torch.testing.assert_close(naive, cached, atol=1e-5, rtol=1e-4)
    assert (naive - untrained).abs().max() > 1e-3


def test_the_cache_of_a_repeat_is_its_own(workbench):
    first, second = (workbench.features() for _ in range(2))
    assert first.filename != second.filename
    assert np.array_equal(first, second)


def test_samples_are_of_the_training_split_and_as_many_as_asked_for(workbench):
    assert len(workbench.samples) == 12
    assert {pair.split for pair in workbench.samples.pairs} == {"train"}
    assert [len(rows) for rows in workbench.batches(2)] == [4] * 6


def test_training_is_measured_part_by_part(settings, workbench):
    speed, parts = measure_training(settings, workbench)
    assert {row.row for row in speed.rows} == {NAIVE, CACHED, "an epoch after the first"}
    assert min(row.value for row in [*speed.rows, *parts.rows]) > 0
    assert "3 epochs with features made once are" in speed.conclusions[0]


def test_all_suites_are_written_down(settings, monkeypatch, capsys):
    monkeypatch.setattr(rendering, "NUM_VIEWS", 1)
    monkeypatch.setattr(rendering, "SECONDS", 6.0)
    bench(replace(settings, num_samples=4, epochs=2))
    tables = results.read(settings.output_dir / "results.json")
    assert [table.table for table in tables] == ["training_speed", "training_parts", "rendering"]
    found = {row.row: row.value for row in tables[2].rows}
    assert found["make-data, everything included"] > 1
    assert found["lidar sweep"] > 1
    assert "pictures per CPU-second" in capsys.readouterr().out
