"""Checks of settings, and the settings that every training has. Torch is not imported."""

from dataclasses import dataclass
from typing import Literal

from drivelab_shared.settings.fields import setting


def require(holds: bool, name: str, expected: str, found: object) -> None:
    """Raise the ValueError that the command line prints as `setting: expected X, got Y`.

    Raises:
        ValueError: it does not hold.
    """
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {found!r}")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Where and how exactly a training runs; the same words in every package."""

    seed: int = 0
    """Of the network: initialisation, batches and noise."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the networks; weights stay fp32."""
    threads: int = 1
    """CPU threads of torch; part of what makes a run repeatable."""
    deterministic: bool = False
    """Ask torch for deterministic kernels (matters on GPUs)."""
    tracker: Literal["none", "tensorboard", "wandb", "trackio"] = "none"
    """Where the curves go beside metrics.jsonl."""
    checkpoint_every: int = 200
    """Optimizer steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept per stage, beside the best."""
    log_every: int = 20
    """Optimizer steps between lines of metrics.jsonl."""
    resume: str | None = setting(None, bare="latest")
    """Continue the newest unfinished run, or the one at this path."""

    def __post_init__(self) -> None:
        for name in ("threads", "checkpoint_every", "keep", "log_every"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        require(self.seed >= 0, "seed", "a number >= 0", self.seed)


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How several recipes are trained and compared; the same words in every package."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One training run per recipe and seed."""
    jobs: int = 1
    """Training runs at the same time."""
    threads: int = 1
    """CPU threads of each training run."""
    num_bootstrap: int = 1000
    """Resamplings behind each 95 % interval: of what is independent in the data, and of seeds."""

    def __post_init__(self) -> None:
        require(len(self.seeds) > 0, "seeds", "at least one number", self.seeds)
        for name in ("jobs", "threads", "num_bootstrap"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
