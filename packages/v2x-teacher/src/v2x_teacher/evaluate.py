"""Evaluate: predicted trajectories against the driven ones, beside every baseline without which they mean nothing."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, results, runs
from v2x_teacher.collisions import Traffic
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.data.kinematics import prior
from v2x_teacher.inputs import Inputs, step_times
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.pictures import GREY
from v2x_teacher.scores import Method, Scores
from v2x_teacher.situations import save_situations, situations
from v2x_teacher.tables import evaluation_tables, headline
from v2x_teacher.trained import TrainedRun, open_trained

PACKAGE = "v2x-teacher"


def evaluate(settings: EvaluateSettings) -> None:
    """Write scores, results.json and report.html, and print the headline.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    evaluate_run(run, device, settings)


def evaluate_run(run: Path, device: torch.device, settings: EvaluateSettings | None = None) -> None:
    """`evaluate` for a run that may still be marked as running."""
    from v2x_teacher.evaluation_report import write_report  # here: it needs matplotlib

    settings = settings or EvaluateSettings()
    trained = open_trained(run, device, settings)
    if settings.split == "test" and not trained.inputs.samples.mask("test").any():
        print("evaluate: these data have no test split: the figures are of the validation split", file=sys.stderr)
        settings = dataclasses.replace(settings, split="val")
    scores, tags = score(trained, settings)
    output = settings.output_dir or (run if settings.run_dir is None else run / "evaluate")
    output.mkdir(parents=True, exist_ok=True)
    scores.save(output / "scores.npz")
    save_situations(output / "situations.npz", tags)
    tables = evaluation_tables([scores], tags, [trained.settings.seed], trained, settings)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", tables, scores, trained, settings)
    print(headline(tables))
    print(f"report: {output / 'report.html'}")


def score(trained: TrainedRun, settings: EvaluateSettings) -> tuple[Scores, dict[str, np.ndarray]]:
    """Every method on every sample of the split, and which samples belong to which situation."""
    rows = trained.rows(settings.split)
    samples = trained.inputs.samples
    methods = dict(_methods(trained, rows, settings))
    evaluated = samples.at(rows)
    traffic = None if samples.row_labels else Traffic.of(trained.inputs.recording, evaluated)
    scores = Scores.of(evaluated, methods, traffic, settings.ego_size_m)
    return scores, situations(trained.inputs.recording, evaluated)


def _methods(trained: TrainedRun, rows: np.ndarray, settings: EvaluateSettings) -> Iterator[tuple[str, Method]]:
    inputs, samples = trained.inputs, trained.inputs.samples
    yield "teacher", _predicted(trained, trained.teacher, inputs, rows)
    if trained.one_camera is not None:
        yield "trained without infrastructure", _predicted(trained, trained.one_camera, trained.one_camera_inputs, rows)
    if trained.ego_mlp is not None:
        yield "ego MLP", _predicted(trained, trained.ego_mlp, inputs.without_pictures(), rows)
    if inputs.cameras is not None:
        yield "shuffled pictures", _predicted(trained, trained.teacher, inputs.shuffled(settings.seed), rows)
    if inputs.cameras == "both":
        part = inputs.subset(rows)
        views = np.array(part.views)
        views[:, 1] = GREY
        blind = part.with_views(views, trained.device)
        yield "infrastructure picture greyed", _predicted(trained, trained.teacher, blind, np.arange(len(rows)))
    if inputs.knows_motion:
        for name, kind in (("CTRV", "ctrv"), ("CV", "cv")):
            yield name, Method(prior(kind, samples.ego[rows], step_times(samples)).astype(np.float32))
    train = samples.truth[samples.mask("train")]
    train = train if len(train) else samples.truth
    shape = (len(rows), *samples.truth.shape[1:])
    for name, constant in (("train mean", np.nanmean(train, 0)), ("train median", np.nanmedian(train, 0))):
        yield name, Method(np.broadcast_to(constant, shape).astype(np.float32))
    yield "driven", Method(samples.truth[rows])
    yield "stand still", Method(np.zeros(shape, np.float32))


def _predicted(trained: TrainedRun, network: Teacher, inputs: Inputs, rows: np.ndarray) -> Method:
    return inputs.method(network, rows, trained.device)
