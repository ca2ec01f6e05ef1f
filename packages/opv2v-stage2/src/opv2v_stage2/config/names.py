"""Places and words that several settings share."""

from pathlib import Path
from typing import Literal

DATA_DIR = Path("data/opv2v-stage2")
CACHE_DIR = Path("runs/opv2v-stage2/cache")

Split = Literal["train", "validate", "test", "test_culvercity"]
Modality = Literal["images_only", "calibrated_sfm", "rig", "gps", "posed_sfm"]
"""What the model is given beside pictures, each with all before it: nothing; intrinsics; where the cameras sit on
their vehicle; a noisy pose of each vehicle; true poses (an upper bound, never a result)."""
Mode = Literal["single", "coop"]
