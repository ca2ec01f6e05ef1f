"""Training: so many epochs with features that are made once, against decoding and encoding in every one of them.

Both ways read the same files, run the same backbone in eval mode and take the same steps of the same head.
"""

import io
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from drivelab_shared.modules import parameter_groups
from drivelab_shared.results import Table
from drivelab_shared.seeding import StepSampler, seed_step
from drivelab_shared.stats import Interval
from v2x_teacher.bench.timing import Clock, Seconds, interleave, median, row, total
from v2x_teacher.config import BenchSettings, TrainSettings
from v2x_teacher.data.labels import Samples
from v2x_teacher.features import cached_features, cached_views
from v2x_teacher.inputs import open_samples, priors
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.build import build_backbone
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.models.pooling import pool_image_tokens
from v2x_teacher.pictures import paths_of, resized
from v2x_teacher.storage import build_teacher

BAR = 10.0
"""Times the naive loop that this package promises."""
NAIVE, CACHED = "naive loop", "features made once (ours)"
DECODE, SHRINK, BACKBONE, STEP = "decode", "join and resize", "backbone", "head step"
VIEWS, FEATURES, STEPS = "decode and resize, once", "backbone, once", "head steps"


@dataclass(frozen=True, eq=False)
class Workbench:
    """Some training samples of a data set, and the backbone and head of the default recipe."""

    recipe: TrainSettings
    samples: Samples
    prior: Float[np.ndarray, "samples steps 2"]
    backbone: Backbone
    scratch: Path

    @classmethod
    def of(cls, recipe: TrainSettings, num_samples: int, scratch: Path) -> "Workbench":
        """Samples spread evenly over the training split.

        Raises:
            UserError: the data cannot be used.
        """
        _, samples = open_samples(recipe.data_dir, recipe.layout, None, recipe.labels, skip_invalid=True)
        rows = np.flatnonzero(samples.mask("train"))
        samples = samples.at(rows[np.linspace(0, len(rows) - 1, min(num_samples, len(rows))).astype(np.int64)])
        return cls(recipe, samples, priors(recipe, samples), build_backbone(recipe.backbone), scratch)

    @property
    def prompts(self) -> list[str]:
        """One per sample."""
        return [pair.prompt or self.recipe.backbone.prompt for pair in self.samples.pairs]

    def batches(self, epochs: int) -> Iterator[np.ndarray]:
        """Every sample once per epoch, as far as whole batches go."""
        sampler = StepSampler(len(self.samples), min(self.recipe.batch_size, len(self.samples)), seed=self.recipe.seed)
        return (sampler.batch(step) for step in range(epochs * sampler.steps_per_epoch))

    def features(self) -> Float[np.ndarray, "samples vectors width"]:
        """By the cache, which is empty at first and thrown away."""
        return self.extract(self.shrink(cache := Path(tempfile.mkdtemp(dir=self.scratch))), cache)

    def shrink(self, cache_dir: Path) -> UInt8[np.ndarray, "samples cameras height width 3"]:
        """Small pictures by the cache."""
        chosen = self.recipe.backbone
        return cached_views(self.samples.pairs, chosen.height, chosen.width, cache_dir, chosen.cameras)

    def extract(self, views: np.ndarray, cache_dir: Path) -> Float[np.ndarray, "samples vectors width"]:
        """Features of small pictures by the cache."""
        chosen = self.recipe
        return cached_features(
            self.backbone, views, self.prompts, chosen.head.pooling, cache_dir, batch_size=chosen.backbone.batch_size
        )


class Student:
    """A head that takes steps of the recipe."""

    def __init__(self, bench: Workbench, features: Float[np.ndarray, "samples vectors width"]) -> None:
        recipe, samples = bench.recipe, bench.samples
        self.bench, self._number = bench, itertools.count()
        seed_step(recipe.seed, 0)
        cameras = 2 if recipe.backbone.cameras == "both" else 1
        network = build_teacher(recipe.head, *features.shape[1:], samples.truth.shape[1], cameras, None)
        self.head: TrajectoryHead = network.module.head
        rows, residual = np.arange(len(samples)), samples.truth - bench.prior
        self.head.fit_units(features, samples.ego, residual, rows, recipe.head.targets, recipe.head.target_scale)
        self.head.train()
        self._optimizer = torch.optim.AdamW(parameter_groups(self.head, recipe.weight_decay), lr=recipe.head_lr)

    def step(self, features: Float[Tensor, "batch vectors width"], rows: np.ndarray) -> None:
        """One step on these samples."""
        recipe, head = self.bench.recipe, self.head
        arrays = (self.bench.samples.ego, self.bench.samples.truth, self.bench.prior)
        ego, truth, before = (torch.from_numpy(array[rows]) for array in arrays)
        seed_step(recipe.seed, next(self._number))
        self._optimizer.zero_grad()
        losses = head.loss(recipe.head.loss, head(features, ego), truth, before, recipe.head.loss_beta_m)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), recipe.clip_norm)
        self._optimizer.step()


