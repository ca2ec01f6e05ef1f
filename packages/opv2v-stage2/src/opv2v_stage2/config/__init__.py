"""Every setting of every verb. Nothing here imports torch, so `--help` is instant.

A field's name is its flag and its YAML key; the text under it is its help. Groups of the losses are files in
`configs/loss`: `loss=depth loss.scale_distill_weight=0.1`.
"""

from opv2v_stage2.config.comparing import (
    AblateSettings,
    BenchSettings,
)
from opv2v_stage2.config.data import (
    CheckDataSettings,
    LabelSettings,
    MakeDataSettings,
    parse_size,
)
from opv2v_stage2.config.losses import (
    HeightSettings,
    LossSettings,
)
from opv2v_stage2.config.names import (
    CACHE_DIR,
    DATA_DIR,
    Modality,
    Mode,
    Split,
)
from opv2v_stage2.config.reading import (
    CloudSettings,
    DiagnoseSettings,
    EvaluateSettings,
    ExportSettings,
    FilterSettings,
    PredictSettings,
    RunReader,
)
from opv2v_stage2.config.training import (
    ModelSettings,
    TrainSettings,
)

__all__ = [
    "CACHE_DIR",
    "DATA_DIR",
    "AblateSettings",
    "BenchSettings",
    "CheckDataSettings",
    "CloudSettings",
    "DiagnoseSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FilterSettings",
    "HeightSettings",
    "LabelSettings",
    "LossSettings",
    "MakeDataSettings",
    "Modality",
    "Mode",
    "ModelSettings",
    "PredictSettings",
    "RunReader",
    "Split",
    "TrainSettings",
    "parse_size",
]
