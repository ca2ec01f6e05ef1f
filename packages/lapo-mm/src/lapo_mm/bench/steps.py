"""Gradient steps per CPU-second: the plain step, and what each improvement adds."""

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from drivelab_shared.results import Row, Table
from drivelab_shared.seeding import StepSampler, seed_step
from drivelab_shared.timing import Work, interleave, timed
from lapo_mm.algorithms import Algorithm, build
from lapo_mm.algorithms.lapo import Lapo
from lapo_mm.bench.plain import PlainLapo, SharedFeaturesLapo
from lapo_mm.config import BenchSettings, TrainSettings
from lapo_mm.data.batches import Batches
from lapo_mm.data.store import Store

PLAIN, SHARED, OURS = "plain step", "one encoder pass per batch", "no useless graphs, fused Adam (ours)"
CHANNELS_LAST, BF16 = "ours, channels last", "ours, channels last, bfloat16 encoder"


def bench_steps(store: Store, settings: BenchSettings) -> list[Table]:
    """One table: LAPO's step in its variants, and the steps of the baselines."""
    training = TrainSettings(data_dir=settings.data_dir, batch_size=settings.batch_size, seed=settings.seed)
    variants: Mapping[str, Callable[[], Algorithm]] = {
        PLAIN: lambda: ready(PlainLapo, store, training),
        SHARED: lambda: ready(SharedFeaturesLapo, store, training),
        OURS: lambda: ready(Lapo, store, training),
        CHANNELS_LAST: lambda: _channels_last(ready(Lapo, store, training)),
        BF16: lambda: _channels_last(ready(Lapo, store, training)),
        **{
            name: lambda name=name: ready(None, store, replace(training, algorithm=name))
            for name in ("iql", "td3bc", "bc")
        },
    }
    works = {
        name: _work(make(), store, settings, _bf16_encoder if name == BF16 else nullcontext)
        for name, make in variants.items()
    }
    timings = interleave("steps", works, settings.repeats)
    rows = list(timings.rows("gradient steps per CPU-second", PLAIN))
    rows += [Row(name, "CPU time per step [ms]", **vars(timings.milliseconds(name))) for name in works]
    lapo = [PLAIN, SHARED, OURS, CHANNELS_LAST, BF16]
    rows += [
        Row(after, "times the row above", **vars(timings.times(after, before)))
        for before, after in itertools.pairwise(lapo)
    ]
    total = timings.times(OURS, PLAIN)
    conclusions = [
        f"**Our step is {total.shown('times', 2)} as fast as the plain one** with the same networks and batches.",
        f"Batches of {settings.batch_size}, sampling included; CPU time of the process, in turns.",
    ]
    title = f"Gradient steps, {settings.repeats} times in turns"
    return [Table.create("steps", title, rows, [settings.seed], conclusions, threads=settings.threads)]


def ready(kind: type[Algorithm] | None, store: Store, settings: TrainSettings) -> Algorithm:
    """A fresh algorithm, ready to train; without a kind, the one that the settings name."""
    seed_step(settings.seed, 0)
    shapes = store.shapes(settings.modalities)
    algorithm = build(shapes, settings) if kind is None else kind(shapes, settings)
    algorithm.fit_units(store.statistics, has_terminals=bool(store.terminals.any()))
    algorithm.start_training()
    return algorithm.train()


def _work(
    algorithm: Algorithm,
    store: Store,
    settings: BenchSettings,
    context: Callable[[nn.Module], AbstractContextManager],
) -> Work:
    batches, indices = Batches(store, "cpu"), store.steps_of("train")
    sampler = StepSampler(len(indices), settings.batch_size, seed=settings.seed)
    counter = itertools.count()

    def backward(name: str, loss: Tensor) -> None:
        loss.backward()

    def work() -> int:
        with context(algorithm):
            for _ in range(settings.steps):
                algorithm.update(batches.fetch(indices[sampler.batch(next(counter))]), backward)
        return settings.steps

    return timed(work)


def _channels_last(algorithm: Algorithm) -> Algorithm:
    algorithm.obs_encoder.to(memory_format=torch.channels_last)
    return algorithm


class _bf16_encoder:  # noqa: N801 - used like a function
    """While it is entered, the encoder computes in bfloat16 and answers in float32."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._encoder = algorithm.obs_encoder

    def __enter__(self) -> None:
        forward = self._forward = self._encoder.forward

        def in_bf16(*inputs: object) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                features = forward(*inputs)
            return features.float()

        self._encoder.forward = in_bf16

    def __exit__(self, *_: object) -> None:
        self._encoder.forward = self._forward