def naive_epoch(bench: Workbench, student: Student, clock: Clock) -> None:
    """What a first version does in every epoch."""
    chosen = bench.recipe.backbone
    for rows in bench.batches(1):
        with clock.part(DECODE):
            pictures = [[_decoded(path) for path in paths_of(bench.samples.pairs[row], chosen.cameras)] for row in rows]
        with clock.part(SHRINK):
            views = np.stack([[resized(p, chosen.height, chosen.width) for p in pair] for pair in pictures])
            inputs = bench.backbone.prepare(views, [bench.prompts[row] for row in rows])
        with clock.part(BACKBONE), torch.no_grad():
            groups = bench.backbone.num_groups(views.shape[1])
            pooled = pool_image_tokens(bench.backbone.image_tokens(inputs), bench.recipe.head.pooling, groups)
        with clock.part(STEP):
            student.step(pooled, rows)


def _decoded(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def cached_epochs(bench: Workbench, student: Student, epochs: int, clock: Clock) -> None:
    """What `train` does: pictures and features once, then the head alone."""
    cache = Path(tempfile.mkdtemp(dir=bench.scratch))
    with redirect_stderr(io.StringIO()):  # its progress
        with clock.part(VIEWS):
            views = bench.shrink(cache)
        with clock.part(FEATURES):
            features = bench.extract(views, cache)
    with clock.part(STEPS):
        for rows in bench.batches(epochs):
            student.step(torch.from_numpy(np.asarray(features[rows])), rows)


def bench_training(settings: BenchSettings, scratch: Path) -> list[Table]:
    """The ratio, and where the time goes."""
    recipe = TrainSettings(data_dir=settings.data_dir, seed=settings.seed, threads=settings.threads, device="cpu")
    return measure_training(settings, Workbench.of(recipe, settings.num_samples, scratch))


def measure_training(settings: BenchSettings, bench: Workbench) -> list[Table]:
    """`bench_training` with any recipe."""
    with redirect_stderr(io.StringIO()):
        features = bench.features()
    students = {name: Student(bench, features) for name in (NAIVE, CACHED)}
    works = {
        NAIVE: lambda clock: naive_epoch(bench, students[NAIVE], clock),
        CACHED: lambda clock: cached_epochs(bench, students[CACHED], settings.epochs, clock),
    }
    seconds = interleave("training", works, settings.repeats)
    count = sum(len(rows) for rows in bench.batches(1))
    return [_speed(settings, seconds, count), _parts(settings, seconds, count)]


def _speed(settings: BenchSettings, seconds: dict[str, dict[str, Seconds]], count: int) -> Table:
    epochs = settings.epochs
    naive, cached = epochs * total(seconds[NAIVE]), total(seconds[CACHED])
    per_epoch = total(seconds[NAIVE]) / (seconds[CACHED][STEPS] / epochs)
    metric = "samples per CPU-second"
    rows = [
        row(NAIVE, metric, epochs * count / naive),
        row(CACHED, metric, epochs * count / cached),
        row(CACHED, f"times the {NAIVE}", naive / cached),
        row("an epoch after the first", f"times the {NAIVE}", per_epoch),
    ]
    ratio, later = median(naive / cached), median(per_epoch)
    conclusions = [
        f"**{epochs} epochs with features made once are {ratio.shown()} times as fast as the naive loop**, extraction "
        f"included (bar: {BAR:g}, {_reached(ratio)}); an epoch after the first is {later.shown(decimals=0)} times.",
        f"The naive loop is measured for one epoch of {count} samples and multiplied by {epochs}; the other way is "
        "measured in full, on the same samples. CPU time of the process, medians over repeats.",
    ]
    title = f"{epochs} epochs of training, {settings.repeats} times in turns"
    return Table.create("training_speed", title, rows, [settings.seed], conclusions, threads=settings.threads)


def _reached(ratio: Interval) -> str:
    if ratio.value < BAR:
        return "missed"
    return "not surely reached" if ratio.low < BAR else "reached"


def _parts(settings: BenchSettings, seconds: dict[str, dict[str, Seconds]], count: int) -> Table:
    naive, cached = seconds[NAIVE], seconds[CACHED]
    rows = [row(f"naive: {part}", "ms per sample and epoch", 1000 * s / count) for part, s in naive.items()]
    rows.append(row("naive: together", "ms per sample and epoch", 1000 * total(naive) / count))
    step = cached[STEPS] / settings.epochs
    rows.append(row(f"cached: {STEP}", "ms per sample and epoch", 1000 * step / count))
    rows += [row(f"cached: {part}", "ms per sample", 1000 * cached[part] / count) for part in (VIEWS, FEATURES)]
    share = float(np.median((naive[BACKBONE] + naive[DECODE] + naive[SHRINK]) / total(naive)))
    conclusions = [f"{100 * share:.1f} % of the naive loop gives the same numbers in every epoch."]
    title = "Where the time of training goes"
    return Table.create("training_parts", title, rows, [settings.seed], conclusions, threads=settings.threads)
