import os
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from drivelab_shared.errors import UserError
from drivelab_shared.seeding import StepSampler, keyed_rng, seed_step, set_deterministic


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002 - what libraries draw from


def first_draws(*key, **named):
    seed_step(*key, **named)
    return draws()


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_an_epoch_meets_every_sample_once_whatever_the_number_of_processes(world):
    samplers = [StepSampler(48, 12, rank, world, seed=7) for rank in range(world)]
    steps = range(samplers[0].steps_per_epoch)
    assert sorted(int(index) for sampler in samplers for step in steps for index in sampler.batch(step)) == [*range(48)]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_global_batch_of_a_step_does_not_depend_on_the_number_of_processes(world):
    alone = StepSampler(50, 12, seed=7)
    shared = [StepSampler(50, 12, rank, world, seed=7) for rank in range(world)]
    for step in range(9):
        together = np.concatenate([sampler.batch(step) for sampler in shared])
        assert {len(sampler.batch(step)) for sampler in shared} == {12 // world}
        assert set(together) == set(alone.batch(step))


def test_a_batch_is_a_function_of_the_step_in_whatever_order_steps_are_asked_for():
    forward, backward = StepSampler(20, 6, seed=1), StepSampler(20, 6, seed=1)
    expected = [forward.batch(step) for step in range(10)]
    for step in reversed(range(10)):
        np.testing.assert_array_equal(backward.batch(step), expected[step])


def test_the_incomplete_last_batch_is_dropped_and_the_next_epoch_is_shuffled_anew():
    sampler = StepSampler(20, 6, seed=1)
    assert sampler.steps_per_epoch == 3
    assert [sampler.epoch(step) for step in (0, 2, 3, 6)] == [0, 0, 1, 2]
    epochs = [np.concatenate([sampler.batch(3 * epoch + k) for k in range(3)]) for epoch in range(2)]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_another_seed_is_another_order():
    assert StepSampler(20, 20, seed=1).batch(0).tolist() != StepSampler(20, 20, seed=2).batch(0).tolist()


def test_pairs_start_anywhere_and_carry_the_epoch():
    sampler = StepSampler(10, 4, rank=1, world=2, seed=3)
    from_the_start, from_step_3 = sampler.batches(), sampler.batches(start=3)
    everything = [next(from_the_start) for _ in range(6)]
    assert [next(from_step_3) for _ in range(3)] == everything[3:]
    assert [[epoch for epoch, _ in pairs] for pairs in everything] == [[step // 2] * 2 for step in range(6)]
    assert [index for _, index in everything[4]] == sampler.batch(4).tolist()


class KeyedNoise(Dataset):
    """What a data set does with the pairs: noise of its own for each sample and epoch."""

    def __getitem__(self, pair):
        return torch.tensor([*pair, keyed_rng(5, *pair).standard_normal()])


def test_a_data_loader_walks_the_sampler():
    loader = iter(DataLoader(KeyedNoise(), batch_sampler=StepSampler(6, 3, seed=2).batches(start=1)))
    batches = torch.cat([next(loader) for _ in range(3)])
    assert batches[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert sorted(batches[3:, 1].tolist()) == [0, 1, 2, 3, 4, 5]
    assert len(set(batches[:, 2].tolist())) == 9


@pytest.mark.parametrize(
    ("size", "global_batch", "world", "message"),
    [
        (100, 32, 3, "batch_size: expected a multiple of the 3 processes, got 32"),
        (10, 32, 1, "batch_size: expected 1 to 10, as many as there are samples, got 32"),
        (1, 0, 2, "batch_size: expected 1 to 1, as many as there are samples, got 0"),
        (10, -2, 2, "batch_size: expected 1 to 10, as many as there are samples, got -2"),
    ],
)
def test_a_batch_that_cannot_be_taken_is_refused_with_the_numbers(size, global_batch, world, message):
    with pytest.raises(UserError) as refusal:
        StepSampler(size, global_batch, 0, world)
    assert str(refusal.value) == message


def test_a_step_seeds_all_three_generators():
    first = first_draws(3, 14)
    draws()
    assert first_draws(3, 14) == first


@pytest.mark.parametrize("other", [(4, 14, 0, 0), (3, 15, 0, 0), (3, 14, 1, 0), (3, 14, 0, 1)])
def test_seed_step_rank_and_stream_each_change_every_generator(other):
    assert not set(first_draws(3, 14, 0, 0)) & set(first_draws(*other))


def test_how_much_one_stream_draws_does_not_reach_the_next():
    expected = first_draws(3, 14, stream=1)
    seed_step(3, 14, stream=0)
    for _ in range(17):
        draws()
    assert first_draws(3, 14, stream=1) == expected


def test_every_key_has_numbers_of_its_own_even_if_it_ends_in_zeros():
    keys = [(5,), (5, 0), (5, 0, 0), (0, 5), (5, 1), (1, 5), (6,)]
    assert len({keyed_rng(*key).random() for key in keys}) == len(keys)
    assert keyed_rng(5, 1).random() == keyed_rng(5, 1).random()


def test_deterministic_asks_torch_cudnn_and_cublas(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        set_deterministic()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
