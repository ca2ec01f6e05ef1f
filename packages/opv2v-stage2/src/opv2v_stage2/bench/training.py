"""Steps of stage 2 without a teacher, with one whose answers are kept, and with one that is asked in every step."""

import contextlib
import copy
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from drivelab_shared.results import Row, Table
from drivelab_shared.seeding import seed_step
from drivelab_shared.stats import Interval
from drivelab_shared.timing import Work, interleave, timed
from opv2v_stage2.config import BenchSettings, ModelSettings, TrainSettings
from opv2v_stage2.data.samples import Sample, coop_samples
from opv2v_stage2.data.store import open_store
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.losses.terms import total_loss
from opv2v_stage2.models.build import build_model
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.teacher import CachedTeacher, Teacher, by_sample
from opv2v_stage2.train import Course

BAR = 1.05
"""Times a step without a teacher: what one with the kept answers may take."""
TURNS = 5
"""Steps per repeat, each in its turn: what else the machine does hardly changes within seconds."""
NONE, CACHED, LIVE, INFER = (
    "no teacher",
    "teacher asked once (ours)",
    "teacher asked in every step",
    "reconstruction only",
)
CPU = torch.device("cpu")
Asked = Callable[[Sequence[Sample]], TeacherTargets]


@dataclass(frozen=True, eq=False)
class Workbench:
    """The samples of stage 2, and a model as it is before training: what it says does not matter here."""

    course: Course
    samples: Sequence[Sample]
    model: nn.Module

    @classmethod
    def of(cls, tree: Tree, settings: BenchSettings, model: ModelSettings) -> "Workbench":
        """With the recipe of `train`, but for the model.

        Raises:
            UserError: the data are wrong.
        """
        recipe = TrainSettings(
            data_dir=settings.data_dir, cache_dir=settings.cache_dir, model=model, seed=settings.seed
        )
        store = open_store(tree, "train", (model.width, model.height), recipe.labels, recipe.cache_dir)
        seed_step(settings.seed, 0)
        course = Course(recipe, store, None, CPU, rank=0, world=1)
        return cls(course, coop_samples(store, recipe.num_agents), build_model(model))

    @property
    def views_per_step(self) -> int:
        """Four for each vehicle."""
        return 4 * self.course.settings.batch_size

    def drawn(self, step: int) -> list[Sample]:
        """Samples of a step."""
        recipe = self.course.settings
        return self.course.chosen(self.samples, recipe.batch_size // recipe.num_agents, step)

    def teachers(self, scratch: Path) -> dict[str, Asked | None]:
        """By the name of their row."""
        store, teacher = self.course.train, Teacher.frozen(self.model, self.course.settings.modality)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress
            cached = CachedTeacher(teacher, store, scratch, CPU)

        def rows(samples: Sequence[Sample]) -> list[int]:
            return [row for sample in samples for row in sample.rows]

        return {
            NONE: None,
            CACHED: lambda samples: by_sample(cached.answers(rows(samples)), samples),
            LIVE: lambda samples: by_sample(teacher.answers(store, rows(samples), CPU), samples),
        }


def bench_training(tree: Tree, settings: BenchSettings, scratch: Path) -> list[Table]:
    """The ratios, and what a picture costs."""
    return measure_training(Workbench.of(tree, settings, ModelSettings()), settings, scratch)


def measure_training(bench: Workbench, settings: BenchSettings, scratch: Path) -> list[Table]:
    """`bench_training` with any model."""
    works = {name: _step(bench, asked) for name, asked in bench.teachers(scratch).items()}
    num_turns = TURNS * settings.repeats
    timings = interleave("training", works | {INFER: _reconstruction(bench)}, num_turns)
    rows = [Row(name, "steps per CPU-second", **vars(timings.rate(name))) for name in works]
    rows += [Row(name, "CPU time of a step [ms]", **vars(timings.milliseconds(name))) for name in works]
    # Turned around: how many times as fast the step without a teacher is, is how many times as long the other takes.
    longer = {name: timings.times(NONE, name) for name in (CACHED, LIVE)}
    rows += [Row(name, f"times the CPU time of {NONE}", **vars(interval)) for name, interval in longer.items()]
    rows += [_views(bench, name, timings.rate(name)) for name in (NONE, INFER)]
    model = bench.course.settings.model
    conclusions = [
        f"**A step with a teacher that was asked once takes {longer[CACHED].shown('times', 3)} the CPU time of one "
        f"without a teacher** (bar: {BAR:g}, {_reached(longer[CACHED])}); with one that is asked in every step, "
        f"{longer[LIVE].shown('times', 2)}.",
        f"Steps on {bench.views_per_step} pictures of {model.width} x {model.height} pixels, with batches and losses. "
        f"Asking once costs one reconstruction of each of the {len(bench.course.train)} recorded vehicles.",
    ]
    title = f"Steps of stage 2, {num_turns} times in turns"
    return [Table.create("training", title, rows, [settings.seed], conclusions, threads=settings.threads)]


def _step(bench: Workbench, asked: Asked | None) -> Work:
    """One more step of a student of its own."""
    recipe, student, counter = bench.course.settings, copy.deepcopy(bench.model).train(), itertools.count()
    optimizer = torch.optim.AdamW(student.parameters(), lr=recipe.stage2_lr)

    def run() -> int:
        step = next(counter)
        batch = bench.course.batch(bench.drawn(step), step, dense=False, teacher=asked)
        predicted = Reconstruction.of(student(batch.views))
        optimizer.zero_grad()
        total_loss(predicted, batch.targets, recipe.loss, "stage2")["loss"].backward()
        nn.utils.clip_grad_norm_(student.parameters(), recipe.clip_norm)
        optimizer.step()
        return 1

    return timed(run)


def _reconstruction(bench: Workbench) -> Work:
    """What `predict` does to as many pictures."""
    views = bench.course.batch(bench.drawn(0), 0, dense=False).views

    def run() -> int:
        bench.model.infer(views, apply_mask=False)
        return 1

    return timed(run)


def _views(bench: Workbench, name: str, rate: Interval) -> Row:
    per_step = bench.views_per_step
    values = {key: per_step * getattr(rate, key) for key in ("value", "low", "high")}
    return Row("a training step" if name == NONE else name, "pictures per CPU-second", **values, n=rate.n)


def _reached(longer: Interval) -> str:
    if longer.value > BAR:
        return "missed"
    return "not surely reached" if longer.high > BAR else "reached"
