"""What both sides do alike, in both environments: the same lines time them, so that only the steps differ."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn
from torch.optim import Optimizer

BATCH_SIZE, NUM_FEATURES, IMAGE_CHANNELS = 256, 102, 3
WARMUP_STEPS = 5


@dataclass(frozen=True)
class Side:
    """What one side measures, and what shows that it is comparable."""

    library: str
    """Name and version."""
    encoder: type[nn.Module]
    """What turns an observation into NUM_FEATURES features."""
    networks: dict[str, int]
    """Parameters of each network, the encoder that it reads from included."""
    steps: dict[str, Callable[[], object]]
    """One gradient step of each algorithm, sampling included; `sampling` is the batch alone."""
    trained: dict[str, int]
    """Parameters that each algorithm's optimizers move."""


def main(prepare: Callable[[Path], Side]) -> None:
    """Measure every step of a side, with encoders that return zeros and as it is; print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    side = prepare(arguments.data)
    facts = {"library": side.library, "torch": torch.__version__, "networks": side.networks, "trained": side.trained}
    # First: once an encoder has had gradients, d3rlpy's optimizers work on its parameters at every step.
    with patch.object(side.encoder, "forward", lambda *_: torch.zeros(BATCH_SIZE, NUM_FEATURES)):
        facts["hollow"] = {name: measure(step, arguments.steps) for name, step in side.steps.items()}
    facts["whole"] = {name: measure(step, arguments.steps) for name, step in side.steps.items()}
    print(json.dumps(facts))


def measure(step: Callable[[], object], num_steps: int) -> dict[str, float]:
    """Steps, their CPU time, and how often one of them sends a batch of images through an encoder."""
    passes = 0

    def count(module: nn.Module, *_: object) -> None:
        nonlocal passes
        passes += isinstance(module, nn.Conv2d) and module.in_channels == IMAGE_CHANNELS

    hook = nn.modules.module.register_module_forward_hook(count)
    for _ in range(WARMUP_STEPS):
        step()
    hook.remove()
    start = time.process_time()
    for _ in range(num_steps):
        step()
    return {"steps": num_steps, "cpu_s": time.process_time() - start, "passes": passes / WARMUP_STEPS}


def num_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def num_moved(*optimizers: Optimizer) -> int:
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    return sum(parameter.numel() for group in groups for parameter in group["params"])
