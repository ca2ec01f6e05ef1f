"""Random numbers and data order as pure functions of (seed, step).

A checkpoint then needs neither a random state nor a loader state: whoever knows the step knows both.
"""

import os
import random
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from drivelab_shared.errors import UserError


def keyed_rng(*key: int) -> np.random.Generator:
    """A generator of its own for every key, for example (seed, epoch, index) of an augmented sample."""
    # The length is part of it: numpy fills up with zeros, so that (seed,) and (seed, 0) would draw the same numbers.
    return np.random.default_rng(np.random.SeedSequence((len(key), *key)))


def seed_step(seed: int, step: int, rank: int = 0, stream: int = 0) -> None:
    """Seed Python's `random`, numpy's legacy generator and torch from the key (seed, step, rank, stream).

    Give every forward pass of a step, and the fetching of its batch, a stream of its own: then neither depends on how
    many numbers the other drew.
    """
    import torch

    state = np.random.SeedSequence((seed, step, rank, stream)).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))  # noqa: NPY002 - libraries draw from it
    torch.manual_seed(int(state[2]))


def set_deterministic() -> None:
    """Ask torch for kernels that repeat themselves; an operation without one raises RuntimeError when it runs."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when the first handle is made
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


class StepSampler:
    """Which samples a step takes: epoch `e` is a permutation keyed by (seed, e), step `k` its k-th slice.

    Every process takes its own share of the slice, so that the global batch is the same for any number of processes.
    The last, incomplete batch of an epoch is dropped.

    Raises:
        UserError: the global batch does not divide by the processes, or is larger than the data.
    """

    def __init__(self, size: int, global_batch: int, rank: int = 0, world: int = 1, seed: int = 0) -> None:
        if global_batch % world:
            raise UserError(f"batch_size: expected a multiple of the {world} processes, got {global_batch}")
        if not 0 < global_batch <= size:
            raise UserError(f"batch_size: expected 1 to {size}, as many as there are samples, got {global_batch}")
        self.steps_per_epoch = size // global_batch
        self._global_batch = global_batch
        self._share = slice(rank, None, world)
        # One epoch is remembered: a permutation of ten million samples takes most of a second.
        self._permutation = lru_cache(maxsize=1)(lambda epoch: keyed_rng(seed, epoch).permutation(size))

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, counting from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Int64[np.ndarray, " share"]:
        """Indices of this process's share of a step."""
        first = step % self.steps_per_epoch * self._global_batch
        return self._permutation(self.epoch(step))[first : first + self._global_batch][self._share]

    def batches(self, start: int = 0) -> Iterator[list[tuple[int, int]]]:
        """(epoch, index) pairs of one step after the other without end: a `batch_sampler` for a torch DataLoader.

        The epoch is part of the pair so that a data set can key its augmentation by it.
        """
        step = start
        while True:
            epoch = self.epoch(step)
            yield [(epoch, int(index)) for index in self.batch(step)]
            step += 1
