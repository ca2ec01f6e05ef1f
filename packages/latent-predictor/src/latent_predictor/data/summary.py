"""What is in a set of simulated drives, in a few lines of text."""

from collections.abc import Iterable

import numpy as np

from latent_predictor.data.labels import agreement, kappa
from latent_predictor.data.splits import SPLITS
from latent_predictor.data.trajectory import LABEL_NAMES, STATE_COLUMNS, UNKNOWN, Trajectory

ALIGNED_RAD = 0.15
_SPEED, _OFFSET, _HEADING_ERROR = (STATE_COLUMNS.index(name) for name in ("speed", "offset", "heading_error"))


def summary(drives: Iterable[tuple[str, Trajectory]]) -> str:
    """Frames and class shares by split, spread of speed and actions, agreement of the labels.

    Args:
        drives: split and trajectory; each is looked at once, and its frames are not kept.
    """
    parts = [(split, drive.labels, drive.visual_labels, drive.state, drive.actions) for split, drive in drives]
    labels, visual, state, actions = (np.concatenate(arrays) for arrays in list(zip(*parts, strict=True))[1:])
    lines = [_row("split", "drives", "frames", *LABEL_NAMES)]
    for split in SPLITS:
        chosen = [part[1] for part in parts if part[0] == split]
        lines.append(_row(split, str(len(chosen)), *_class_shares(np.concatenate(chosen))))
    lines.append(_row("all", str(len(parts)), *_class_shares(labels)))
    lines += ["", _row("", "mean", "std", "min", "max"), _spread("speed (units/s)", state[:, _SPEED])]
    lines += [_spread(name, actions[:, column]) for column, name in enumerate(("steer", "gas", "brake"))]
    off_road = (np.abs(state[:, _OFFSET]) > 1).mean()
    aligned = np.abs(state[:, _HEADING_ERROR]) < ALIGNED_RAD
    lines += [
        "",
        f"off the road: {off_road:.1%} of frames",
        f"labels read from the picture, against the simulator's: {_agreement(labels, visual)}, "
        f"{(visual == UNKNOWN).mean():.1%} unknown",
        f"the same where |heading error| < {ALIGNED_RAD} rad ({aligned.mean():.0%} of frames): "
        f"{_agreement(labels[aligned], visual[aligned])}",
    ]
    return "\n".join(lines)


def _class_shares(labels: np.ndarray) -> list[str]:
    return [str(len(labels)), *(f"{(labels == label).mean():.0%}" for label in range(len(LABEL_NAMES)))]


def _agreement(labels: np.ndarray, visual: np.ndarray) -> str:
    return f"{agreement(labels, visual):.1%} equal, kappa {kappa(labels, visual):.2f}"


def _spread(name: str, values: np.ndarray) -> str:
    return _row(name, *(f"{value:.2f}" for value in (values.mean(), values.std(), values.min(), values.max())))


def _row(name: str, *cells: str) -> str:
    return f"{name:<16}" + "".join(f"{cell:>8}" for cell in cells)
