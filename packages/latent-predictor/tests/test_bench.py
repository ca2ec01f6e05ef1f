"""The benchmark's arithmetic, and that its baselines do the same work as what they are compared with."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from drivelab_shared.settings import parse
from drivelab_shared.stats import Interval
from drivelab_shared.timing import Measured, interleave
from latent_predictor.bench import bench
from latent_predictor.bench.imagination import plain_rollout
from latent_predictor.bench.loading import _places
from latent_predictor.bench.memory import _copy, anonymous_bytes, peak_of, train_arguments
from latent_predictor.bench.request_loop import train_as_requested
from latent_predictor.bench.simulation import NUM_FRAMES
from latent_predictor.bench.ticks import Tick, between
from latent_predictor.bench.training import _verdict
from latent_predictor.bench.workbench import CONFIGS, Workbench
from latent_predictor.config import BenchSettings, TrainSettings
from latent_predictor.data.store import open_store
from latent_predictor.imagine import Windows, imagine


@pytest.fixture
def settings(tiny_data, tiny_run, tmp_path):
    return BenchSettings(
        data_dir=tiny_data, run_dir=tiny_run, repeats=1, transitions=100, output_dir=tmp_path / "bench"
    )


@pytest.fixture
def workbench(settings, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Workbench.of(settings, scratch)


def test_works_take_turns_and_the_warm_up_does_not_count():
    order = []

    def work(name, seconds):
        remaining = iter(seconds)
        return lambda: order.append(name) or Measured(10, next(remaining))

    timings = interleave("test", {"slow": work("slow", [99, 2, 3]), "fast": work("fast", [99, 1, 1])}, repeats=2)
    assert order == ["slow", "fast"] * 3
    assert timings.rate("slow").value == pytest.approx(20 / 5)
    assert timings.times("fast", "slow").value == pytest.approx((20 / 2) / (20 / 5))
    assert timings.milliseconds("fast").value == pytest.approx(100)


def test_the_interval_of_a_ratio_pairs_the_repeats():
    # Both slow down together on a busy machine; their ratio does not move.
    busy = [1.0, 2.0, 8.0]

    def work(factor):
        seconds = iter([1.0, *(factor * one for one in busy)])
        return lambda: Measured(1, next(seconds))

    ratio = interleave("test", {"plain": work(3.0), "ours": work(1.0)}, repeats=3).times("ours", "plain")
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((3, 3, 3))


def test_training_is_timed_from_the_start_of_a_step_to_the_start_of_the_last():
    ticks = [Tick(0.0, 64), Tick(5.0, 64), Tick(6.0, 32), Tick(8.0, 64)]
    assert between(ticks, warm_up=1) == Measured(96, 3.0)


def test_the_requests_loop_learns_the_same_however_its_latents_are_made(workbench):
    trained, recipe = workbench.trained, workbench.recipe("original")
    networks = [
        train_as_requested(trained.vae, trained.classifier, trained.store, recipe, 5, encode)[0].state_dict()
        for encode in ("twice", "once", trained.latents)
    ]
    untrained = train_as_requested(trained.vae, trained.classifier, trained.store, recipe, 0)[0].state_dict()
    assert not torch.equal(untrained["head.weight"], networks[0]["head.weight"])
    for other in networks[1:]:
        for name, weights in networks[0].items():
            torch.testing.assert_close(other[name], weights, atol=1e-5, rtol=1e-4)


def test_the_requests_loop_counts_what_it_trains_on(workbench):
    trained, recipe = workbench.trained, workbench.recipe("original")
    _, ticks = train_as_requested(trained.vae, trained.classifier, trained.store, recipe, 2)
    assert [tick.transitions for tick in ticks] == [64, 64, 0]


def test_the_plain_rollout_imagines_what_ours_imagines(workbench):
    trained = workbench.trained
    windows = Windows.of(trained.store, "test", 10, 7, 5)
    ours = imagine(trained.predictor, trained.latents, trained.store, windows, trained.device)
    for i in range(2):
        real = torch.from_numpy(trained.latents[windows.context_rows()[i]])
        actions = torch.from_numpy(trained.store.actions[windows.action_rows()[i]])
        torch.testing.assert_close(plain_rollout(trained.predictor, None, real, actions), ours[i])


def test_a_row_of_the_store_is_found_again_in_its_file(workbench):
    store = workbench.trained.store
    for span in store.trajectories[::2]:
        places = dict(_places(store, span))
        row = span.start + 7
        path, index = places[row]
        with np.load(path) as file:
            assert np.array_equal(file["frames"][index], store.frames[row])


def test_copies_hold_so_many_times_the_data_and_no_two_drives_are_alike(workbench, tmp_path):
    sizes = [_copy(workbench, tmp_path / f"data{copies}", copies) for copies in (1, 4)]
    assert sizes[1] == 4 * sizes[0]
    store = open_store(tmp_path / "data4", tmp_path / "cache")
    assert len(store.trajectories) == 4 * len(workbench.trained.store.trajectories)
    assert store.left_out == ()


def test_anonymous_memory_is_what_a_process_allocates():
    before = anonymous_bytes(os.getpid())
    block = np.ones(64 << 20, np.uint8)
    assert 60 << 20 < anonymous_bytes(os.getpid()) - before < 80 << 20
    del block
    assert anonymous_bytes(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("low", "high", "above_real", "words"),
    [
        (1, 3, [], "equal or better**; surely better for judge c 10 ahead"),
        (-1, 3, [], "equal or better**; nothing is surely better"),
        (-3, -1, [], "worse for judge c 10 ahead**"),
        (-3, -1, [("c", 10)], "equal or better**"),
    ],
)
def test_the_verdict_on_quality_follows_the_paired_interval(low, high, above_real, words):
    found = _verdict({("c", 10): Interval(0.0, low, high, 14)}, above_real, 1000)
    assert words in found[0]
    assert ("please the classifier" in found[-1]) == bool(above_real)


def test_training_and_imagination_are_measured_and_written_down(settings, capsys):
    bench(replace(settings, suite="training"))
    speed, quality = results.read(settings.output_dir / "results.json")
    rates = {row.row: row.value for row in speed.rows if row.metric == "transitions per CPU-second"}
    assert len(rates) == 5
    assert min(rates.values()) > 0
    assert {row.row for row in quality.rows} >= {"request's loop", "best recipe (ours)", "copy last", "real"}
    assert {row.at for row in quality.rows if row.metric == "accuracy [%], judge c"} == {1, 10}
    bench(replace(settings, suite="imagination"))
    (imagination,) = results.read(settings.output_dir / "results.json")
    assert imagination.table == "imagination"
    assert "Imagination" in capsys.readouterr().out


def test_data_are_measured(settings, monkeypatch):
    for kind, number in {"plain": 2, "top": 2, "road": 31}.items():
        monkeypatch.setitem(NUM_FRAMES, kind, number)
    bench(replace(settings, suite="data", repeats=1))
    simulation, loading = results.read(settings.output_dir / "results.json")
    assert {row.row for row in simulation.rows} >= {"own road camera (ours, --view road)"}
    assert loading.conclusions[-1].startswith(("stable-worldmodel is not installed", "The mapped cache gives"))


def test_the_training_whose_memory_is_watched_is_one_that_train_understands(workbench, tmp_path):
    arguments = train_arguments(workbench, tmp_path / "data4")
    settings = parse(TrainSettings, arguments, prog="latent-predictor train", configs=CONFIGS)
    assert settings.data_dir == tmp_path / "data4"
    assert settings.judges.pixel_epochs == 1
    assert not settings.evaluate


def test_the_peak_of_a_process_is_found_though_it_ends_with_less(tmp_path):
    program = "import time; block = b'1' * (200 << 20); time.sleep(0.3); del block; time.sleep(0.1)"
    assert 200 << 20 < peak_of([sys.executable, "-c", program], tmp_path / "log") < 260 << 20


def test_a_process_that_fails_is_reported_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match="got out of luck"):
        peak_of([sys.executable, "-c", "import sys; sys.exit('out of luck')"], tmp_path / "log")


def test_without_a_run_the_benchmark_says_so(settings, tmp_path):
    with pytest.raises(UserError, match="expected a run"):
        bench(replace(settings, run_dir=tmp_path))
