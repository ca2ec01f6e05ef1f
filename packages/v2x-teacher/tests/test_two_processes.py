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
from safetensors.torch import load_file

from drivelab_shared import runs
from drivelab_shared.runs import Run
from v2x_teacher.train import train

STAGES = ("teacher", "ego_mlp", "no_infrastructure")
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "v2x_teacher", "train"),
]


def logged(run: Path, stage: str, split: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line["split"] == split]


def interrupt_the_teacher(monkeypatch) -> None:
    """The run stops after its second step, as if by a scheduler."""
    log = Run.log

    def log_and_signal(self, step, split, values, stage=""):
        log(self, step, split, values, stage)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "log", log_and_signal)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_finish_what_one_began_and_learn_what_one_learns(tiny_settings, tmp_path, monkeypatch):
    # Without dropout nothing depends on the number of processes but the order of additions.
    head = replace(tiny_settings.head, feature_dropout=0.0, loss="mse")
    backbone = replace(tiny_settings.backbone, kind="efficientnet")  # imports faster than transformers
    settings = replace(tiny_settings, backbone=backbone, head=head, steps=6, batch_size=4, accumulation=2)
    two, one = tmp_path / "two", tmp_path / "one"
    with monkeypatch.context() as patch:
        interrupt_the_teacher(patch)
        train(replace(settings, run_dir=two))
    assert runs.read_manifest(two)["status"] == "preempted"

    finished = subprocess.run(
        [*TORCHRUN, "--resume", str(two)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    manifest = runs.read_manifest(two)
    assert (manifest["status"], manifest["world_size"]) == ("finished", 2)
    warnings = [line for line in finished.stderr.splitlines() if "warning" in line.lower()]
    assert all("world_size was 1, is 2" in line for line in warnings), warnings
    assert finished.stderr.count("[Range]") == 4  # the first process alone speaks

    train(replace(settings, run_dir=one))
    for stage in STAGES:
        for split in ("train", "val"):
            ours, theirs = logged(two, stage, split), logged(one, stage, split)
            assert [line["step"] for line in ours] == list(range(1, 7))
            name = "loss" if split == "train" else "ade_m"
            assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], rel=1e-4)
        ours, theirs = (load_file(run / "models" / stage / "model.safetensors") for run in (two, one))
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)
