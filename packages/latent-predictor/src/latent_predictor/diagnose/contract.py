"""What must hold whatever was learnt. A broken contract makes every figure of the run doubtful, so it ends with 1."""

from collections.abc import Iterator

import numpy as np
import torch

from latent_predictor.diagnose.sample import Sample, imagine_with
from latent_predictor.latents import encode

NUM_FRAMES, NUM_WINDOWS = 64, 16
TOLERANCE = 1e-3
"""Kernels differ between devices and batch sizes; a stale cache differs by the spread of the latents, about 1."""


def violations(sample: Sample) -> list[str]:
    """One sentence per broken contract."""
    return [*_stale_latents(sample), *_looks_ahead(sample)]


def _stale_latents(sample: Sample) -> Iterator[str]:
    trained = sample.trained
    rows = sample.frames.rows[:: max(1, len(sample.frames.rows) // NUM_FRAMES)]
    again = encode(trained.vae, trained.store.frames[rows], trained.device)
    difference = float(np.abs(again - trained.latents[rows]).max())
    if difference > TOLERANCE:
        yield f"cached latents: expected what the VAE encodes, got differences of up to {difference:.3g}"


def _looks_ahead(sample: Sample) -> Iterator[str]:
    """A prediction may depend on the actions before its frame, never on later ones."""
    windows, steps = sample.windows, sample.steps
    few = type(windows)(windows.starts[:NUM_WINDOWS], windows.groups[:NUM_WINDOWS], windows.context, steps)
    later = steps // 2

    def change(actions: np.ndarray) -> np.ndarray:
        return np.concatenate([actions[:, :later], actions[:, later:] + 1], axis=1)

    futures = [imagine_with(sample.trained, few, alter)[:, :later] for alter in (np.array, change)]
    difference = float((futures[0] - futures[1]).abs().max()) if torch.numel(futures[0]) else 0.0
    if difference > TOLERANCE:
        yield f"causality: expected predictions that ignore later actions, got differences of up to {difference:.3g}"
