"""How fast batches are gathered, and how fast environments and policies act."""

from collections.abc import Callable

import numpy as np
import torch

from drivelab_shared.results import Row, Table
from drivelab_shared.seeding import StepSampler
from drivelab_shared.timing import Work, interleave, timed
from lapo_mm.algorithms import Algorithm
from lapo_mm.algorithms.lapo import Lapo
from lapo_mm.bench.steps import ready
from lapo_mm.config import BenchSettings, TrainSettings
from lapo_mm.data.batches import Batches
from lapo_mm.data.store import Store
from lapo_mm.rollouts import Act, acting, roll_out, seeds
from lapo_mm.tasks import Task

LOOP, GATHERED, MAPPED = "a loop over transitions", "gathered (ours)", "gathered from mapped files"
NUM_EPISODES = 20


def bench_data(store: Store, settings: BenchSettings) -> list[Table]:
    """Batches of transitions against a loop over them; steps of the environment, with and without the policy."""
    timings = interleave("batches", _batch_works(store, settings), settings.repeats)
    rows = list(timings.rows("transitions per CPU-second", LOOP))
    task = Task.of(store.info, store.roles)
    if task is not None:
        training = TrainSettings(data_dir=settings.data_dir)
        acted = interleave("rollouts", _rollout_works(task, ready(Lapo, store, training)), settings.repeats)
        rows += [Row(name, "steps per CPU-second", **vars(acted.rate(name))) for name in acted.by_name]
    gain = timings.times(GATHERED, LOOP)
    conclusions = [f"Gathering a batch is {gain.shown('times', 1)} as fast as a loop over its transitions."]
    title = f"Batches of {settings.batch_size} and rollouts, {settings.repeats} times in turns"
    return [Table.create("data", title, rows, [settings.seed], conclusions, threads=settings.threads)]


def _batch_works(store: Store, settings: BenchSettings) -> dict[str, Work]:
    indices = store.steps_of("train")
    sampler = StepSampler(len(indices), settings.batch_size, seed=settings.seed)
    loaded, mapped = Batches(store, "cpu"), Batches(store, "cpu", max_loaded_bytes=0)
    arrays = [np.array(array) for array in store.observations.values()]

    def looped(chosen: np.ndarray) -> None:
        for array in arrays:
            for offset in (0, 1):
                torch.stack([torch.from_numpy(array[store.rows[step] + offset]) for step in chosen])
        for array in (store.actions, store.rewards, store.terminals):
            torch.stack([torch.from_numpy(np.array(array[step])) for step in chosen])

    def work(fetch: Callable[[np.ndarray], object]) -> Work:
        def run() -> int:
            for step in range(settings.steps):
                fetch(indices[sampler.batch(step)])
            return settings.steps * settings.batch_size

        return timed(run)

    return {LOOP: work(looped), GATHERED: work(loaded.fetch), MAPPED: work(mapped.fetch)}


def _rollout_works(task: Task, policy: Algorithm) -> dict[str, Work]:
    device, size = torch.device("cpu"), policy.shapes.action

    def idle(observation: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.zeros(len(next(iter(observation.values()))), size)

    def work(act: Act, num_parallel: int) -> Work:
        def run() -> int:
            done = roll_out(act, task.make_env, task.read, seeds(0, NUM_EPISODES), device, num_parallel=num_parallel)
            return int(done.lengths.sum())

        return timed(run)

    return {
        "environment alone": work(idle, NUM_EPISODES),
        "policy, one environment at a time": work(acting(policy), 1),
        f"policy, {NUM_EPISODES} side by side (ours)": work(acting(policy), NUM_EPISODES),
    }
