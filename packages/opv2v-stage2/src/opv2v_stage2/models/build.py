"""The model that the settings ask for."""

from torch import nn

from opv2v_stage2.config import ModelSettings
from opv2v_stage2.models.compact import CompactModel


def build_model(settings: ModelSettings) -> nn.Module:
    """A compact model with random weights, or an installed MapAnything.

    Raises:
        UserError: MapAnything is not installed, or its weights are not where the settings say.
    """
    if settings.kind == "compact":
        return CompactModel(settings)
    from opv2v_stage2.models.mapanything import build_mapanything  # here: it imports what nobody else needs

    return build_mapanything(settings)
