"""Transitions as tensors, gathered by fancy indexing: no loop over them, and bytes stay bytes until the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int, Real
from torch import Tensor

from lapo_mm.config import Modality
from lapo_mm.data.store import Store

MAX_LOADED_BYTES = 2 << 30
"""Data up to this size are kept on the device; larger ones stay mapped, and only what a batch needs is read."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Transitions: in each, `actions` led from `observation` to `next_observation`."""

    observation: Mapping[str, Real[Tensor, "batch ..."]]
    """By modality: `image` uint8, `state` and `lidar` float32, none of them standardised."""
    next_observation: Mapping[str, Real[Tensor, "batch ..."]]
    actions: Float32[Tensor, "batch actions"]
    """In the units of the environment."""
    rewards: Float32[Tensor, " batch"]
    """In the units of the environment."""
    terminals: Float32[Tensor, " batch"]
    """1 where the task ended, so that nothing follows."""


class Batches:
    """Serves transitions of a store on a device."""

    def __init__(
        self,
        store: Store,
        device: torch.device | str,
        modalities: Sequence[Modality] = (),
        max_loaded_bytes: int = MAX_LOADED_BYTES,
    ) -> None:
        self.device = torch.device(device)
        self._rows = store.rows
        names = modalities or store.roles.modalities
        arrays = {name: store.observations[name] for name in names}
        arrays |= {"actions": store.actions, "rewards": store.rewards, "terminals": store.terminals}
        self._modalities = tuple(names)
        self._arrays: Mapping[str, np.ndarray | Tensor] = arrays
        if sum(array.nbytes for array in arrays.values()) <= max_loaded_bytes:
            self._arrays = {name: torch.from_numpy(np.array(one)).to(self.device) for name, one in arrays.items()}

    def fetch(self, indices: Int[np.ndarray, " batch"]) -> Batch:
        """The transitions at these steps, on the device."""
        frames = self._rows[indices]
        return Batch(
            observation={name: self._take(name, frames) for name in self._modalities},
            next_observation={name: self._take(name, frames + 1) for name in self._modalities},
            actions=self._take("actions", indices),
            rewards=self._take("rewards", indices),
            terminals=self._take("terminals", indices).float(),
        )

    def _take(self, name: str, rows: Int[np.ndarray, " batch"]) -> Tensor:
        array = self._arrays[name]
        if isinstance(array, Tensor):
            return array.index_select(0, torch.from_numpy(rows).to(self.device))
        return torch.from_numpy(array[rows]).to(self.device)
