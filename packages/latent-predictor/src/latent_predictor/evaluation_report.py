"""The page that shows a person whether the imagined future still knows the lane."""

import json
from pathlib import Path

import numpy as np
import torch

from drivelab_shared.plots import Line, confusion_plot, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Table
from latent_predictor.imagine import Windows, imagine
from latent_predictor.latents import decode, to_frames
from latent_predictor.models import CLASSES
from latent_predictor.scores import Scores
from latent_predictor.tables import JUDGE_NAMES
from latent_predictor.trained import TrainedRun

STRIP_STEPS = (1, 3, 5, 8, 10, 15, 20)
BASELINES = ("reconstruction", "copy last", "state oracle")


def write_report(
    path: Path, tables: list[Table], scores: Scores, trained: TrainedRun, windows: Windows, run: Path
) -> None:
    """Write report.html: what to conclude, curves, pictures, and every table."""
    store = trained.store
    report = Report("Does the imagined future still know its lane?", f"latent-predictor, run `{run}`")
    headline = tables[0]
    report.conclude(*headline.conclusions)
    report.text(
        f"The model sees {windows.context} real frames of a drive that it was not trained on, then only the actions, "
        "and imagines on from its own predictions. Three judges read the lane: **a**, the classifier of the loss; "
        "**b**, another classifier of latents; **c**, a classifier of pictures, which reads the decoded predictions. "
        "Only where all three agree has the model kept the meaning. Shaded bands are 95 % intervals over drives."
    )
    report.heading("What it imagines")
    for window in _interesting(scores):
        _add_pictures(report, trained, windows, window)
    report.heading("How long it keeps the lane")
    for name in (JUDGE_NAMES["c"], JUDGE_NAMES["a"]):
        metric = f"accuracy [%], {name}"
        lines = _lines(headline, metric, store.dt)
        if lines:
            figure = line_plot(lines, "seconds imagined", f"windows with the right lane [%]\n{name}", y_range=(0, 100))
            report.figure(figure, f"Right lane by horizon, {name}", f"Accuracy over seconds imagined, {name}")
    if (scores.labels >= 0).any():
        horizon = 10 if 10 in scores.horizons else scores.horizons[-1]
        counts = {f"judge {judge}": scores.confusion("predictor", judge, horizon).sum(0) for judge in scores.judges}
        caption = f"Who confuses what, {horizon * store.dt:.1f} s ahead"
        report.figure(confusion_plot(counts, CLASSES), caption, caption)
    _add_training_curves(report, run)
    for table in tables:
        report.results(table)
    report.write(path)


def _lines(table: Table, metric: str, dt: float) -> list[Line]:
    rows = [row for row in table.rows if row.metric == metric and row.value is not None]
    names = list(dict.fromkeys(row.row for row in rows))
    shown = [name for name in names if name not in ("real", "constant mean", "label stays")]
    lines = []
    for name in shown:
        own = [row for row in rows if row.row == name]
        is_baseline = name in BASELINES or name == "majority class"
        lines.append(Line.of(name, [row.at * dt for row in own], own, is_baseline=is_baseline))
    return lines


def _interesting(scores: Scores) -> list[int]:
    """A window in which the car changes lane, and one in which the pictures are read wrongly in the end, if any."""
    first, last = scores.labels[:, 0], scores.labels[:, -1]
    answers = scores.methods["predictor"].classes["c"][:, -1]
    changes = (first != last) & (first >= 0) & (last >= 0)
    chosen = [np.flatnonzero(changes & (answers == last))[:1], np.flatnonzero(changes & (answers != last))[:1]]
    found = [int(index[0]) for index in chosen if len(index)]
    return found or [0]


def _add_pictures(report: Report, trained: TrainedRun, windows: Windows, index: int) -> None:
    store, dt = trained.store, trained.store.dt
    one = Windows(windows.starts[[index]], np.zeros(1, dtype=np.int64), windows.context, windows.horizon)
    rows = one.starts[0] + windows.context - 1 + np.arange(1, windows.horizon + 1)
    parts = {"real": np.array(store.frames[rows])}
    real = torch.from_numpy(np.array(trained.latents[rows])).to(trained.device)
    parts["reconstructed"] = to_frames(decode(trained.vae, real))
    for name, predictor in (("imagined", trained.predictor), ("imagined without actions", trained.twin)):
        if predictor is not None:
            future = imagine(predictor, trained.latents, store, one, trained.device)[0]
            parts[name] = to_frames(decode(trained.vae, future))
    steps = [step for step in STRIP_STEPS if step <= windows.horizon]
    lane = [CLASSES[label] if label >= 0 else "unknown" for label in store.judge_labels[rows]]
    columns = [f"{step * dt:.2f} s, {lane[step - 1]}" for step in steps]
    name = next(span.name for span in store.trajectories if span.start <= rows[0] < span.start + span.length)
    with torch.no_grad():
        pictures = torch.from_numpy(parts["imagined"]).permute(0, 3, 1, 2).float().div(255).to(trained.device)
        read = trained.judge_pixel(pictures).argmax(-1).tolist()
    story = (
        f"{name}: the car goes from {lane[0]} to {lane[-1]}; in the imagined pictures judge c reads {CLASSES[read[-1]]}"
    )
    strip = [(row, frames[[step - 1 for step in steps]]) for row, frames in parts.items()]
    report.strip(
        strip, columns, f"{story}. Times count from the last real frame; the lane above each column is the true one."
    )
    film = np.concatenate(list(parts.values()), axis=2)
    report.animation(film, 1 / dt, f"{name}: the same {len(rows) * dt:.1f} s in motion", labels=list(parts))


def _add_training_curves(report: Report, run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    val = [line for line in lines if line.get("stage") == "predictor" and line["split"] == "val"]
    if len(val) < 2:
        return
    names = {"pixel_accuracy_h10": "decoded pictures (c), 10 frames", "accuracy_h10": "classifier (a), 10 frames"}
    curves = [
        Line(label, [line["step"] for line in val], [100 * (line[name] or 0) for line in val])
        for name, label in names.items()
        if name in val[0]
    ]
    if curves:
        report.heading("How it learned")
        figure = line_plot(curves, "optimizer steps", "validation accuracy [%]", y_range=(0, 100))
        report.figure(figure, "Validation drives, open loop, after every epoch", "Validation accuracy over training")
