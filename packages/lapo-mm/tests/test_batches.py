"""Batches: the transitions that a loop over episodes would give, from memory and from disk alike."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lapo_mm.data.batches import Batch, Batches
from lapo_mm.data.episodes import Episode
from lapo_mm.data.store import Store, open_store

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny_store(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tiny_dataset, tmp_path_factory.mktemp("cache"))


def looped(episodes: list[Episode], store: Store, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The same the slow way: one transition after the other, from the episodes themselves."""
    rows = []
    for index in indices:
        span = next(one for one in store.episodes if one.first_step <= index < one.first_step + one.length)
        episode, step = episodes[span.index], index - span.first_step
        row = {f"observation.{name}": frames[step] for name, frames in episode.observations.items()}
        row |= {f"next_observation.{name}": frames[step + 1] for name, frames in episode.observations.items()}
        row |= {"actions": episode.actions[step], "rewards": np.float32(episode.rewards[step])}
        rows.append(row | {"terminals": np.float32(episode.terminations[step])})
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def flat(batch: Batch) -> dict[str, np.ndarray]:
    found = {
        f"{part}.{name}": a for part in ("observation", "next_observation") for name, a in getattr(batch, part).items()
    }
    found |= {name: getattr(batch, name) for name in ("actions", "rewards", "terminals")}
    return {key: tensor.numpy() for key, tensor in found.items()}


@pytest.mark.parametrize("max_loaded_bytes", [0, 1 << 30])
def test_a_batch_is_what_a_loop_over_episodes_gives(tiny_store: Store, tiny_episodes, max_loaded_bytes: int) -> None:
    indices = np.random.default_rng(0).permutation(120)[:64]
    indices[:3] = (9, 10, 119)  # the last step of an episode, the first of the next, the very last
    found = flat(Batches(tiny_store, "cpu", max_loaded_bytes=max_loaded_bytes).fetch(indices))
    expected = looped(tiny_episodes, tiny_store, indices)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, strict=True)


def test_pictures_stay_bytes_and_numbers_are_floats(tiny_store: Store) -> None:
    batch = Batches(tiny_store, torch.device("cpu")).fetch(np.arange(4))
    assert batch.observation["image"].dtype == torch.uint8
    rest = [batch.observation["state"], batch.next_observation["lidar"], batch.actions, batch.rewards, batch.terminals]
    assert {tensor.dtype for tensor in rest} == {torch.float32}
    assert batch.terminals.shape == batch.rewards.shape == (4,)


def test_only_the_chosen_modalities_are_fetched(tiny_store: Store) -> None:
    batch = Batches(tiny_store, "cpu", ("lidar",)).fetch(np.arange(4))
    assert list(batch.observation) == list(batch.next_observation) == ["lidar"]


def test_a_batch_may_be_changed_without_changing_the_data(tiny_store: Store) -> None:
    for limit in (0, 1 << 30):
        batches = Batches(tiny_store, "cpu", max_loaded_bytes=limit)
        batches.fetch(np.arange(4)).actions.fill_(7.0)
        assert not (batches.fetch(np.arange(4)).actions == 7.0).any()


def test_rewards_and_actions_are_in_the_units_of_the_environment(tiny_store: Store, tiny_episodes) -> None:
    batch = Batches(tiny_store, "cpu").fetch(np.arange(10))
    np.testing.assert_array_equal(batch.rewards.numpy(), tiny_episodes[0].rewards.astype(np.float32))
