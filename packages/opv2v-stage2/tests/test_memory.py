"""How much memory a step takes, said before it is taken."""

import pytest
import torch
from torch import nn

from drivelab_shared.errors import UserError
from opv2v_stage2 import memory
from opv2v_stage2.memory import GIB, SavedBytes, require_memory, step_bytes


def saved(model: nn.Module, inputs: torch.Tensor) -> int:
    with SavedBytes(model) as bytes_kept:
        model(inputs)
    return bytes_kept.total


def test_what_a_linear_layer_keeps_is_its_input():
    layer = nn.Linear(8, 1000)
    assert saved(layer, torch.zeros(5, 8)) == 5 * 8 * 4


def test_a_tensor_that_is_kept_twice_counts_once():
    inputs = torch.ones(10, requires_grad=True)
    with SavedBytes(nn.Identity()) as kept:
        (inputs * inputs).sum()
    assert kept.total == 10 * 4


def test_every_layer_keeps_its_own():
    layers = [nn.Sequential(nn.Linear(16, 16), nn.GELU()) for _ in range(4)]
    inputs = torch.zeros(32, 16)
    two, four = saved(nn.Sequential(*layers[:2]), inputs), saved(nn.Sequential(*layers), inputs)
    assert (two, four) == (4 * inputs.nbytes, 8 * inputs.nbytes)


def test_a_step_needs_weights_gradients_moments_and_activations_per_sample():
    model = nn.Linear(10, 10)
    assert step_bytes(model, 1000, samples=3) == 16 * 110 + 3000
    model.bias.requires_grad_(False)
    assert step_bytes(model, 0, samples=3) == 16 * 100 + 4 * 10


def test_a_cpu_is_told_and_never_refused():
    assert require_memory(1000 * GIB, torch.device("cpu")) == "a step needs about 1000.00 GiB"


def test_a_gpu_that_is_too_small_is_named_before_the_first_step(monkeypatch):
    monkeypatch.setattr(memory.torch.cuda, "mem_get_info", lambda _: (6 * GIB, 10 * GIB))
    monkeypatch.setattr(memory.torch.cuda, "memory_reserved", lambda _: 2 * GIB)
    assert require_memory(4 * GIB, torch.device("cuda")) == "a step needs about 4.00 GiB of 8.0 GiB free"
    with pytest.raises(UserError, match=r"batch_size: .* fits 8.0 GiB of GPU memory, got: a step needs about 9.00 GiB"):
        require_memory(9 * GIB, torch.device("cuda"))
