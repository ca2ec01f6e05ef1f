"""How much of a feature is dropout? The backbone in train mode, drawn several times, against itself in eval mode."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.sample import Sample, Section
from v2x_teacher.features import encode_views
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.build import build_backbone
from v2x_teacher.trained import TrainedRun


def measure_noise(sample: Sample) -> Section:
    """Standard deviation between draws of the same sample over that between samples, on a few training samples."""
    trained = sample.trained
    still = _encoded(sample, "eval", 1)[0]
    drawn = _encoded(sample, "train", sample.settings.num_draws)
    signal = np.sqrt(still.astype(np.float64).var(0).mean())
    noise = np.sqrt(drawn.astype(np.float64).var(0, ddof=1).mean()) if len(drawn) > 1 else float("nan")
    ratio = float(noise / signal) if signal > 0 else float("inf")
    learns = trained.inputs.trainable_backbone is not None
    mode = "learns" if learns else trained.settings.backbone.mode
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


def backbone_in(mode: Literal["eval", "train"], trained: TrainedRun) -> Backbone:
    """The run's backbone in this mode; one that learns with the weights that it has learned."""
    if trained.inputs.trainable_backbone is not None:
        return trained.teacher.backbone.train(mode == "train")
    return build_backbone(replace(trained.settings.backbone, mode=mode)).to(trained.device)


def _encoded(sample: Sample, mode: str, draws: int) -> Float[np.ndarray, "draws few vectors width"]:
    trained, inputs = sample.trained, sample.trained.inputs
    backbone = backbone_in(mode, trained)
    found = [
        encode_views(
            backbone, inputs.views[sample.few], [inputs.prompts[row] for row in sample.few],
            trained.settings.head.pooling, trained.device, trained.settings.backbone.batch_size, draw=draw,
        )
        for draw in range(draws)
    ]  # fmt: skip
    backbone.eval()
    return np.stack(found)
