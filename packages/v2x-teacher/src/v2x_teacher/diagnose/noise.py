"""How much of a feature is dropout? The backbone in train mode, drawn several times, against itself in eval mode."""

import numpy as np

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.sample import Sample, Section, encoded


def measure_noise(sample: Sample) -> Section:
    """Standard deviation between draws of the same sample over that between samples, on a few training samples."""
    trained = sample.trained
    still = encoded(trained, sample.few, "eval")
    drawn = np.stack([encoded(trained, sample.few, "train", draw) for draw in range(sample.settings.num_draws)])
    signal = np.sqrt(still.astype(np.float64).var(0, ddof=1).mean())
    noise = np.sqrt(drawn.astype(np.float64).var(0, ddof=1).mean()) if len(drawn) > 1 else float("nan")
    ratio = float(noise / signal) if signal > 0 else float("inf")
    mode = sample.backbone_mode
    rows = [
        Row("pooled features", "spread between samples, eval mode", float(signal)),
        Row("pooled features", "spread between draws, train mode", float(noise)),
        Row("pooled features", "noise / signal", ratio),
    ]
    when = {
        "eval": "This run made its features in eval mode, so nothing of it reached the head.",
        "train": "This run made its features in train mode: that is what the head was trained on.",
        "learns": "This backbone learns, with dropout on, as it should; the head has to see through it.",
    }
    sentence = f"In train mode, dropout adds {ratio:.2f} times as much to a feature as samples differ. {when[mode]}"
    title = f"Dropout in the backbone: {len(drawn)} draws of {len(sample.few)} samples"
    table = sample.table("noise", title, rows, [sentence])

    def show(report: Report) -> None:
        report.text("Noise and signal are standard deviations, as root mean squares over all dimensions.")

    return Section(table, show, {"noise_ratio": ratio, "backbone_mode": mode})
