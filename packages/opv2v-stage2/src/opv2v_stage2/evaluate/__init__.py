"""Evaluate: depth, poses, scale and clouds of one vehicle and of several, beside baselines, on a list of frames.

    frame list -> samples -> predictions of every method -> a CSV per method and mode -> summary, tables, report

A model never sees what it is measured by: true poses and depth are not in its views unless a modality that says so is
asked for, and every table names the modality.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, results, runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.runs import Progress
from opv2v_stage2.config import EvaluateSettings, Modality
from opv2v_stage2.data.frame_list import (
    FrameList,
    ListedFrame,
    hash_v2,
    make_frame_list,
    read_frame_list,
    write_frame_list,
)
from opv2v_stage2.data.samples import Sample, sample_of
from opv2v_stage2.data.store import Store
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.evaluate.clouds import CloudRun
from opv2v_stage2.evaluate.frame_metrics import Moment, frame_row
from opv2v_stage2.evaluate.methods import (
    BATCH,
    Method,
    flat_ground,
    gps_poses,
    lidar_scaled,
    model_method,
    oracle,
    remembered,
)
from opv2v_stage2.evaluate.summary import summary
from opv2v_stage2.inference import Prediction
from opv2v_stage2.metrics.columns import Value, write_rows
from opv2v_stage2.metrics.pose import pose_columns
from opv2v_stage2.storage import load_model
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
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    evaluate_run(run, device, settings)


def evaluate_run(run: Path, device: torch.device, settings: EvaluateSettings | None = None) -> None:
    """`evaluate` for a run that may still be marked as running."""
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
    """Cross-vehicle errors by method and GPS noise."""
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]]
    """A few moments with all that was predicted, to be drawn."""
    seed: int
    """Of the training."""
    noise_m: float
    """Of GPS in the rows, metres and degrees."""


def measure(trained: TrainedRun, settings: EvaluateSettings, output: Path) -> Measured:
    """Run every method on every frame, and write the CSVs, the summary and the frame list."""
    frames = _frames(trained.tree, settings, output)
    store = trained.store(settings.split, depth_root=settings.depth_root)
    methods = _methods(trained, settings, store)
    clouds = CloudRun(trained.tree, settings, output)
    rows: Rows = {}
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]] = []
    for mode in settings.modes:
        listed = [frame for frame in frames.frames if mode == "single" or frame.coop_agents]
        if len(listed) < len(frames.frames):
            print(f"{mode}: {len(frames.frames) - len(listed)} frames with one vehicle are left out", file=sys.stderr)
        samples = [sample_of(store, f.key, f.agents if mode == "coop" else (f.main_agent,)) for f in listed]
        for method in methods:
            found = _predicted(method, store, samples, settings)
            rows[method.name, mode] = _measured_rows(store, listed, samples, method, mode, found, clouds, shown)
            write_rows(output / method.name / f"{mode}_metrics.csv", rows[method.name, mode])
            clouds.save_representatives(method.name, mode, rows[method.name, mode])
    poses = _over_noise(store, frames, methods, settings) if "coop" in settings.modes else {}
    replace_text(output / POSES, json.dumps([dict(row) for rows in poses.values() for row in rows]) + "\n")
    paths = {method.name: str(trained.folder) for method in methods}
    text = json.dumps(summary(frames, rows, paths, settings, trained), indent=1) + "\n"
    replace_text(output / f"summary_{settings.split}.json", text)
    return Measured(frames, methods, rows, poses, shown, trained.settings.seed, settings.table_noise_m)


def _frames(tree: Tree, settings: EvaluateSettings, output: Path) -> FrameList:
    """The frame list that is asked for; written beside the results, whose frames it must match."""
    if settings.frames_json is not None:
        frames = read_frame_list(settings.frames_json)
        if frames.split != settings.split:
            raise UserError(f"{settings.frames_json}: split: expected {settings.split}, got {frames.split}")
    else:
        frames = make_frame_list(tree, settings.split, sample_size=settings.sample_size, seed=settings.seed)
    path = output / f"frames_{settings.split}.json"
    if path.exists() and not settings.force:
        ours, theirs = (hash_v2(one.frames) for one in (frames, read_frame_list(path)))
        if ours != theirs:
            raise UserError(f"{path}: expected the same frames as before, {theirs}, got {ours}; --force replaces them")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame_list(path, frames)
    return frames


def _methods(trained: TrainedRun, settings: EvaluateSettings, store: Store) -> list[Method]:
    """The models, then the baselines."""
    modality = _modality(trained, settings)
    models = {stage: trained.model(stage) for stage in trained.stages}
    if settings.models:
        models = {}
        for model in settings.models:
            name, _, path = model.partition("=")
            models[name] = load_model(_model_folder(Path(path)))[0].to(trained.device)
    if settings.model_filter:
        unknown = [name for name in settings.model_filter if name not in models]
        if unknown:
            raise UserError(f"model_filter: expected some of {', '.join(models)}, got {', '.join(unknown)}")
        models = {name: models[name] for name in settings.model_filter}
    methods = [model_method(name, model, modality, trained.device) for name, model in models.items()]
    baselines = [flat_ground(trained.settings.model, modality, trained.device)]
    for number, teacher in enumerate(methods):
        if teacher.name != "stage2":
            methods[number] = remembered(teacher)
            baselines.append(lidar_scaled(f"{teacher.name}_lidar_scaled", methods[number]))
            break
    baselines.append(oracle(dense=False))
    if store.has_dense:
        baselines.append(oracle(dense=True))
    return methods + baselines


def _modality(trained: TrainedRun, settings: EvaluateSettings) -> Modality:
    if settings.keep_camera_poses:
        return "posed_sfm"
    modality = settings.model_task or trained.settings.modality
    return "rig" if settings.keep_main_agent_poses and modality in ("images_only", "calibrated_sfm") else modality


def _model_folder(path: Path) -> Path:
    """The folder of a model: itself, or the newest stage of a run."""
    stages = [path / "models" / stage for stage in ("stage2", "stage1")]
    return next((stage for stage in stages if stage.is_dir()), path)


def _predicted(
    method: Method, store: Store, samples: Sequence[Sample], settings: EvaluateSettings
) -> Iterator[Prediction]:
    noise = Noise(settings.table_noise_m, settings.table_noise_m)
    with Progress(method.name, len(samples)) as bar:
        for start in range(0, len(samples), BATCH):
            some = list(samples[start : start + BATCH])
            with torch.no_grad():
                yield from method.predict(store, some, noise, (settings.seed, start))
            bar.update(start + len(some))


def _measured_rows(
    store: Store,
    listed: Sequence[ListedFrame],
    samples: Sequence[Sample],
    method: Method,
    mode: str,
    found: Iterator[Prediction],
    clouds: CloudRun,
    shown: list[tuple[ListedFrame, Moment, dict[str, Prediction]]],
) -> list[dict[str, Value]]:
    rows = []
    for number, (frame, sample, prediction) in enumerate(zip(listed, samples, found, strict=True)):
        moment = Moment(store, sample)
        row = frame_row(frame, mode, moment, prediction) | clouds.columns(method.name, mode, frame, moment, prediction)
        odd = [
            name
            for name in ("depth_mae", "scale_eff", "pose_abs_m")
            if row[name] is not None and not np.isfinite(row[name])
        ]
        if odd and (moment.labels_z > 0).any():
            raise UserError(f"{method.name}: {frame.key}: expected finite figures, got none for {', '.join(odd)}")
        rows.append(row)
        if mode == "coop" and number < MOST_SHOWN:
            if len(shown) <= number:
                shown.append((frame, moment, {}))
            shown[number][2][method.name] = prediction
    return rows


def _over_noise(
    store: Store, frames: FrameList, methods: Sequence[Method], settings: EvaluateSettings
) -> dict[tuple[str, float], list[dict[str, Value]]]:
    """Errors between vehicles of GPS alone and of the last model, with the same noise."""
    listed = [frame for frame in frames.frames if frame.coop_agents]
    samples = [sample_of(store, frame.key, frame.agents) for frame in listed]
    moments = [Moment(store, sample) for sample in samples]
    found: dict[tuple[str, float], list[dict[str, Value]]] = {}
    models = [method for method in methods if not method.is_baseline and method.modality == "gps"][-1:]
    for number, metres in enumerate(settings.pose_noise_m):
        noise = Noise(metres, metres)
        poses: dict[str, list[np.ndarray]] = {"GPS": []} | {method.name: [] for method in models}
        for start in range(0, len(samples), BATCH):
            some, key = samples[start : start + BATCH], (settings.seed, 1, number, start)
            poses["GPS"] += list(gps_poses(store, some, noise, key))
            for method in models:
                with torch.no_grad():
                    poses[method.name] += [one.camera_pose for one in method.predict(store, some, noise, key)]
        for name, predicted in poses.items():
            found[name, metres] = [
                {"method": name, "gps_noise_m": metres, **_cross_columns(frame, moment, pose)}
                for frame, moment, pose in zip(listed, moments, predicted, strict=True)
            ]
    return found


def _cross_columns(frame: ListedFrame, moment: Moment, pose: np.ndarray) -> dict[str, Value]:
    columns: Mapping[str, float] = pose_columns(pose, moment.camera_pose, moment.agent_index, moment.rig)
    kept = {name: value for name, value in columns.items() if name.startswith("cross_agent")}
    return {"sequence": frame.sequence, "frame": frame.frame, "baseline_bucket": frame.baseline_bucket, **kept}
