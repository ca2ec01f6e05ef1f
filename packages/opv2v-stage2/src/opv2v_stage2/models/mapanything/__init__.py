"""An installed MapAnything as one of our models."""

from opv2v_stage2.models.mapanything.adapter import MapAnythingModel
from opv2v_stage2.models.mapanything.loading import build_mapanything

__all__ = ["MapAnythingModel", "build_mapanything"]
