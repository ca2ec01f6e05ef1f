"""report.html of an evaluation: what to conclude, what models see and where they float, curves, tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Table
from opv2v_stage2.clouds.cloud import CloudFrame
from opv2v_stage2.clouds.overhead import height_colours, overhead
from opv2v_stage2.evaluate.cloud_metrics import predicted_cloud
from opv2v_stage2.evaluate.frame_metrics import VALID, Moment
from opv2v_stage2.inference import PER_AGENT, Prediction
from opv2v_stage2.metrics.floaters import floaters
from opv2v_stage2.trained import TrainedRun

if TYPE_CHECKING:
    from opv2v_stage2.evaluate import Measured

FARTHEST_M = 60.0
"""Depth of the last colour."""
OVERHEAD_M = 60.0
CAMERAS = ("front", "right rear", "left rear", "back")
GREY, MAGENTA = (128, 128, 128), (255, 0, 200)


def write_report(path: Path, tables: Sequence[Table], measured: "Measured", trained: TrainedRun) -> None:
    """One page for a person."""
    settings = trained.settings
    report = Report(
        f"Cooperative reconstruction: {', '.join(trained.stages)}",
        f"{trained.folder.name}, {settings.stage1_steps} + {settings.stage2_steps} steps, seed {settings.seed}; "
        f"modality {settings.modality}; tables have {measured.noise_m:g} m and degrees of GPS noise",
    )
    for table in tables:
        report.conclude(*table.conclusions)
    models = [method.name for method in measured.methods if not method.is_baseline]
    for listed, moment, predictions in measured.shown[:1]:
        report.heading(f"What the models see at {listed.sequence}/{listed.frame}")
        report.strip(*depth_strip(moment, {name: predictions[name] for name in models}))
    for listed, moment, predictions in measured.shown:
        report.heading(f"From above at {listed.sequence}/{listed.frame}")
        names = [*models, *(("dense_oracle",) if "dense_oracle" in predictions else ())]
        pictures = [above(moment, predictions[name]) for name in names]
        caption = f"Points by vehicle, {', '.join(names)} from left to right; the square is {2 * OVERHEAD_M:g} m wide"
        report.picture(np.concatenate(pictures, axis=1), caption)
    if measured.poses:
        report.heading("Where the other vehicle is, over the noise of GPS")
        report.figure(
            noise_figure(tables), "Mean error, 95 % interval over scenarios", "Error between vehicles over GPS noise"
        )
    for table in tables:
        report.results(table)
    report.write(path)


def depth_strip(
    moment: Moment, predictions: dict[str, Prediction]
) -> tuple[list[tuple[str, UInt8[np.ndarray, "columns height width 3"]]], list[str], str]:
    """Pictures of the main vehicle, labels, truth and predictions: arguments of `Report.strip`."""
    own = slice(0, PER_AGENT)
    images = np.asarray(moment.store.arrays["images"][moment.sample.rows[0]])
    rows = [("picture", images), ("lidar labels", coloured(moment.labels_z[own], moment.labels_z[own] > 0))]
    if moment.has_dense:
        rows.append(("truth", coloured(moment.dense_z[own], np.isfinite(moment.dense_z[own]))))
    for name, prediction in predictions.items():
        valid = prediction.validity[own] >= VALID
        shown = coloured(prediction.depth_z[own], valid)
        if moment.has_dense:
            floating = floaters(prediction.depth_z[own], valid, moment.dense_z[own], moment.intrinsics[own])
            shown[floating] = MAGENTA
        rows.append((name, shown))
    rows = [(name, frames.repeat(2, axis=1).repeat(2, axis=2)) for name, frames in rows]
    caption = f"Depth from 0 (red) to {FARTHEST_M:g} m (blue); grey: not valid, magenta: floats"
    return rows, list(CAMERAS), caption


def coloured(
    depth_z: Float[np.ndarray, "views height width"], known: Bool[np.ndarray, "views height width"]
) -> UInt8[np.ndarray, "views height width 3"]:
    """Near is red, far is blue, unknown is grey."""
    share = 1 - np.sqrt(np.clip(np.where(known, depth_z, 0) / FARTHEST_M, 0, 1))
    colours = height_colours((share * 8.0).astype(np.float32).ravel()).reshape(*depth_z.shape, 3)
    colours[~known] = GREY
    return colours


def above(moment: Moment, prediction: Prediction) -> UInt8[np.ndarray, "size size 3"]:
    """The cloud of all vehicles, by vehicle."""
    cloud = predicted_cloud(moment, prediction, CloudFrame())
    return overhead([cloud], OVERHEAD_M, colour_by="agent", size_px=360)


def noise_figure(tables: Sequence[Table]) -> "object":
    """Error between vehicles over the noise of GPS, one line per method."""
    (table,) = [table for table in tables if table.table == "noise"]
    rows = [row for row in table.rows if row.metric.endswith("[m]")]
    lines = []
    for method in dict.fromkeys(row.row for row in rows):
        own = [row for row in rows if row.row == method]
        metres = [float(str(row.at).split()[0]) for row in own]
        lines.append(Line.of(method, metres, own))
    return line_plot(lines, "standard deviation of GPS [m and degrees]", "error between vehicles [m]")
