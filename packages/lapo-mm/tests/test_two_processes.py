"""Two gloo processes, as torchrun starts them: they resume, finish, and learn what one process learns."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared import runs
from drivelab_shared.runs import Run
from lapo_mm.config import EncoderSettings
from lapo_mm.storage import load_algorithm
from lapo_mm.train import train

TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "lapo_mm", "train"),
]


def logged(run: Path, split: str = "train") -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == "agent" and line["split"] == split]


def interrupt(monkeypatch, at: int) -> None:
    """The run stops after a step, as if by a scheduler."""
    log = Run.log

    def log_and_signal(self, step, split, values, stage=""):
        log(self, step, split, values, stage)
        if (step, split) == (at, "train"):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "log", log_and_signal)


def resume_with_two(run: Path) -> None:
    finished = subprocess.run(
        [*TORCHRUN, "--resume", str(run)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    manifest = runs.read_manifest(run)
    assert (manifest["status"], manifest["world_size"]) == ("finished", 2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_finish_what_one_began_and_learn_what_one_learns(tiny_settings, tmp_path, monkeypatch):
    # TD3+BC and IQL would draw noise, which depends on the process; cloning draws none.
    still = EncoderSettings(channels=(4, 4), image_features=8, state_features=4)
    settings = replace(tiny_settings, algorithm="bc", encoder=still, steps=10, baselines=())
    two, one = tmp_path / "two", tmp_path / "one"
    with monkeypatch.context() as patch:
        interrupt(patch, at=4)
        train(replace(settings, run_dir=two))
    assert runs.read_manifest(two)["status"] == "preempted"
    resume_with_two(two)
    assert [line["step"] for line in logged(two)] == list(range(1, 11))

    train(replace(settings, run_dir=one))
    for ours, theirs in zip(logged(two), logged(one), strict=True):
        assert ours["actor"] == pytest.approx(theirs["actor"], rel=1e-4)
    ours, theirs = (load_algorithm(run / "models" / "agent")[0].state_dict() for run in (two, one))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_finish_a_training_whose_encoder_has_two_backward_passes(tiny_settings, tmp_path, monkeypatch):
    settings = replace(tiny_settings, wiring="both", steps=8, baselines=(), run_dir=tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt(patch, at=2)
        train(settings)
    resume_with_two(tmp_path / "run")
    assert [line["step"] for line in logged(tmp_path / "run")] == list(range(1, 9))
    assert [line["step"] for line in logged(tmp_path / "run", "val")] == [3, 6, 8]
