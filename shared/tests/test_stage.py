"""A stage that is trained, killed, gone on with, and asked for its best step."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from drivelab_shared import checkpoint, engine
from drivelab_shared.checkpoint import Parts
from drivelab_shared.errors import UserError
from drivelab_shared.runs import open_run
from drivelab_shared.stage import Stage


class KilledError(Exception):
    pass


@dataclass(frozen=True)
class Settings:
    resume: str | None = None


def count(folder: Path, figures, *, lower=True, select="figure", every=100, killed_at=None) -> int:
    """Steps that the network of the best step has seen; every step moves its one weight by 1 and has one figure."""
    accelerator = engine.start("cpu")
    resume = str(folder) if folder.exists() else None
    run = open_run("drivelab-shared", Settings(), accelerator, run_dir=folder, resume=resume)
    network = accelerator.prepare(nn.ParameterList([torch.zeros(1)]))
    optimizer = accelerator.prepare(torch.optim.SGD(network.parameters(), lr=1.0))
    stage = Stage(run, "count", Parts({"count": network}, {"optimizer": optimizer}), keep=1)
    try:
        for step in range(stage.resume(), len(figures)):
            optimizer.zero_grad()
            (-network[0]).sum().backward()
            optimizer.step()
            run.log(step + 1, "val", {"figure": figures[step]}, "count")
            if step + 1 == killed_at:
                raise KilledError
            stage.save_if_best(step + 1, select, {"figure": figures[step]}, lower=lower)
            if (step + 1) % every == 0:
                stage.save(step + 1)
        stage.load_best()
        return round(network[0].item())
    finally:
        run.finish("failed")


def logged(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("figures", "lower", "best"),
    [
        ([5, 3, 1, 2], True, 3),
        ([0, 3, 1, 2], False, 2),
        ([2, 1, 1], True, 2),
        ([float("nan"), 4, float("nan"), 9], True, 2),
        ([float("nan"), 4, float("nan"), 9], False, 4),
    ],
)
def test_the_best_step_is_the_first_with_the_best_figure(tmp_path, figures, lower, best):
    assert count(tmp_path / "run", figures, lower=lower) == best


def test_without_a_figure_that_is_a_number_the_last_step_stays(tmp_path):
    assert count(tmp_path / "run", [float("nan")] * 3) == 3


def test_a_stage_that_goes_on_still_knows_its_best_step_and_logs_no_step_twice(tmp_path):
    figures = [3, 0, *[1] * 22]
    with pytest.raises(KilledError):
        count(tmp_path / "run", figures, every=5, killed_at=18)
    assert len(logged(tmp_path / "run")) == 18
    assert count(tmp_path / "run", figures, every=5) == 2
    assert len(logged(tmp_path / "run")) == 24


def test_a_kill_between_saving_and_marking_the_best_step_does_not_lose_it(tmp_path, monkeypatch):
    mark = checkpoint.mark_best

    def mark_or_be_killed(folder, step, *what):
        if step == 2:
            raise KilledError
        mark(folder, step, *what)

    figures = [3, 0, *[1] * 4]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "mark_best", mark_or_be_killed)
        with pytest.raises(KilledError):
            count(tmp_path / "run", figures)
    assert count(tmp_path / "run", figures) == 2


def test_a_figure_that_is_not_measured_cannot_select(tmp_path):
    with pytest.raises(UserError, match="select: expected one of figure, got 'accuracy'"):
        count(tmp_path / "run", [0], select="accuracy")
