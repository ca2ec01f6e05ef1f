"""What the VAE alone costs: encode and decode a real frame, and compare with knowing nothing but the mean picture."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from latent_predictor.diagnose.sample import Sample, Section, training_rows
from latent_predictor.latents import CHUNK, decode, to_frames, to_pictures

NUM_SHOWN = 3
"""Pictures of each kind, worst, middle and best, in the strip."""
NUM_FOR_MEAN = 2000
"""Training frames behind the mean picture."""
PSNR, MSE, LANE = "PSNR [dB]", "MSE, pixels in [0, 1]", "lane accuracy [%], judge c"


def measure_reconstruction(sample: Sample) -> Section:
    """PSNR and squared error beside the mean picture's, and what judge c can still read."""
    trained = sample.trained
    real = np.array(trained.store.frames[sample.frames.rows])
    latents = torch.from_numpy(trained.latents[sample.frames.rows]).to(trained.device)
    pictures = {
        "reconstruction": to_frames(decode(trained.vae, latents)),
        "mean picture": np.broadcast_to(_mean_picture(sample), real.shape),
        "decoded mean latent": np.broadcast_to(to_frames(decode(trained.vae, sample.mean[None])), real.shape),
    }
    errors = {name: _squared_error(frames, real) for name, frames in pictures.items()}
    rows = _lane_rows(sample, {"real picture": real, "reconstruction": pictures["reconstruction"]})
    for name, error in errors.items():
        rows.append(Row(name, PSNR, **vars(sample.frame_mean(-10 * np.log10(error)))))
        rows.append(Row(name, MSE, **vars(sample.frame_mean(error))))
    title = f"Reconstruction of {len(real)} frames"
    table = sample.table("reconstruction", title, rows, _conclusions(sample, errors, rows))

    def show(report: Report) -> None:
        order = np.argsort(errors["reconstruction"])[::-1]
        middle = (len(order) - NUM_SHOWN) // 2
        kinds = {"worst": order[:NUM_SHOWN], "median": order[middle : middle + NUM_SHOWN], "best": order[-NUM_SHOWN:]}
        chosen = np.concatenate(list(kinds.values()))
        labels = [kind for kind, indices in kinds.items() for _ in indices]
        strip = [("real", real[chosen]), ("reconstructed", pictures["reconstruction"][chosen])]
        report.strip(strip, labels, "Held-out frames: the ones reconstructed worst, at the median, and best.")

    return Section(table, show)


def _conclusions(sample: Sample, errors: dict[str, np.ndarray], rows: list[Row]) -> list[str]:
    left = 100 * errors["reconstruction"].mean() / errors["mean picture"].mean()
    psnr = {name: sample.frame_mean(-10 * np.log10(error)) for name, error in errors.items()}
    found = [
        f"**Encoding and decoding leaves {left:.0f} % of the squared error of the mean picture**: "
        f"{psnr['reconstruction'].shown('dB')} against {psnr['mean picture'].shown('dB')}. No decoded prediction can "
        "be expected to look better."
    ]
    lanes = {row.row: row.value for row in rows if row.metric == LANE}
    if lanes:
        found.append(
            f"Judge c reads the right lane in {lanes['real picture']:.1f} % of real pictures and in "
            f"{lanes['reconstruction']:.1f} % of their reconstructions: so much meaning does the VAE lose."
        )
    return found


def _mean_picture(sample: Sample) -> UInt8[np.ndarray, "64 64 3"]:
    """Of training frames spread evenly over the split."""
    rows = training_rows(sample.trained.store)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(NUM_FOR_MEAN, len(rows))).astype(np.int64))]
    return np.rint(sample.trained.store.frames[rows].mean(axis=0, dtype=np.float64)).astype(np.uint8)


def _squared_error(frames: np.ndarray, real: np.ndarray) -> Float[np.ndarray, " frames"]:
    """Mean over a picture; never 0, so that its logarithm is a number."""
    error = np.square(frames.astype(np.float32) - real).mean((1, 2, 3), dtype=np.float64) / 255**2
    return np.maximum(error, 1e-8)


def _lane_rows(sample: Sample, pictures: dict[str, np.ndarray]) -> list[Row]:
    """Accuracy of judge c; empty where no frame has a label."""
    labels = sample.trained.store.judge_labels[sample.frames.rows]
    known = labels >= 0
    if not known.any():
        return []
    right = {name: 100.0 * (_read_lanes(sample, frames) == labels) for name, frames in pictures.items()}
    return [Row(name, LANE, **vars(sample.frame_mean(values, known))) for name, values in right.items()]


@torch.no_grad()
def _read_lanes(sample: Sample, frames: np.ndarray) -> Int[np.ndarray, " frames"]:
    judge, device = sample.trained.judge_pixel, sample.trained.device
    chunks = [frames[i : i + CHUNK] for i in range(0, len(frames), CHUNK)]
    return torch.cat([judge(to_pictures(chunk, device)).argmax(-1) for chunk in chunks]).cpu().numpy()
