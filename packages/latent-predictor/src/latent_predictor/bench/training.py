"""Training: transitions per CPU-second of the request's loop and of ours, factor by factor, and what they learn."""

import io
import itertools
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from drivelab_shared.engine import StopSignal
from drivelab_shared.modules import freeze
from drivelab_shared.results import Row, Table
from drivelab_shared.runs import open_run
from drivelab_shared.stats import Interval
from drivelab_shared.timing import Measured, Timings, Work, interleave
from latent_predictor.bench.request_loop import train_as_requested
from latent_predictor.bench.ticks import Tick, between
from latent_predictor.bench.workbench import PACKAGE, Workbench
from latent_predictor.config import EvaluateSettings, TrainSettings
from latent_predictor.evaluate import score, windows_of
from latent_predictor.fit import Moment
from latent_predictor.models import Predictor
from latent_predictor.scores import Comparison
from latent_predictor.stages import Session
from latent_predictor.train import PredictorTraining, training_starts

SEGMENT = 6144
"""Transitions of one timed piece of training: a whole number of steps for windows of 16 and 24 and batches up to 32."""
WARM_UP = 2
"""Steps at the start of a piece that are not timed."""
BAR = 5.0
"""Times the request's loop that this package promises."""
HORIZONS = (1, 10)
JUDGES = ("a", "c")

REQUEST = "request's loop"
ONCE = "each frame encoded once"
CACHED = "latents cached (from here on: our train)"
BATCHED = "larger batches"
OURS = "best recipe (ours)"
FACTORS = {
    REQUEST: "",
    ONCE: "encoding once instead of twice",
    CACHED: "caching latents",
    BATCHED: "larger batches",
    OURS: "FiLM and open-loop steps",
}


def bench_training(bench: Workbench) -> list[Table]:
    """Speed and quality, side by side because neither means anything alone."""
    timings = interleave("training", _works(bench), bench.settings.repeats)
    return [_speed(bench, timings), _quality(bench, timings)]


class _Clocked(PredictorTraining):
    """Our training, noting the CPU time whenever the loop asks for a loss."""

    def __init__(self, bench: Workbench, settings: TrainSettings) -> None:
        trained = bench.trained
        run = open_run(PACKAGE, settings, bench.accelerator, run_dir=Path(tempfile.mkdtemp(dir=bench.scratch)))
        session = Session(settings, run, StopSignal(), trained.store)
        starts = training_starts(session)
        super().__init__(session, starts, trained.vae, trained.latents, trained.classifier, trained.judge_pixel)
        self.ticks: list[Tick] = []

    def _loss(self, network: nn.Module, batch: np.ndarray, at: Moment) -> Mapping[str, Tensor]:
        self.ticks.append(Tick(time.process_time(), len(batch) * self.session.settings.window))
        return super()._loss(network, batch, at)


def _train(bench: Workbench, settings: TrainSettings) -> tuple[Predictor, list[Tick]]:
    clocked = _Clocked(bench, settings)
    with redirect_stderr(io.StringIO()):  # its progress
        network = clocked.run("predictor", use_actions=True)
    shutil.rmtree(clocked.session.run.folder)
    return network.module, clocked.ticks


def _works(bench: Workbench) -> dict[str, Work]:
    trained, original, best = bench.trained, bench.recipe("original"), bench.recipe("best")

    def request(encode: str) -> Measured:
        steps = WARM_UP + _steps(bench, SEGMENT, original)
        ticks = train_as_requested(trained.vae, trained.classifier, trained.store, original, steps, encode)[1]
        return between(ticks, WARM_UP)

    def ours(settings: TrainSettings) -> Measured:
        # One step more, because its start is the end of the one before.
        steps = WARM_UP + _steps(bench, SEGMENT, settings) + 1
        return between(_train(bench, replace(settings, steps=steps))[1], WARM_UP)

    return {
        REQUEST: partial(request, "twice"),
        ONCE: partial(request, "once"),
        CACHED: partial(ours, original),
        BATCHED: partial(ours, replace(original, batch_size=best.batch_size)),
        OURS: partial(ours, best),
    }


def _steps(bench: Workbench, transitions: int, settings: TrainSettings) -> int:
    """Optimizer steps for so many transitions, or for all that were asked for."""
    transitions = min(transitions, bench.settings.transitions)
    return max(1, round(transitions / (settings.batch_size * settings.window)))


