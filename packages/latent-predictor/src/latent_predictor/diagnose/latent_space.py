"""What the latent is made of: how many dimensions move, and how much of each is the noise that the VAE adds itself."""

import numpy as np
import torch
from jaxtyping import Float

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from latent_predictor.diagnose.sample import Sample, Section, training_rows
from latent_predictor.latents import CHUNK, num_active, statistics, to_pictures

ACTIVE_STD, DEAD_STD = 0.1, 0.05
SMOOTHED = 16
"""Dimensions per point of the sigma curve; every latent is a multiple of it."""


def measure_latent_space(sample: Sample) -> Section:
    """Spread per dimension over the training split, beside the posterior's own sigma on held-out frames."""
    _, std = statistics(sample.trained.latents, training_rows(sample.trained.store))
    sigma = _posterior_sigma(sample)
    held_out = sample.trained.latents[sample.frames.rows]
    size, active = len(std), num_active(std, ACTIVE_STD)
    dead = size - num_active(std, DEAD_STD)
    moving = std > ACTIVE_STD
    noise = 100 * float(sigma[moving].square().sum() / (sigma[moving].square() + std[moving].square()).sum())
    rows = [
        Row("dimensions", "number", size),
        Row(f"active: std > {ACTIVE_STD:g}", "number", active),
        Row(f"dead: std < {DEAD_STD:g}", "number", dead),
        Row("principal components for 90 % of the variance", "number", _num_components(held_out, 0.9)),
        Row("std of the latent over frames", "active dimensions", float(std[moving].mean())),
        Row("posterior sigma", "active dimensions", float(sigma[moving].mean())),
        Row("noise in a sampled latent", "of the variance [%]", noise),
    ]
    conclusions = [
        f"**{active} of {size} latent dimensions move** (std > {ACTIVE_STD:g} over the training frames); {dead} are "
        f"dead (std < {DEAD_STD:g}), and whitening must not divide by their std.",
        f"Where they move, the posterior's sigma is {sigma[moving].mean():.2f} beside a std of "
        f"{std[moving].mean():.2f}: a latent drawn from the posterior would be {noise:.0f} % noise. Everything here "
        "uses its mean.",
    ]
    table = sample.table("latent_space", "Latent statistics", rows, conclusions)

    def show(report: Report) -> None:
        order = torch.argsort(std, descending=True)
        x = np.arange(size) + 1
        bins = np.arange(0, size, SMOOTHED) + SMOOTHED / 2
        lines = [
            Line("std of the latent", x, std[order].tolist()),
            Line("posterior sigma", bins, sigma[order].view(-1, SMOOTHED).mean(1).tolist()),
            Line(f"active above {ACTIVE_STD:g}", x, [ACTIVE_STD] * size, is_baseline=True),
        ]
        figure = line_plot(lines, "latent dimension", "standard deviation")
        for line in figure.axes[0].lines:
            line.set_marker("")
        caption = (
            f"Latent dimensions sorted by how far they move; sigma is the mean of {SMOOTHED} neighbours. Where "
            "it is 1, the VAE stores nothing."
        )
        report.figure(figure, caption, "Latent std falling over the dimensions beside the posterior sigma rising")

    return Section(table, show)


@torch.no_grad()
def _posterior_sigma(sample: Sample) -> Float[torch.Tensor, " latent"]:
    """Mean over held-out frames."""
    trained, rows = sample.trained, sample.frames.rows
    total = torch.zeros(trained.vae.latent_size)
    for i in range(0, len(rows), CHUNK):
        pictures = to_pictures(trained.store.frames[rows[i : i + CHUNK]], trained.device)
        total += (0.5 * trained.vae.encode(pictures)[1]).exp().sum(0).cpu()
    return total / len(rows)


def _num_components(latents: Float[np.ndarray, "frames latent"], share: float) -> int:
    """Directions that hold this share of the variance."""
    centred = latents - latents.mean(axis=0)
    # From whichever of the two products is smaller: their eigenvalues are the same.
    product = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    variances = np.linalg.eigvalsh(product)[::-1]
    return int(np.searchsorted(np.cumsum(variances), share * variances.sum()) + 1)
