"""Does the error accumulate? Open loop beside the same predictor on real latents, on the same frames."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.stats import Interval
from latent_predictor.diagnose.sample import Sample, Section, latents_at
from latent_predictor.imagine import CHUNK, imagine

Errors = dict[str, Float[np.ndarray, "windows steps"]]
"""Mean squared error of the latent, by method."""
OURS, ONE_STEP, TWIN = "open loop", "one step", "no-action twin"
COPY, MEAN = "copy last", "constant mean"
LEVEL = 0.9
"""Share of the growth after which the error is said to have levelled off."""


def measure_growth(sample: Sample) -> Section:
    """Squared error per imagined step, relative to copying the last latent and to the constant mean, and the spread."""
    errors = _errors(sample)
    spread = _spread(sample.imagined) / _spread(sample.real)
    rows = [
        *_rows(sample, errors, MEAN, (OURS, ONE_STEP, TWIN, COPY)),
        *_rows(sample, errors, COPY, (OURS, ONE_STEP, TWIN)),
        *_rows(sample, errors, ONE_STEP, (OURS,)),
        *(Row(OURS, "spread / spread of real latents", float(spread[step - 1]), step) for step in sample.shown_steps),
    ]
    table = sample.table(
        "growth", "Growth of the error over imagined steps", rows, _conclusions(sample, errors, spread)
    )

    def show(report: Report) -> None:
        steps = np.arange(1, sample.steps + 1)
        lines = [_line(sample, errors, name) for name in (OURS, ONE_STEP, TWIN, COPY) if name in errors]
        lines.append(Line(MEAN, steps, [1.0] * sample.steps, is_baseline=True))
        x_label = f"imagined frames ({sample.seconds(1)} each)"
        figure = line_plot(lines, x_label, "MSE / MSE of the constant mean", x_ticks=sample.shown_steps)
        caption = (
            "Latent error per step; 1 is what a constant reaches. The gap between open loop and one step is what "
            "living on its own predictions costs: their errors, and the road that they have not seen."
        )
        report.figure(figure, caption, "Error of open-loop predictions growing over steps, beside the baselines")
        spreads = [Line("imagined", steps, spread), Line("real", steps, [1.0] * sample.steps, is_baseline=True)]
        figure = line_plot(spreads, x_label, "spread / spread of real latents", x_ticks=sample.shown_steps)
        caption = "Spread over windows. Far below 1: the mean of what could happen. Above 1: drift."
        report.figure(figure, caption, "Spread of imagined latents relative to real ones per step")

    return Section(table, show)


def _errors(sample: Sample) -> Errors:
    trained, windows = sample.trained, sample.windows

    def error(predicted: Tensor) -> Float[np.ndarray, "windows steps"]:
        return (predicted - sample.real).square().mean(-1).double().cpu().numpy()

    errors = {OURS: error(sample.imagined), ONE_STEP: error(_one_step(sample))}
    if trained.twin is not None:
        errors[TWIN] = error(imagine(trained.twin, trained.latents, trained.store, windows, trained.device))
    return errors | {COPY: error(latents_at(trained, windows, range(1))), MEAN: error(sample.mean)}


@torch.no_grad()
def _one_step(sample: Sample) -> Float[Tensor, "windows steps latent"]:
    """The same frames, predicted with the whole real history: no feedback, so nothing can accumulate."""
    trained, windows = sample.trained, sample.windows
    rows = windows.action_rows()
    chunks = []
    for i in range(0, len(rows), CHUNK):
        real = torch.from_numpy(trained.latents[rows[i : i + CHUNK]]).to(trained.device)
        actions = torch.from_numpy(trained.store.actions[rows[i : i + CHUNK]]).to(trained.device)
        chunks.append(trained.predictor(real, actions)[:, windows.context - 1 :])
    return torch.cat(chunks)


def _spread(latents: Tensor) -> Float[np.ndarray, " steps"]:
    return latents.std(dim=0).mean(-1).cpu().numpy()


def _relative(sample: Sample, errors: Errors, ours: str, theirs: str, step: int) -> Interval:
    return sample.quotient(errors[ours][:, step - 1], errors[theirs][:, step - 1])


def _rows(sample: Sample, errors: Errors, reference: str, names: tuple[str, ...]) -> Iterator[Row]:
    for name in names:
        if name in errors:
            for step in sample.shown_steps:
                yield Row(name, f"MSE / {reference}", at=step, **vars(_relative(sample, errors, name, reference, step)))


def _line(sample: Sample, errors: Errors, name: str) -> Line:
    steps = range(1, sample.steps + 1)
    values = [_relative(sample, errors, name, MEAN, step) for step in steps]
    if name == COPY:
        return Line(name, steps, [v.value for v in values], is_baseline=True)
    return Line.of(name, steps, values)


def _conclusions(sample: Sample, errors: Errors, spread: np.ndarray) -> list[str]:
    last = sample.steps
    feedback = _relative(sample, errors, OURS, ONE_STEP, last)
    found = [
        f"**{'The error accumulates' if feedback.low > 1 else 'No accumulation can be shown'}**: {last} frames ahead, "
        f"the open-loop error is {feedback.shown('times', 2)} that of the same predictor on the same frames with the "
        "real history."
    ]
    relative = [_relative(sample, errors, OURS, MEAN, step) for step in range(1, last + 1)]
    curve = np.array([interval.value for interval in relative])
    growth = curve - curve[0]
    if growth[-1] > 0:
        level = int(np.argmax(growth >= LEVEL * growth[-1])) + 1
        found.append(
            f"Relative to the constant mean it grows from {curve[0]:.2f} to {curve[-1]:.2f}, {100 * LEVEL:.0f} % of it "
            f"within {level} frames: it " + ("levels off." if level < 0.75 * last else "is still growing at the end.")
        )
    until = next((step for step, interval in enumerate(relative) if not interval.high < 1), last)
    found.append(
        f"Up to {until} frames ({sample.seconds(until)}) the prediction is surely closer to the real latent than the "
        f"constant mean is{'.' if until == last else '; beyond, only what can be read from its pictures counts.'}"
        if until
        else "At no step is the prediction surely closer to the real latent than the constant mean is."
    )
    found.append(
        f"Imagined latents spread {spread[0]:.2f} (first step) to {spread[-1]:.2f} (last) times as far as real."
    )
    return found
