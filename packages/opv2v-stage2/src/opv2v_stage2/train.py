"""Train: an OPV2V tree -> small arrays -> stage 1 (single, dense) -> teacher -> stage 2 (cooperative, lidar)."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.job import run_job
from drivelab_shared.modules import num_parameters
from drivelab_shared.runs import Run
from drivelab_shared.seeding import StepSampler, keyed_rng, seed_step
from opv2v_stage2.config import TrainSettings
from opv2v_stage2.data.make_data import ensure_data
from opv2v_stage2.data.samples import Sample, coop_samples, curriculum, single_samples
from opv2v_stage2.data.store import Store, open_store
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.fit import Batch, Lesson, fit
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.models.build import build_model
from opv2v_stage2.sky import negatives
from opv2v_stage2.storage import load_model, save_model
from opv2v_stage2.teacher import CachedTeacher, Teacher, by_sample
from opv2v_stage2.validation import validation
from opv2v_stage2.views import Noise, make_targets, make_views

PACKAGE = "opv2v-stage2"
INITIALISE = 1_000_000_000
"""Step whose random numbers the first weights come from."""
STAGE1, STAGE2 = "stage1", "stage2"
EMA_DECAY = 0.99
DEPTH_INPUT_SHARE = 0.25
"""Of the steps of stage 1 that also show the labels: so that a privileged teacher can make use of them."""
NOISE, CHOICE, SINGLE = 101, 102, 103
"""Streams of random numbers of a batch."""


def train(settings: TrainSettings) -> None:
    """Train as the settings say; the run folder holds everything that the other verbs need.

    Raises:
        UserError: the data or a setting is wrong.
    """
    run_job(
        PACKAGE,
        settings,
        settings.run_dir,
        prepare=lambda: ensure_data(settings.data_dir),
        stages=lambda run, stop: _train_stages(settings, run, stop),
        find_unused_parameters=True,  # a modality leaves out what would guess the things that it is told
    )


def _train_stages(settings: TrainSettings, run: Run, stop: StopSignal) -> None:
    with run.accelerator.main_process_first():
        course = Course.open(settings, run)
    run.require("data", course.train.fingerprint, "the data have changed: start a new run")
    model = _stage1(course, run, stop)
    if settings.stage2_steps:
        model = _stage2(course, model, run, stop)
    if run.accelerator.is_main_process and settings.evaluate:
        from opv2v_stage2.evaluate import evaluate_run  # here: reports need matplotlib

        evaluate_run(run.folder, run.accelerator.device)
    run.accelerator.wait_for_everyone()


@dataclass(frozen=True, eq=False)
class Course:
    """Everything that both stages draw batches from."""

    settings: TrainSettings
    train: Store
    validate: Store | None
    device: torch.device
    rank: int
    world: int

    @classmethod
    def open(cls, settings: TrainSettings, run: Run) -> "Course":
        """The splits of the data set, as arrays.

        Raises:
            UserError: the data are wrong.
        """
        tree = open_tree(settings.data_dir, skip_invalid=settings.skip_invalid)
        size = (settings.model.width, settings.model.height)
        stores = {
            split: open_store(tree, split, size, settings.labels, settings.cache_dir)
            for split in ("train", "validate")
            if split == "train" or tree.splits.get(split)
        }
        accelerator = run.accelerator
        return cls(
            settings, stores["train"], stores.get("validate"), accelerator.device,
            accelerator.process_index, accelerator.num_processes,
        )  # fmt: skip

    def noise_of(self, step: int) -> Noise:
        """Of the GPS in a step: anything up to the largest, the same for all of its samples."""
        share = float(keyed_rng(self.settings.seed, step, NOISE).uniform())
        return Noise(share * self.settings.gps_noise_m, share * self.settings.gps_noise_deg)

    def chosen(self, samples: Sequence[Sample], count: int, step: int) -> list[Sample]:
        """This process's samples of a step, of `count` over all processes."""
        sampler = StepSampler(len(samples), min(count, len(samples)), self.rank, self.world, self.settings.seed)
        return [samples[number] for number in sampler.batch(step)]

    def batch(
        self,
        samples: Sequence[Sample],
        step: int,
        *,
        dense: bool,
        with_depth: bool = False,
        teacher: Callable[[Sequence[Sample]], TeacherTargets] | None = None,
    ) -> Batch:
        """Views and targets of some samples."""
        settings, samples = self.settings, list(samples)
        noise, key = self.noise_of(step), (settings.seed, step, self.rank, CHOICE)
        arguments = (self.train, samples, settings.modality, noise, key, self.device)
        said = teacher(samples) if teacher else None
        sky = None if dense else negatives(settings.loss.negatives, self.train, samples, said, self.device)
        return Batch(
            make_views(*arguments, with_depth=with_depth),
            make_targets(*arguments, dense=dense, negative=sky, teacher=said),
        )


