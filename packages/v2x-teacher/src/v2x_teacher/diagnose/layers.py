"""Which layer of the head loses the difference between samples?"""

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.resemblance import relative_spread
from v2x_teacher.diagnose.sample import Part, Sample, Section, anatomy
from v2x_teacher.models.head import TrajectoryHead

FEATURES, TRAJECTORY, TRUTH = "features", "trajectory [m]", "driven trajectory [m]"
SPREAD = "spread between samples [of the norm]"
SMALLEST = 1e-6
"""Drawn instead of less, so that the axis can be logarithmic."""


def measure_layers(sample: Sample) -> Section:
    """Spread between samples over the norm, from the features through every layer to the trajectory."""
    spreads = {part.split: layer_spreads(sample, part) for part in sample.parts}
    layer, before, after = losing_layer(spreads[sample.held_out.split])
    rows = [Row(name, SPREAD, value, at=split) for split, found in spreads.items() for name, value in found.items()]
    rows += [Row(TRUTH, SPREAD, relative_spread(part.truth), at=part.split) for part in sample.parts]
    sentence = f"The largest fall is in {layer}: from {before:.2g} to {after:.2g} of the norm."
    if after >= before:
        sentence = "No layer loses any of the difference between samples."
    table = sample.table("layers", "Layers: where does the difference between samples go?", rows, [sentence])

    def show(report: Report) -> None:
        caption = (
            "Standard deviation between samples over the norm, at the output of each layer: 1 says that nothing is "
            "common to all samples, 0 that nothing differs. A head that works ends near the driven trajectories."
        )
        report.figure(_figure(sample, spreads), caption, "Spread between samples from layer to layer")

    return Section(table, show, {"losing_layer": layer, "losing_from": before, "losing_to": after})


@torch.no_grad()
def layer_spreads(sample: Sample, part: Part) -> dict[str, float]:
    """By layer, in the order in which features pass them."""
    head = sample.trained.teacher.head
    outputs = _outputs(head, part, sample.trained.device)
    spreads = {name: relative_spread(values.float().cpu().numpy()) for name, values in outputs.items()}
    return {FEATURES: relative_spread(part.features)} | spreads | {TRAJECTORY: relative_spread(part.predicted)}


def _outputs(head: TrajectoryHead, part: Part, device: torch.device) -> Mapping[str, Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: found.update({name: output}))
        for name, module in anatomy(head)
    ]
    try:
        head(torch.from_numpy(part.features).to(device), torch.from_numpy(part.ego).to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def losing_layer(spreads: Mapping[str, float]) -> tuple[str, float, float]:
    """The layer with the largest fall as a factor, and the spread before and after it.

    The trajectory does not count: to take the prior and the mean along, after the last layer, is no loss.
    """
    names = [name for name in spreads if name != TRAJECTORY]
    falls = [spreads[after] / spreads[before] if spreads[before] > 0 else 1.0 for before, after in _steps(names)]
    before, after = _steps(names)[int(np.argmin(falls))]
    return after, spreads[before], spreads[after]


def _steps(names: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(names))


def _figure(sample: Sample, spreads: Mapping[str, Mapping[str, float]]) -> object:
    names = list(next(iter(spreads.values())))
    places = list(range(len(names)))
    lines = [Line(split, places, [max(found[name], SMALLEST) for name in names]) for split, found in spreads.items()]
    truth = max(relative_spread(sample.held_out.truth), SMALLEST)
    lines.append(Line(TRUTH, places, [truth] * len(names), is_baseline=True))
    figure = line_plot(lines, "", SPREAD)
    axes = figure.axes[0]
    axes.set_yscale("log")
    axes.set_ylim(min(axes.get_ylim()[0], 0.01), 1.5)  # or a healthy run would look as steep as a collapse
    axes.set_xticks(places, names, rotation=35, ha="right")
    return figure
