"""index.html and the drawings beside it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from drivelab_shared.files import replace_bytes
from drivelab_shared.pictures import Picture
from drivelab_shared.report import Report
from v2x_teacher.config import EvaluateSettings
from v2x_teacher.drawing.board import draw_case
from v2x_teacher.drawing.cases import CaseMaker
from v2x_teacher.drawing.curves import curves_of
from v2x_teacher.inputs import Inputs, step_times
from v2x_teacher.metrics import displacement
from v2x_teacher.scores import Method


def write_pages(output: Path, run: Path, inputs: Inputs, methods: Mapping[str, Method], num_drawings: int) -> int:
    """Write drawings/*.png of evenly spread samples, and index.html with all of them. Returns how many.

    Raises:
        UserError: a picture, a label or a calibration is broken.
    """
    samples = inputs.samples
    report = Report("Where will the vehicle go?", f"v2x-teacher, run `{run}`")
    report.conclude(*_conclusions(inputs, methods))
    report.text(
        "All trajectories are in `predictions.json`, with their times, frames and files. Positions are metres in the "
        "vehicle's frame when its picture was taken, x forward, y left."
    )
    maker = CaseMaker.of(inputs.recording, samples, step_times(samples), EvaluateSettings().ego_size_m)
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(num_drawings, len(samples))).round().astype(int))
    if len(chosen):
        report.heading("Drawings")
        report.text(maker.how_drawn)
    for index in chosen:
        board = _draw(maker, inputs, methods, int(index))
        title = samples.ids[index]
        replace_bytes(output / "drawings" / _file_name(title), Picture(board[None], title, board.shape[1]).encoded())
        report.picture(board, "", f"Prediction for {title}")
    report.write(output / "index.html")
    return len(chosen)


def _file_name(sample: str) -> str:
    """Readable, and without anything that leads elsewhere."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in sample) + ".png"


def _conclusions(inputs: Inputs, methods: Mapping[str, Method]) -> list[str]:
    samples = inputs.samples
    said = [f"{len(samples)} prediction{'s' if len(samples) > 1 else ''} over {step_times(samples)[-1]:g} s"]
    known = ~np.isnan(samples.truth).any(axis=(1, 2))
    if known.any():
        errors = {
            name: displacement(method.trajectories[known], samples.truth[known]).mean()
            for name, method in methods.items()
        }
        listed = ", ".join(f"{name} {error:.2f} m" for name, error in errors.items())
        said.append(
            f"for {known.sum()} of them the future is known to its end; mean distance to it (ADE): {listed}. "
            "`evaluate` says how much of that is chance"
        )
    said += [f"left out: {count} because {reason}" for reason, count in samples.excluded.items()]
    if inputs.recording.layout == "pair":
        said.append("two pictures without calibration: nothing can be drawn into them, and nobody else is known")
    return said


def _draw(maker: CaseMaker, inputs: Inputs, methods: Mapping[str, Method], index: int) -> np.ndarray:
    samples, modes = inputs.samples, methods["teacher"].modes
    trajectories = {name: method.trajectories[index] for name, method in methods.items()}
    curves = curves_of(samples.truth[index], trajectories, None if modes is None else modes[index], maker.truth_name)
    speed = float(np.linalg.norm(samples.ego[index, :2]))
    motion = f"{speed:.1f} m/s" if samples.history_s[index] > 0 else "motion not known"
    known_s = maker.times_s[~np.isnan(samples.truth[index, :, 0])].max(initial=0.0)
    future = f"what was driven is known for {known_s:.1f} s" if known_s else "what was driven is not known"
    return draw_case(maker.case(index, samples.ids[index], f"{motion}, {future}", curves))
