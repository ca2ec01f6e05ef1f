"""Settings of the verbs that compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import SweepSettings, require
from opv2v_stage2.config.names import CACHE_DIR, DATA_DIR


@dataclass(frozen=True, kw_only=True)
class AblateSettings(SweepSettings):
    """Add the losses one by one on the same stage 1, and compare them on the same frames."""

    suite: Literal["losses", "noise", "negatives", "sparsity"] = "losses"
    """`losses`: zeros in the loss, +mask, +height (both forms), +distillation, +consistency, +boxes. `noise`: with and
    without consistency and pose search over GPS noise and distance. `negatives`: where sky is known from. `sparsity`:
    shares of labelled pixels."""
    data_dir: Path = DATA_DIR
    """Folder of the data set; the default data are made there first if it does not exist."""
    budget: Literal["best", "quick"] = "best"
    """Config that every row starts from: `best` for figures, `quick` to try the command."""
    stage1_steps: int | None = None
    """Of every run; None means as in the recipe."""
    stage2_steps: int | None = None
    """Of every run; None means as in the recipe."""
    output_dir: Path = Path("runs/opv2v-stage2/ablate")
    """Runs and results. Runs that are already finished there are kept, so an interrupted suite goes on."""
    cache_dir: Path = CACHE_DIR
    """As in train."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Ratios of CPU time, interleaved in one run."""

    data_dir: Path = DATA_DIR
    """Folder of the data set; the default data are made there first if it does not exist."""
    cache_dir: Path = CACHE_DIR
    """As in train."""
    suite: Literal["training", "clouds", "data", "all"] = "all"
    """`training`: steps without a teacher, with a cached and with a live one. `clouds`: Chamfer and BEV against plain
    versions. `data`: projection of the lidar, readers, the renderer."""
    repeats: int = 7
    """Interleaved repetitions; the spread over them is printed."""
    output_dir: Path = Path("runs/opv2v-stage2/bench")
    """Where results.json goes."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""

    def __post_init__(self) -> None:
        require(self.repeats >= 2, "repeats", "a number >= 2", self.repeats)
