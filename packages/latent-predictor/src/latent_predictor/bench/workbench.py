"""What all parts of the benchmark share: a trained run, its data, one CPU engine, a folder for what is thrown away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from drivelab_shared import engine, runs
from drivelab_shared.results import Row, Table
from drivelab_shared.settings import load
from latent_predictor.config import BenchSettings, RunReader, TrainSettings
from latent_predictor.trained import TrainedRun, open_trained

PACKAGE = "latent-predictor"
CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True, eq=False)
class Workbench:
    """See above. Everything runs on the CPU: the unit is the CPU-second."""

    settings: BenchSettings
    trained: TrainedRun
    accelerator: Accelerator
    scratch: Path

    @classmethod
    def of(cls, settings: BenchSettings, scratch: Path) -> "Workbench":
        """The run that the settings name, with their data.

        Raises:
            UserError: there is no finished run, or the data do not fit it.
        """
        run = runs.find(PACKAGE, settings.run_dir)
        accelerator = engine.start("cpu", threads=settings.threads)
        # A run's own data are opened as the run opened them, so that their latents are found in its cache.
        is_its_own = load(TrainSettings, run / "settings.yaml").data_dir.resolve() == settings.data_dir.resolve()
        reader = RunReader(data_dir=None if is_its_own else settings.data_dir, device="cpu", threads=settings.threads)
        return cls(settings, open_trained(run, accelerator.device, reader), accelerator, scratch)

    def recipe(self, config: str, **changes: object) -> TrainSettings:
        """Settings of one of the package's configs, for a short training on this workbench."""
        chosen = load(TrainSettings, CONFIGS / f"{config}.yaml")
        common = {"seed": self.settings.seed, "threads": self.settings.threads, "device": "cpu"}
        return replace(chosen, twin=False, evaluate=False, **common, **changes)

    def table(self, name: str, title: str, rows: Sequence[Row], conclusions: Sequence[str]) -> Table:
        """With the seed and threads of this benchmark."""
        seeds = [self.settings.seed]
        return Table.create(name, title, rows, seeds, conclusions, threads=self.settings.threads)
