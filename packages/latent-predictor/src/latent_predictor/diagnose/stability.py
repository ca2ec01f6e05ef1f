"""Was the training stable? Losses and gradients from the run's own metrics.jsonl."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drivelab_shared.plots import COLOURS
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from latent_predictor.diagnose.sample import Sample, Section

STAGE = "predictor"
SPIKE = 2.0
"""A loss this many times the median of its neighbours is a spike."""
OVERFIT = 2.0
"""Percent above its best at which the validation MSE is said to have risen."""
NEIGHBOURS = 5
"""Logged steps to either side."""

Lines = list[dict[str, Any]]


def measure_stability(sample: Sample) -> Section | None:
    """Of the predictor's training; None where the run kept no metrics of it."""
    lines = _read(sample.trained.folder / "metrics.jsonl")
    training, validation = ([line for line in lines if line["split"] == split] for split in ("train", "val"))
    if not training:
        return None
    weight = sample.trained.settings.lambda_cls
    title = "Was the training of the predictor stable?"
    table = sample.table("stability", title, _rows(training, validation), _conclusions(training, validation, weight))

    def show(report: Report) -> None:
        caption = (
            "Training losses and the norms of their gradients at the predictions, logged every few steps; validation "
            "is open loop, after every epoch."
        )
        report.figure(_figure(training, validation, weight), caption, "Curves of losses, gradient norms and validation")

    return Section(table, show)


def _read(path: Path) -> Lines:
    """The lines of the predictor's stage. A run that was killed may have left half a line."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return [line for line in lines if line.get("stage") == STAGE]


def _values(lines: Lines, name: str) -> np.ndarray:
    """NaN where a line does not have it, or where it was not finite."""
    return np.array([line[name] if line.get(name) is not None else np.nan for line in lines], dtype=float)


def _rows(training: Lines, validation: Lines) -> list[Row]:
    """First, early and last figures: early is after the first epoch for validation, the first tenth for training."""
    found = []
    for name in ("loss", "mse", "ce", "grad_mse", "grad_ce"):
        for at, share in (
            ("first tenth", slice(None, _tenth(training))),
            ("last tenth", slice(-_tenth(training), None)),
        ):
            values = _values(training, name)[share]
            if np.isfinite(values).any():
                found.append(Row(f"training, {name}", "mean", float(np.nanmean(values)), at=at))
    for name in ("mse", "ce", "total", "pixel_accuracy"):
        if validation:
            found.append(Row(f"validation, {name}", "value", _values(validation, name)[0], at="after epoch 1"))
            found.append(Row(f"validation, {name}", "value", _values(validation, name)[-1], at="at the end"))
    return found


def _tenth(lines: Lines) -> int:
    return max(1, len(lines) // 10)


def _num_spikes(losses: np.ndarray) -> int:
    count = 0
    for index, loss in enumerate(losses):
        around = losses[max(0, index - NEIGHBOURS) : index + NEIGHBOURS + 1]
        count += bool(loss > SPIKE * np.nanmedian(around))
    return count


def _conclusions(training: Lines, validation: Lines, weight: float) -> list[str]:
    losses, tenth = _values(training, "loss"), _tenth(training)
    odd = sum(bool(line.get("nonfinite")) for line in training + validation)
    spikes = _num_spikes(losses[tenth:])  # the steep beginning is not what a spike means
    found = [
        f"**{'Training was not stable' if odd or spikes else 'Training was stable'}**: {odd} of "
        f"{len(training) + len(validation)} logged lines hold a figure that is not finite, and {spikes} losses exceed "
        f"{SPIKE:g} times those around them."
    ]
    if len(training) >= 20:
        change = 100 * (np.nanmean(losses[-tenth:]) / np.nanmean(losses[-2 * tenth : -tenth]) - 1)
        found.append(f"Over the last tenth of the steps the training loss changed by {change:+.1f} %.")
    ce, mse = (np.nanmean(_values(training, name)[-tenth:]) for name in ("grad_ce", "grad_mse")) if weight else (0, 0)
    if weight and np.isfinite(ce / mse):
        share = weight * ce / mse
        steers = "the lane loss steers" if share > 2 else "the MSE steers" if share < 0.5 else "both steer"
        found.append(
            f"At the end the weighted gradient of the lane loss is {share:.2f} times that of the MSE: {steers}."
        )
    if len(validation) > 1:
        found.append(_trade_off(validation))
    return found


def _trade_off(validation: Lines) -> str:
    """MSE against CE since the first epoch, and whether the MSE has been better."""
    mse, ce = _values(validation, "mse"), _values(validation, "ce")
    change = f"since the first epoch MSE went {mse[0]:.3f} -> {mse[-1]:.3f}, CE {ce[0]:.3f} -> {ce[-1]:.3f}"
    best = int(np.nanargmin(mse))
    rise = 100 * (mse[-1] / mse[best] - 1)
    if rise < OVERFIT:
        return f"On validation, {change}; the MSE ended within {OVERFIT:g} % of its best: no over-fitting."
    return f"On validation, {change}; the MSE was best after epoch {best + 1} of {len(mse)} and rose by {rise:.0f} %."


def _figure(training: Lines, validation: Lines, weight: float) -> Figure:
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    panels = figure.subplots(2, 2)
    _panel(panels[0, 0], training, {"mse": "MSE", "ce": "CE (not weighted)"}, "training loss", logarithmic=True)
    weighted = [line | {"grad_ce": weight * line["grad_ce"]} if line.get("grad_ce") else line for line in training]
    labels = {"grad_mse": "MSE", "grad_ce": f"{weight:g} x CE"}
    _panel(panels[0, 1], weighted, labels, "gradient norm at the predictions", logarithmic=True)
    _panel(panels[1, 0], validation, {"mse": "MSE", "ce": "CE"}, "validation loss, open loop")
    accuracy = {f"pixel_accuracy_h{h}": f"{h} steps ahead" for h in (1, 5, 10, 20)}
    _panel(panels[1, 1], validation, accuracy, "validation accuracy of judge c")
    for axes in panels[1]:
        axes.set_xlabel("optimizer step")
    return figure


def _panel(axes: Axes, lines: Lines, labels: dict[str, str], title: str, *, logarithmic: bool = False) -> None:
    steps = [line["step"] for line in lines]
    for colour, (name, label) in zip(COLOURS, labels.items(), strict=False):
        values = _values(lines, name)
        if np.isfinite(values).any():
            axes.plot(steps, values, color=colour, label=label, linewidth=1.6, marker="o" if len(steps) < 3 else "")
    axes.set_title(title, fontsize=10)
    if logarithmic and axes.lines:
        axes.set_yscale("log")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
