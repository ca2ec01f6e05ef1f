"""Where do predictions start? Their range before the first step, for every initialisation that the request names."""

from dataclasses import replace

import torch
from torch import nn

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.sample import Sample, Section
from v2x_teacher.models.head import TrajectoryHead

NAMES = {
    "zero": "PyTorch's own, last layer 0 (zero)",
    "original": "normal, std 0.5 (original)",
    "dead line": "normal, std 1.0 (the fix's first line alone)",
    "fixed": "Kaiming, fan out (fixed: the fix's second line)",
}


def measure_start(sample: Sample) -> Section:
    """Lowest and highest predicted coordinate of untrained heads of this shape on these features."""
    settings = sample.trained.settings.head
    reached, rows = {}, []
    for init, name in NAMES.items():
        head = sample.fresh_head(replace(settings, init="original" if init == "dead line" else init)).eval()
        if init == "dead line":
            _double_weights(head)
        predicted = sample.predict(head, sample.train)
        reached[init] = float(abs(predicted).max())
        rows.append(Row(name, "lowest [m]", float(predicted.min())))
        rows.append(Row(name, "highest [m]", float(predicted.max())))
    truth = sample.train.truth[~torch.isnan(torch.from_numpy(sample.train.truth)).numpy()]
    rows += [Row("driven", "lowest [m]", float(truth.min())), Row("driven", "highest [m]", float(truth.max()))]
    sentence = (
        f"On this head, std 0.5 starts within {reached['original']:,.1f} m, std 1.0 alone within "
        f"{reached['dead line']:,.1f} m, Kaiming, which overwrites it, within {reached['fixed']:,.1f} m, and zero "
        f"within {reached['zero']:,.1f} m: its prior and the mean of what is left over it. This run used "
        f"{settings.init}."
    )
    table = sample.table("start", "Initialisation: where predictions start", rows, [sentence])

    def show(report: Report) -> None:
        report.text("The request expected about 5 m from std 0.5, and more from std 1.0, which never takes effect.")

    return Section(table, show, {"start_m": reached[settings.init], "truth_m": float(abs(truth).max())})


@torch.no_grad()
def _double_weights(head: TrajectoryHead) -> None:
    """From N(0, 0.5) to N(0, 1)."""
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            layer.weight.mul_(2.0)
