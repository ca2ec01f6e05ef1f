"""The training loop by itself: gradients of several passes, learning rates, and which step is returned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from drivelab_shared import engine
from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.runs import open_run
from v2x_teacher.config import TrainSettings
from v2x_teacher.fit import Schedule, _accumulate, fit


class CrashError(Exception):
    pass


def test_the_learning_rate_is_a_function_of_the_step():
    settings = TrainSettings(lr_schedule="cosine", final_lr_share=0.2, warmup_steps=3)
    schedule = Schedule.of(settings, 11)
    # Three steps up to 1, then half a cosine over eight steps from 1 to 0.2.
    expected = [0.25, 0.5, 0.75, 1.0, *(0.2 + 0.4 * (1 + c) for c in (2**-0.5, 0.0, -(2**-0.5)))]
    assert [schedule.share_at(step) for step in (0, 1, 2, 3, 5, 7, 9)] == pytest.approx(expected)
    constant = Schedule.of(replace(settings, lr_schedule="constant"), 11)
    assert [constant.share_at(step) for step in (2, 3, 10)] == [0.75, 1.0, 1.0]


def test_the_gradient_of_several_passes_is_that_of_their_mean_loss():
    torch.manual_seed(0)
    accelerator, values = engine.start("cpu"), torch.randn(8, 3)
    network = nn.Linear(3, 1)

    def loss_of(network, batch):
        loss = network(values[batch]).square().mean()
        return {"loss": loss, "double": 2 * loss}

    found = []
    for passes in (1, 4):
        network.zero_grad()
        losses = _accumulate(accelerator, network, loss_of, np.arange(8), passes, "stage", 0)
        found.append((network.weight.grad.clone(), losses["loss"], losses["double"]))
    for one, four in zip(*found, strict=True):
        torch.testing.assert_close(four, one)


class Counter(nn.Module):
    """One weight that every step moves by -1, so that it counts the steps."""

    def __init__(self):
        super().__init__()
        self.head = nn.ParameterList([torch.zeros(1)])
        self.backbone = None

    @property
    def steps(self):
        return -round(self.head[0].item())


def count(tmp_path, figures, steps, *, select="", num_samples=4, crash_at=None, **schedule):
    """Steps that the returned network has seen; `figures` are its validation figures, one epoch being one step."""

    def validate(network):
        if network.steps == crash_at:
            raise CrashError
        return {"figure": float(figures[network.steps - 1])}

    accelerator = engine.start("cpu")
    folder = tmp_path / "run"
    resume = str(folder) if folder.exists() else None
    run = open_run("v2x-teacher", TrainSettings(), accelerator, run_dir=folder, resume=resume)
    settings = TrainSettings(head_lr=1.0, lr_schedule="constant", keep=1, log_every=1, **schedule)
    try:
        network = fit(
            run, StopSignal(), "count", Counter(), lambda network, batch: {"loss": network.head[0].sum()},
            num_samples=num_samples, batch_size=4, schedule=Schedule.of(settings, steps),
            validate=validate, select=select,
        )  # fmt: skip
    finally:
        run.finish("failed")
    return network.steps


def test_the_last_step_is_returned_and_the_best_one_if_asked_for(tmp_path):
    assert count(tmp_path / "last", [0, 3, 1, 2], steps=4) == 4
    assert count(tmp_path / "best", [5, 3, 1, 2], steps=4, select="figure") == 3


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_pass_that_the_processes_cannot_share_is_refused(tmp_path, monkeypatch, accumulation):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(UserError, match="batch_size: expected a multiple of the 3 processes, got 4"):
        count(tmp_path, [0], steps=1, accumulation=accumulation, num_samples=12)
