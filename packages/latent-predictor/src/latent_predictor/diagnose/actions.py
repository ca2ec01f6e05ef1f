"""Does the imagined car obey? How far each action moves the imagined latent, and whether steering left goes left."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.stats import Interval
from latent_predictor.data.suspicions import ACTION_NAMES
from latent_predictor.data.trajectory import CENTER, LEFT, RIGHT
from latent_predictor.diagnose.sample import Sample, Section, imagine_with, training_rows
from latent_predictor.latents import decode, statistics, to_frames

MOVED = "latent moved by [std]"
STEERING_PERCENTILES = {"steering left": 5, "steering right": 95}
"""Constant steering from now on, as hard as the hardest twentieth of what training has seen."""
STEER = 0
UNRELATED = "two unrelated real frames"


def measure_actions(sample: Sample) -> Section | None:
    """None where the predictor reads no actions."""
    if not sample.trained.predictor.uses_actions:
        return None
    moved = _moved(sample)
    rows = [
        Row(name, MOVED, at=step, **vars(sample.mean_of(distance[:, step - 1])))
        for name, distance in moved.items()
        for step in sample.shown_steps
    ]
    conclusions = [_which_actions_count(sample, moved)]
    steered = _steered(sample) if len(ACTION_NAMES) == sample.trained.store.action_size else {}
    if steered:
        lanes = {name: _read_lanes(sample, futures) for name, futures in steered.items()}
        rows += _lane_rows(sample, lanes)
        conclusions.insert(0, _obeys(sample, lanes))
    table = sample.table("actions", "Sensitivity to actions", rows, conclusions)

    def show(report: Report) -> None:
        steps = np.arange(1, sample.steps + 1)
        lines = [
            _line(sample, steps, name, distance, is_baseline=name == UNRELATED) for name, distance in moved.items()
        ]
        figure = line_plot(lines, f"imagined frames ({sample.seconds(1)} each)", MOVED, x_ticks=sample.shown_steps)
        caption = (
            "How far the imagined latent moves when one action is one standard deviation higher in all future frames "
            "(never beyond what training has seen). Two unrelated real frames are the scale."
        )
        report.figure(figure, caption, "Distance between futures with and without a shifted action, per action")
        if steered:
            _show_steering(sample, steered, report)

    return Section(table, show)


def _names(sample: Sample) -> list[str]:
    size = sample.trained.store.action_size
    return list(ACTION_NAMES) if size == len(ACTION_NAMES) else [f"action {column}" for column in range(size)]


def _moved(sample: Sample) -> dict[str, Float[np.ndarray, "windows steps"]]:
    """Root mean square distance, in standard deviations of each latent dimension, to the future of recorded actions."""
    actions = sample.trained.store.actions[training_rows(sample.trained.store)]
    _, std = statistics(actions, np.arange(len(actions)))
    ceiling = actions.max(axis=0)

    def shifted(future: np.ndarray, column: int) -> np.ndarray:
        future = future.copy()
        higher = np.minimum(future[..., column] + float(std[column]), ceiling[column])
        future[..., column] = np.maximum(future[..., column], higher)
        return future

    moved = {
        f"{name} one std higher": _distance(
            sample, imagine_with(sample.trained, sample.windows, partial(shifted, column=column)), sample.imagined
        )
        for column, name in enumerate(_names(sample))
    }
    others = sample.windows.swapped(sample.settings.seed)
    if others is not None:
        moved[UNRELATED] = _distance(sample, sample.real, sample.real[torch.from_numpy(others).to(sample.real.device)])
    return moved


def _distance(sample: Sample, ours: Tensor, theirs: Tensor) -> Float[np.ndarray, "windows steps"]:
    return ((ours - theirs) / sample.std).square().mean(-1).sqrt().double().cpu().numpy()


def _line(sample: Sample, steps: np.ndarray, name: str, distance: np.ndarray, *, is_baseline: bool) -> Line:
    values = [sample.mean_of(distance[:, step - 1]) for step in steps]
    low, high = (None, None) if is_baseline else ([v.low for v in values], [v.high for v in values])
    return Line(name, steps, [v.value for v in values], low, high, is_baseline)


def _which_actions_count(sample: Sample, moved: dict[str, np.ndarray]) -> str:
    middle = min(10, sample.steps)
    by_action = {name: sample.mean_of(d[:, middle - 1]) for name, d in moved.items() if name != UNRELATED}
    parts = [f"{name.removesuffix(' one std higher')} {value.shown(decimals=2)}" for name, value in by_action.items()]
    scale = (
        f"; two unrelated real frames differ by {sample.mean_of(moved[UNRELATED][:, middle - 1]).value:.2f}"
        if UNRELATED in moved
        else ""
    )
    return (
        f"One standard deviation more of an action moves the latent {middle} frames ahead by (in std): "
        f"{', '.join(parts)}{scale}."
    )


def _steered(sample: Sample) -> dict[str, Float[Tensor, "windows steps latent"]]:
    """Futures with constant steering to either side, beside the recorded one and the real frames."""
    steering = sample.trained.store.actions[training_rows(sample.trained.store), STEER]

    def held(future: np.ndarray, value: float) -> Float32[np.ndarray, "windows steps actions"]:
        future = future.copy()
        future[..., STEER] = value
        return future

    left, right = (
        imagine_with(sample.trained, sample.windows, partial(held, value=float(np.percentile(steering, percentile))))
        for percentile in STEERING_PERCENTILES.values()
    )
    names = list(STEERING_PERCENTILES)
    return {names[0]: left, "recorded steering": sample.imagined, names[1]: right, "real future": sample.real}


@torch.no_grad()
def _read_lanes(sample: Sample, futures: Tensor) -> Int[np.ndarray, "windows steps"]:
    """Judge c on the decoded pictures of the shown steps; -1 elsewhere."""
    lanes = np.full(futures.shape[:2], -1)
    for step in sample.shown_steps:
        pictures = decode(sample.trained.vae, futures[:, step - 1])
        lanes[:, step - 1] = sample.trained.judge_pixel(pictures).argmax(-1).cpu().numpy()
    return lanes


def _lane_rows(sample: Sample, lanes: dict[str, np.ndarray]) -> list[Row]:
    return [
        Row(name, f"read as {word} [%], judge c", at=step, **vars(sample.mean_of(100.0 * (read[:, step - 1] == lane))))
        for word, lane in (("left", LEFT), ("right", RIGHT))
        for name, read in lanes.items()
        for step in sample.shown_steps
    ]


def _obeys(sample: Sample, lanes: dict[str, np.ndarray]) -> str:
    middle = min((step for step in sample.shown_steps if step >= 10), default=sample.steps)
    left, right = (lanes[name][:, middle - 1] for name in STEERING_PERCENTILES)

    def further_right(lane: int, sign: int) -> Interval:
        return sample.mean_of(100.0 * sign * ((right == lane).astype(float) - (left == lane)))

    gained, lost = further_right(RIGHT, 1), further_right(LEFT, -1)
    obeys = gained.low > 0 and lost.low > 0
    verdict = "**The imagined car obeys its steering**" if obeys else "**The imagined car does not obey its steering**"
    return (
        f"{verdict}: {middle} frames after steering right instead of left, judge c sees the right lane in "
        f"{gained.shown()} points more of the windows, and the left lane in {lost.shown()} points fewer."
    )


def _show_steering(sample: Sample, steered: dict[str, Tensor], report: Report) -> None:
    """One window, not chosen for its looks: the first that starts in the middle lane."""
    labels = sample.trained.store.judge_labels[sample.windows.rows(0)]
    window = int(np.argmax(labels == CENTER))
    pictures = {name: to_frames(decode(sample.trained.vae, futures[window])) for name, futures in steered.items()}
    chosen = [step - 1 for step in sample.shown_steps]
    strip = [(name, frames[chosen]) for name, frames in pictures.items()]
    caption = "The same ten real frames, then different steering. The first window that starts in the middle lane."
    report.strip(strip, [sample.seconds(step) for step in sample.shown_steps], caption)
    side_by_side = np.concatenate(list(pictures.values()), axis=2)
    report.animation(side_by_side, 1 / sample.trained.store.dt / 2, "The same at half speed.", list(pictures))
