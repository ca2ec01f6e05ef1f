"""What every section of a diagnosis looks at: some held-out frames, some windows, and their imagined futures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Real
from torch import Tensor

from drivelab_shared.errors import UserError
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table
from drivelab_shared.stats import Draws, Interval, bootstrap, group_draws, ratio
from latent_predictor.config import DiagnoseSettings
from latent_predictor.data.store import Store
from latent_predictor.imagine import CHUNK, Windows, imagine
from latent_predictor.latents import statistics
from latent_predictor.models import Predictor
from latent_predictor.models.predictor import SMALLEST_STD
from latent_predictor.trained import TrainedRun

CONTEXT, STRIDE = 10, 5
"""Real frames before the imagined ones, and frames between the starts of two windows, as in evaluate."""
NUM_FRAMES = 1000
"""Frames behind the figures of single frames."""
SHOWN_STEPS = (1, 2, 5, 10, 20, 50)
"""Steps in tables and strips, five of which fit a page; curves have them all."""


@dataclass(frozen=True)
class Section:
    """One subject: its figures and conclusions, and the pictures that belong to them."""

    table: Table
    show: Callable[[Report], None]


@dataclass(frozen=True, eq=False)
class Frames:
    """Single frames, spread evenly over a split."""

    rows: Int64[np.ndarray, " frames"]
    groups: Int64[np.ndarray, " frames"]
    """Trajectory of each frame: 0, 1, ... without gaps."""

    @classmethod
    def of(cls, store: Store, split: str) -> "Frames":
        """At most NUM_FRAMES of a split."""
        rows = np.sort(store.indices(split))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(NUM_FRAMES, len(rows))).astype(np.int64))]
        firsts = np.array(sorted(span.start for span in store.spans(split)))
        return cls(rows, np.unique(np.searchsorted(firsts, rows, side="right"), return_inverse=True)[1])


@dataclass(frozen=True, eq=False)
class Sample:
    """A trained run with the futures that it imagines on some windows."""

    trained: TrainedRun
    frames: Frames
    windows: Windows
    real: Float[Tensor, "windows steps latent"]
    imagined: Float[Tensor, "windows steps latent"]
    mean: Float[Tensor, " latent"]
    """Of the training split, as is `std`."""
    std: Float[Tensor, " latent"]
    draws: Draws
    """Of the trajectories behind the windows."""
    settings: DiagnoseSettings

    @classmethod
    def of(cls, trained: TrainedRun, settings: DiagnoseSettings) -> "Sample":
        """What the settings ask for.

        Raises:
            UserError: the trajectories are too short for a window.
        """
        store = trained.store
        windows = Windows.of(store, settings.split, CONTEXT, settings.steps, STRIDE)
        if not len(windows.starts):
            expected = f"expected trajectories of at least {CONTEXT + settings.steps} frames"
            raise UserError(f"{store.data_dir}: {expected}, got shorter ones")
        windows = _thinned(windows, settings.num_windows)
        mean, std = statistics(trained.latents, training_rows(store))
        return cls(
            trained=trained,
            frames=Frames.of(store, settings.split),
            windows=windows,
            real=latents_at(trained, windows, range(1, settings.steps + 1)),
            imagined=imagine(trained.predictor, trained.latents, store, windows, trained.device),
            mean=mean.to(trained.device),
            std=std.clamp_min(SMALLEST_STD).to(trained.device),
            draws=group_draws(windows.num_groups, seed=settings.seed),
            settings=settings,
        )

    @property
    def steps(self) -> int:
        """Imagined steps."""
        return self.windows.horizon

    @property
    def shown_steps(self) -> list[int]:
        """The steps that tables and strips show; the last one is always among them."""
        return sorted({step for step in SHOWN_STEPS if step < self.steps} | {self.steps})

    def frame_mean(
        self, values: Real[np.ndarray, " frames"], counted: Bool[np.ndarray, " frames"] | None = None
    ) -> Interval:
        """Mean over the single frames, or over those that count."""
        weights = np.ones(len(values)) if counted is None else counted.astype(float)
        groups = self.frames.groups
        draws = group_draws(int(groups.max()) + 1, seed=self.settings.seed)
        return bootstrap(group_sums(values * weights, weights, groups)[None], ratio, draws)

    def quotient(self, above: Real[np.ndarray, " windows"], below: Real[np.ndarray, " windows"]) -> Interval:
        """Sum over windows of one value over that of another."""
        return bootstrap(group_sums(above, below, self.windows.groups)[None], ratio, self.draws)

    def mean_of(self, values: Real[np.ndarray, " windows"]) -> Interval:
        """Mean over windows."""
        return self.quotient(values, np.ones(len(values)))

    def table(self, name: str, title: str, rows: Sequence[Row], conclusions: Sequence[str]) -> Table:
        """With the seed of the run and the threads of this process."""
        seeds = [self.trained.settings.seed]
        return Table.create(name, title, rows, seeds, conclusions, threads=self.settings.threads)

    def seconds(self, step: int) -> str:
        """How far ahead a step is."""
        return f"{step * self.trained.store.dt:.2f} s"


def _thinned(windows: Windows, number: int) -> Windows:
    kept = np.unique(np.linspace(0, len(windows.starts) - 1, min(number, len(windows.starts))).astype(np.int64))
    groups = np.unique(windows.groups[kept], return_inverse=True)[1]
    return Windows(windows.starts[kept], groups, windows.context, windows.horizon)


def training_rows(store: Store) -> Int64[np.ndarray, " frames"]:
    """The training split, or everything where a folder was only brought to look at."""
    return store.indices("train" if any(span.split == "train" for span in store.trajectories) else "all")


def latents_at(trained: TrainedRun, windows: Windows, steps: range) -> Float[Tensor, "windows steps latent"]:
    """Real latents, so many steps after the last frame of the context."""
    rows = np.stack([windows.rows(step) for step in steps], axis=1)
    return torch.from_numpy(trained.latents[rows]).to(trained.device)


@torch.no_grad()
def imagine_with(
    trained: TrainedRun,
    windows: Windows,
    change: Callable[[np.ndarray], np.ndarray],
    predictor: Predictor | None = None,
) -> Float[Tensor, "windows steps latent"]:
    """Imagined futures with other future actions; those between the real frames stay as they are."""
    predictor = predictor or trained.predictor
    actions = np.array(trained.store.actions[windows.action_rows()])
    actions[:, windows.context - 1 :] = change(actions[:, windows.context - 1 :])
    rows = windows.context_rows()
    futures = []
    for i in range(0, len(rows), CHUNK):
        real = torch.from_numpy(trained.latents[rows[i : i + CHUNK]]).to(trained.device)
        acts = torch.from_numpy(actions[i : i + CHUNK]).to(trained.device)
        futures.append(predictor(real, acts)[:, windows.context - 1 :])
    return torch.cat(futures)


def group_sums(above: np.ndarray, below: np.ndarray, groups: np.ndarray) -> Float[np.ndarray, "groups 2"]:
    """Both values added up by group."""
    return np.stack([np.bincount(groups, above), np.bincount(groups, below)], axis=-1)
