"""Evaluate: depth, poses, scale and clouds of one vehicle and of several, beside baselines, on a list of frames.

    frame list -> samples -> predictions of every method -> a CSV per method and mode -> summary, tables, report

A model never sees what it is measured by: true poses and depth are not in its views unless a modality that says so is
asked for, and every table names the modality.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, results, runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.runs import Progress
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import FrameList, ListedFrame
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.evaluate.chosen import batched, frame_list, listed_samples, methods_of
from opv2v_stage2.evaluate.clouds import CloudRun
from opv2v_stage2.evaluate.frame_metrics import Moment, frame_row
from opv2v_stage2.evaluate.methods import Method
from opv2v_stage2.evaluate.over_noise import poses_over_noise
from opv2v_stage2.evaluate.recompute import recomputed
from opv2v_stage2.evaluate.summary import summary
from opv2v_stage2.inference import Prediction
from opv2v_stage2.metrics.columns import Value, write_rows
from opv2v_stage2.trained import TrainedRun, open_trained
from opv2v_stage2.views import Noise

PACKAGE = "opv2v-stage2"
POSES = "poses_over_noise.json"
"""Errors between vehicles by frame, method and noise of GPS."""
MOST_SHOWN = 3
"""Moments that are drawn."""
Rows = dict[tuple[str, str], list[dict[str, Value]]]
"""By method and mode."""


def evaluate(settings: EvaluateSettings) -> None:
    """Write CSVs, summary, clouds, results.json and report.html, and print the headline.

    Raises:
        UserError: there is no such run or model, the data do not fit it, or results on other frames are there.
    """
    run = runs.find(PACKAGE, settings.run_dir or _run_of(settings.models))
    device = engine.start(settings.device, threads=settings.threads).device
    evaluate_run(run, device, settings)


def _run_of(models: Sequence[str]) -> Path | None:
    """The run that a model is named by, so that nobody has to name it twice."""
    paths = [Path(model.partition("=")[2]) for model in models]
    return next((path for path in paths if (path / "manifest.json").is_file()), None)


def evaluate_run(run: Path, device: torch.device, settings: EvaluateSettings | None = None) -> None:
    """`evaluate` for a run that may still be marked as running; its own settings say how much of it."""
    from opv2v_stage2.evaluate.page import write_report  # here: it needs matplotlib
    from opv2v_stage2.evaluate.tables import evaluation_tables

    own = settings is None
    given = settings or EvaluateSettings()
    given = dataclasses.replace(given, data_dir=given.data_dir or given.images_root)
    trained = open_trained(run, device, given)
    budget = {"sample_size": trained.settings.eval_frames, "pose_noise_m": trained.settings.eval_noise_m}
    settings = dataclasses.replace(given, **budget) if own else given
    output = settings.output_root or settings.output_dir or (run if own else run / "evaluate")
    measured = measure(trained, settings, output)
    tables = evaluation_tables(measured, settings)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", tables, measured, trained)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)), end="\n\n")
    print(f"report: {output / 'report.html'}")


@dataclass(frozen=True, eq=False)
class Measured:
    """What an evaluation has found."""

    frames: FrameList
    methods: list[Method]
    rows: Rows
    poses: dict[tuple[str, float], list[dict[str, Value]]]
    """Errors between vehicles by method and noise of GPS."""
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]]
    """A few moments with all that was predicted, to be drawn."""
    seed: int
    """Of the training."""
    noise_m: float
    """Of GPS in the rows, metres and degrees."""


def measure(trained: TrainedRun, settings: EvaluateSettings, output: Path) -> Measured:
    """Measure every method on every frame, and write the CSVs, the summary and the frame list.

    Raises:
        UserError: see `evaluate`.
    """
    frames = frame_list(trained.tree, settings, output)
    with tempfile.TemporaryDirectory(prefix="opv2v-stage2-clouds-") as scratch:
        clouds = CloudRun(trained.tree, settings, output, Path(scratch))
        measured = _measured(trained, settings, frames, clouds)
        for (method, mode), rows in measured.rows.items():
            write_rows(output / method / f"{mode}_metrics.csv", rows)
            clouds.save_representatives(method, mode, rows)
    if measured.poses:
        poses = [dict(row) for rows in measured.poses.values() for row in rows]
        replace_text(output / POSES, json.dumps(poses) + "\n")
    text = json.dumps(summary(frames, measured.rows, measured.methods, settings, trained), indent=1) + "\n"
    replace_text(output / f"summary_{settings.split}.json", text)
    return measured


def _measured(trained: TrainedRun, settings: EvaluateSettings, frames: FrameList, clouds: CloudRun) -> Measured:
    facts = {"seed": trained.settings.seed, "noise_m": settings.table_noise_m}
    if settings.pc_cache_dir is not None:
        methods, rows = recomputed(trained, settings, frames)
        return Measured(frames, methods, rows, poses={}, shown=[], **facts)
    store = trained.store(settings.split, depth_root=settings.depth_root)
    methods = methods_of(trained, settings, store)
    rows: Rows = {}
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]] = []
    for mode in settings.modes:
        listed = listed_samples(store, frames, mode)
        if len(listed) < len(frames.frames):
            alone = len(frames.frames) - len(listed)
            print(f"{mode}: {alone} frames with one vehicle are left out", file=sys.stderr)
        rows |= _measured_rows(store, listed, methods, mode, settings, clouds, shown)
    poses = poses_over_noise(store, frames, methods, settings) if "coop" in settings.modes else {}
    return Measured(frames, methods, rows, poses, shown, **facts)


def _measured_rows(
    store: Store,
    listed: Sequence[tuple[ListedFrame, Sample]],
    methods: Sequence[Method],
    mode: str,
    settings: EvaluateSettings,
    clouds: CloudRun,
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]],
) -> Rows:
    """Rows of all methods in one mode, batch after batch: what a method said is forgotten with its batch."""
    rows: Rows = {(method.name, mode): [] for method in methods}
    noise = Noise(settings.table_noise_m, settings.table_noise_m)
    with Progress(mode, len(listed)) as bar:
        for start, some in batched(listed):
            moments = [Moment(store, sample) for _, sample in some]
            said = _said(store, [sample for _, sample in some], methods, noise, (settings.seed, start))
            for number, ((frame, _), moment) in enumerate(zip(some, moments, strict=True)):
                predictions = {name: found[number] for name, found in said.items()}
                for name, prediction in predictions.items():
                    row = frame_row(frame, mode, moment, prediction)
                    _require_finite(row, name, frame, moment)
                    row |= clouds.columns(name, mode, frame, moment, prediction)
                    rows[name, mode].append(row)
                if mode == "coop" and len(shown) < MOST_SHOWN:
                    shown.append((frame, moment, predictions))
            bar.update(start + len(some))
    return rows


def _said(
    store: Store, samples: list[Sample], methods: Sequence[Method], noise: Noise, key: tuple[int, ...]
) -> dict[str, list[Prediction]]:
    """What every method says of some moments; one that builds on another is given its answer."""
    said: dict[str, list[Prediction]] = {}
    for method in methods:
        with torch.no_grad():
            if method.refine is not None:
                said[method.name] = method.refine(store, samples, said[method.source])
            else:
                said[method.name] = method.predict(store, samples, noise, key)
    return said


def _require_finite(row: dict[str, Value], method: str, frame: ListedFrame, moment: Moment) -> None:
    """A figure that is no number invalidates everything: it must not be averaged away.

    Raises:
        UserError: there is one.
    """
    names = ("depth_mae", "scale_eff", "pose_abs_m") if (moment.labels_z > 0).any() else ("pose_abs_m",)
    odd = [name for name in names if not np.isfinite(row[name])]
    if odd:
        raise UserError(f"{method}: {frame.key}: expected finite figures, got none for {', '.join(odd)}")