def _stage1(course: Course, run: Run, stop: StopSignal) -> nn.Module:
    """Single vehicles: depth, validity, scale and the poses of a rig."""
    settings = course.settings
    if settings.start_from is not None:
        model, built, facts = load_model(settings.start_from / "models" / STAGE1)
        if dataclasses.replace(built, path=None) != dataclasses.replace(settings.model, path=None):
            raise UserError(f"{settings.start_from}: start_from: expected a model as `model` says, got {built}")
        _save(course, run, STAGE1, model, facts)
        return model.to(course.device)
    seed_step(settings.seed, INITIALISE)
    model = build_model(settings.model).to(course.device)
    dense = _is_dense(course)
    samples = single_samples(course.train)

    def draw(step: int) -> Batch:
        with_depth = keyed_rng(settings.seed, step, SINGLE).uniform() < DEPTH_INPUT_SHARE
        chosen = course.chosen(samples, settings.batch_size, step)
        return course.batch(chosen, step, dense=dense, with_depth=bool(with_depth))

    if settings.stage1_steps:
        lesson = Lesson(name=STAGE1, steps=settings.stage1_steps, lr=settings.lr, draw=draw)
        model = fit(
            run, stop, lesson, model, settings, validation(course.validate, settings, course.device, coop=False)
        )
    _save(course, run, STAGE1, model, {"steps": settings.stage1_steps, "dense": dense, "samples": len(samples)})
    return model


def _stage2(course: Course, model: nn.Module, run: Run, stop: StopSignal) -> nn.Module:
    """Cooperating vehicles, lidar labels, and what the teacher says of each vehicle alone."""
    settings = course.settings
    samples = coop_samples(course.train, settings.num_agents)
    if not samples:
        raise UserError(
            f"{settings.data_dir}: expected frames with {settings.num_agents} vehicles to train on, got none"
        )
    singles = single_samples(course.train)
    phases = curriculum(samples, settings.stage2_steps) if settings.curriculum else [(0, samples)]
    student = copy.deepcopy(model)
    average = copy.deepcopy(model).requires_grad_(False) if settings.teacher == "ema" else None
    with run.accelerator.main_process_first():
        asked = _teacher(course, model, average)

    def draw(step: int) -> Batch:
        pool = [samples for start, samples in phases if start <= step][-1]
        count = settings.batch_size // settings.num_agents
        if keyed_rng(settings.seed, step, SINGLE).uniform() < settings.single_share:
            pool, count = singles, settings.batch_size
        return course.batch(course.chosen(pool, count, step), step, dense=False, teacher=asked)

    def follow(network: nn.Module) -> None:
        if average is not None:
            with torch.no_grad():
                for mean, new in zip(average.parameters(), network.parameters(), strict=True):
                    mean.lerp_(new, 1 - EMA_DECAY)

    lesson = Lesson(name=STAGE2, steps=settings.stage2_steps, lr=settings.stage2_lr, draw=draw, after=follow)
    extra = {"average": average} if average is not None else {}
    validate = validation(course.validate, settings, course.device, coop=True)
    student = fit(run, stop, lesson, student, settings, validate, extra)
    _save(course, run, STAGE2, student, {"steps": settings.stage2_steps, "samples": len(samples)})
    return student


def _is_dense(course: Course) -> bool:
    wanted = course.settings.stage1_depth
    if wanted == "dense" and not course.train.has_dense:
        raise UserError(f"{course.settings.data_dir}: stage1_depth: expected dense depth (truth), got lidar only")
    return wanted != "lidar" and course.train.has_dense


def _teacher(
    course: Course, stage1: nn.Module, average: nn.Module | None
) -> Callable[[Sequence[Sample]], TeacherTargets] | None:
    """What the settings distil from, as a function of the samples."""
    settings, device = course.settings, course.device
    if settings.teacher == "none":
        return None
    if average is not None:
        live = Teacher(average, settings.modality)
        return lambda samples: by_sample(live.answers(course.train, _rows(samples), device), samples)
    model = stage1
    if settings.teacher == "pretrained":
        folder = settings.teacher_path / "models"
        model = load_model(folder / (STAGE2 if (folder / STAGE2).is_dir() else STAGE1))[0].to(device)
    privileged = settings.teacher == "privileged"
    modality = "posed_sfm" if privileged else settings.modality
    frozen = Teacher.frozen(model, modality, sees_lidar=privileged)
    cached = CachedTeacher(frozen, course.train, settings.cache_dir, device)
    return lambda samples: by_sample(cached.answers(_rows(samples)), samples)


def _rows(samples: Sequence[Sample]) -> list[int]:
    return [row for sample in samples for row in sample.rows]


def _save(course: Course, run: Run, stage: str, model: nn.Module, facts: Mapping[str, object]) -> None:
    if run.accelerator.is_main_process:
        facts = {"parameters": num_parameters(model), "data": course.train.fingerprint, **facts}
        save_model(run.folder / "models" / stage, model, course.settings.model, facts)