def _speed(bench: Workbench, timings: Timings) -> Table:
    rows = list(timings.rows("transitions per CPU-second", REQUEST))
    factors = {after: timings.times(after, before) for before, after in itertools.pairwise(timings.by_name)}
    rows += [Row(name, "times the row above", **vars(factor)) for name, factor in factors.items()]
    total = timings.times(OURS, REQUEST)
    reached = "reached" if total.low >= BAR else "not surely reached" if total.value >= BAR else "missed"
    parts = ", ".join(f"{FACTORS[name]} x{factor.value:.2f}" for name, factor in factors.items())
    conclusions = [
        f"**Training takes {total.shown('times')} as many transitions per CPU-second as the request's loop** (bar: "
        f"{BAR:g}, {reached}).",
        f"Factor by factor: {parts}.",
    ]
    piece = min(SEGMENT, bench.settings.transitions)
    title = f"Training speed: {bench.settings.repeats} times {piece:,} transitions, in turns"
    return bench.table("training_speed", title, rows, conclusions)


def _quality(bench: Workbench, timings: Timings) -> Table:
    """Both recipes after the same number of transitions, on the same windows of the test split."""
    trained, original, best = bench.trained, bench.recipe("original"), bench.recipe("best")
    number = bench.settings.transitions
    # Encoding at every step would give the numbers that the cache holds, and take three times as long.
    requested, _ = train_as_requested(
        trained.vae, trained.classifier, trained.store, original, _steps(bench, number, original), trained.latents
    )
    ours, _ = _train(bench, replace(best, steps=_steps(bench, number, best)))
    scored = {REQUEST: _scored(bench, requested), OURS: _scored(bench, ours)}
    lines = {name: (comparison, "predictor") for name, comparison in scored.items()}
    lines |= {name: (scored[OURS], name) for name in ("copy last", "real")}
    rows = [Row(name, "CPU-seconds at the rate above", number / timings.rate(name).value) for name in scored]
    for judge, (name, (comparison, method)), h in itertools.product(JUDGES, lines.items(), HORIZONS):
        rows.append(Row(name, f"accuracy [%], judge {judge}", at=h, **vars(comparison.classes(method, judge, h))))
    differences = {
        (judge, h): scored[OURS].classes_difference("predictor", "predictor", judge, h, other=scored[REQUEST])
        for judge, h in itertools.product(JUDGES, HORIZONS)
    }
    for (judge, h), difference in differences.items():
        rows.append(Row(f"{OURS} - {REQUEST}", f"difference [points], judge {judge}", at=h, **vars(difference)))
    above_real = [
        key for key in differences if _value(scored[REQUEST], "predictor", *key) > _value(scored[REQUEST], "real", *key)
    ]
    conclusions = _verdict(differences, above_real, number)
    return bench.table("training_quality", f"Quality after {number:,} transitions each", rows, conclusions)


def _scored(bench: Workbench, network: Predictor) -> Comparison:
    trained = replace(bench.trained, predictor=freeze(network), twin=None, oracle=None)
    settings = EvaluateSettings(horizons=HORIZONS, seed=bench.settings.seed)
    return Comparison.of([score(trained, windows_of(trained.store, settings), settings)])


def _value(comparison: Comparison, method: str, judge: str, horizon: int) -> float:
    return comparison.classes(method, judge, horizon).value


def _verdict(
    differences: dict[tuple[str, int], Interval], above_real: Collection[tuple[str, int]], number: int
) -> list[str]:
    """From ours - theirs by (judge, steps ahead).

    Where the request's figure is above that of real latents, it measures its loss and not the lane: nobody is worse
    there.
    """
    better = [key for key, difference in differences.items() if difference.low > 0]
    behind = [key for key, difference in differences.items() if difference.high < 0]
    worse = [key for key in behind if key not in above_real]
    beyond = [key for key in behind if key in above_real]
    words = f"worse for {_named(worse)}" if worse else "equal or better"
    found = [
        f"**After the same {number:,} transitions the quality is {words}**"
        + (f"; surely better for {_named(better)}." if better else "; nothing is surely better.")
    ]
    if beyond:
        found.append(
            f"For {_named(beyond)} the request's loop is ahead, with more than real latents reach: what it has learnt "
            "there is to please the classifier of its loss."
        )
    return found


def _named(chosen: list[tuple[str, int]]) -> str:
    return ", ".join(f"judge {judge} {h} ahead" for judge, h in chosen)
