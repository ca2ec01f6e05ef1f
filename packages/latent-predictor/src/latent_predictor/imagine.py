"""Imagined futures: from a few real frames and the actions to come, on many windows at once."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from drivelab_shared.seeding import keyed_rng
from latent_predictor.data.store import Store, window_starts
from latent_predictor.models import Predictor

CHUNK = 128


@dataclass(frozen=True, eq=False)
class Windows:
    """Where imagination starts: `context` real frames, then `horizon` frames to imagine."""

    starts: Int64[np.ndarray, " windows"]
    """Rows of the store."""
    groups: Int64[np.ndarray, " windows"]
    """Number of the trajectory: what the bootstrap draws."""
    context: int
    horizon: int

    @classmethod
    def of(cls, store: Store, split: str, context: int, horizon: int, stride: int) -> "Windows":
        """All windows of a split."""
        starts = window_starts(store, split, context + horizon, stride)
        firsts = np.array(sorted(span.start for span in store.spans(split)))
        groups = np.searchsorted(firsts, starts, side="right") - 1
        return cls(starts, np.unique(groups, return_inverse=True)[1], context, horizon)

    @property
    def num_groups(self) -> int:
        """Trajectories that have a window."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def rows(self, step: int) -> Int64[np.ndarray, " windows"]:
        """Rows of the frame that `step` imagined steps lead to; step 0 is the last real frame."""
        return self.starts + self.context - 1 + step

    def context_rows(self) -> Int64[np.ndarray, "windows context"]:
        """Rows of the real frames."""
        return self.starts[:, None] + np.arange(self.context)

    def action_rows(self) -> Int64[np.ndarray, "windows transitions"]:
        """Rows of the actions between the first frame and the last imagined one."""
        return self.starts[:, None] + np.arange(self.context - 1 + self.horizon)

    def swapped(self, seed: int) -> Int64[np.ndarray, " windows"] | None:
        """For every window, the number of one from another trajectory; None where there is only one trajectory."""
        if self.num_groups < 2:
            return None
        rng = keyed_rng(seed, 1)
        return np.array([rng.choice(np.flatnonzero(self.groups != group)) for group in self.groups])


@torch.no_grad()
def imagine(
    predictor: Predictor,
    latents: np.ndarray,
    store: Store,
    windows: Windows,
    device: torch.device,
    future_of: np.ndarray | None = None,
) -> Float[Tensor, "windows horizon latent"]:
    """Open-loop predictions of the frames after the context, with the recorded actions.

    Args:
        predictor: in eval mode.
        latents: of all rows of the store.
        store: where the actions are.
        windows: where to start.
        device: of the predictor.
        future_of: for every window, the window whose *future* actions are used instead of its own. The actions between
            the real frames stay.
    """
    context_rows, action_rows = windows.context_rows(), windows.action_rows()
    if future_of is not None:
        past = windows.context - 1
        action_rows = np.concatenate([action_rows[:, :past], action_rows[future_of][:, past:]], axis=1)
    futures = []
    for i in range(0, len(windows.starts), CHUNK):
        real = torch.from_numpy(latents[context_rows[i : i + CHUNK]]).to(device)
        actions = torch.from_numpy(store.actions[action_rows[i : i + CHUNK]]).to(device)
        futures.append(predictor(real, actions)[:, windows.context - 1 :])
    return torch.cat(futures)
