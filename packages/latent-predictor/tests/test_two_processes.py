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
from latent_predictor.storage import load_network
from latent_predictor.train import train

TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "latent_predictor", "train"),
]


def logged(run: Path, stage: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line["split"] == "train"]


def interrupt_in_the_vae(monkeypatch) -> None:
    """The run stops after its fifth step, as if by a scheduler."""
    log = Run.log

    def log_and_signal(self, step, split, values, stage=""):
        log(self, step, split, values, stage)
        if step == 5:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Run, "log", log_and_signal)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_finish_what_one_began_and_learn_what_one_learns(tiny_settings, tmp_path, monkeypatch):
    # Without noise and dropout nothing in a predictor depends on the number of processes but the order of additions.
    settings = replace(
        tiny_settings, steps=12, dropout=0.0, input_noise_std=0.0, classifier_noise=0.0, cache_dir=tmp_path / "cache"
    )
    two, one = tmp_path / "two", tmp_path / "one"
    with monkeypatch.context() as patch:
        interrupt_in_the_vae(patch)
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
    assert [line["step"] for line in logged(two, "vae")] == list(range(1, 13))

    # The stages before the predictor are given: the VAE's noise does depend on the number of processes.
    train(replace(settings, run_dir=one, vae_model_path=two, classifier_path=two))
    for stage in ("predictor", "twin"):
        for ours, theirs in zip(logged(two, stage), logged(one, stage), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        ours, theirs = (load_network(run, "lstm", name=stage).module.state_dict() for run in (two, one))
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)
