"""The diagnosis' own drawings: bundles of trajectories seen from above, and maps of cosines between samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from drivelab_shared.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from v2x_teacher.diagnose.sample import Part

NUM_IN_MAP = 64


def bundle_plot(parts: Sequence["Part"], train_mean: Float[np.ndarray, "steps 2"]) -> "Figure":
    """Driven trajectories in grey, predicted ones over them, one panel per split; metres, x to the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(parts), 4.6), layout="compressed")
    for axes, part in zip(np.atleast_1d(figure.subplots(1, len(parts), sharex=True, sharey=True)), parts, strict=True):
        _bundle(axes, part.truth, "#999999", "driven", zorder=1)
        _bundle(axes, part.predicted, COLOURS[1], "predicted", zorder=2)
        x, y = train_mean.T
        axes.plot(x, y, color="#222222", linestyle="--", linewidth=1.2, label="mean of the training split", zorder=3)
        axes.set_title(f"{part.split}, {len(part.rows)} samples", fontsize=10)
        axes.set(xlabel="x, forward [m]", ylabel="y, left [m]", aspect="equal", adjustable="box")
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(frameon=False, fontsize=9, loc="upper left")
    for line in legend.get_lines():
        line.set_alpha(1.0)
    return figure


def _bundle(axes: "Axes", trajectories: np.ndarray, colour: str, label: str, zorder: int) -> None:
    from_here = np.concatenate([np.zeros_like(trajectories[:, :1]), trajectories], axis=1)
    lines = axes.plot(*np.moveaxis(from_here, -1, 0).swapaxes(1, 2), color=colour, alpha=0.3, linewidth=1.0)
    for line in lines:
        line.set_zorder(zorder)
    lines[0].set_label(label)


def cosine_maps(*features: Float[np.ndarray, "samples vectors width"]) -> "Figure":
    """Cosine between each pair of some samples, one map per kind of features: as they come, standardised."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.8, 4.0), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, vectors, title in zip(panels, features, ("as they come", "standardised"), strict=True):
        picked = np.unique(np.linspace(0, len(vectors) - 1, min(NUM_IN_MAP, len(vectors))).astype(np.int64))
        flat = vectors[picked].reshape(len(picked), -1).astype(np.float64)
        units = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
        drawn = axes.imshow(units @ units.T, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("sample")
    panels[0].set_ylabel("sample")
    figure.colorbar(drawn, ax=panels, label="cosine", shrink=0.9)
    return figure
