"""The gradient matrix as a picture."""

from typing import TYPE_CHECKING

import numpy as np

from drivelab_shared.plots import COLOURS, heat_map
from lapo_mm.diagnose.checks.reach import losses_of, reach_of
from lapo_mm.diagnose.contract import Contract, within
from lapo_mm.diagnose.sections import reach_cell
from lapo_mm.diagnose.watch import Record

RED, GREEN = COLOURS[1:3]

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gradient_matrix(record: Record, contract: Contract) -> "Figure":
    """Module by loss, coloured by the logarithm of the gradient's norm.

    A green frame is a gradient that the contract declares; a red one is missing, or there against the contract.
    """
    from matplotlib.patches import Rectangle

    losses, modules = losses_of(record), list(record.parameters)
    found = [[reach_of(record, loss, module) for loss in losses] for module in modules]
    norms = np.array([[reach.norm for reach in row] for row in found])
    with np.errstate(divide="ignore"):
        logarithms = np.where(norms > 0, np.log10(norms), np.nan)
    figure = heat_map(logarithms, modules, losses, x_label="loss")
    (axes,) = figure.axes
    # The map has written logarithms into its cells: norms, none and zero say more.
    for text, reach in zip(axes.texts, (reach for row in found for reach in row), strict=True):
        text.set_text(reach_cell(reach).replace(", ", "\n"))
    for row, module in enumerate(modules):
        for column, loss in enumerate(losses):
            declared = within(module, contract.reaches.get(loss, ()))
            reached = bool(found[row][column].reached)
            if declared or reached:
                style = {"edgecolor": GREEN} if declared == reached else {"edgecolor": RED, "linestyle": "--"}
                axes.add_patch(Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, linewidth=2, **style))
    return figure
