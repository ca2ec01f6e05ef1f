"""Two gloo processes, as torchrun starts them: they finish, resume, and learn what one process learns."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared import runs
from drivelab_shared.settings import dump
from latent_predictor.storage import load_network
from latent_predictor.train import train

TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "latent_predictor", "train"),
]


def start(*arguments: object) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def lines(run: Path, stage: str) -> list[dict]:
    path = run / "metrics.jsonl"
    logged = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in logged if line["stage"] == stage and line["split"] == "train"]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_stop_together_resume_and_learn_what_one_learns(tiny_settings, tmp_path):
    # Without noise and dropout nothing depends on the number of processes but the order of additions.
    settings = replace(
        tiny_settings, steps=12, dropout=0, input_noise_std=0, classifier_noise=0, cache_dir=tmp_path / "cache"
    )
    run = tmp_path / "two"
    (tmp_path / "settings.yaml").write_text(dump(replace(settings, run_dir=run)))

    process = start("--config", tmp_path / "settings.yaml")
    while process.poll() is None and len(lines(run, "predictor")) < 3:
        time.sleep(0.02)
    process.terminate()
    _, errors = process.communicate()
    assert runs.read_manifest(run)["status"] == "preempted", errors
    assert 3 <= len(lines(run, "predictor")) < 12

    process = start("--resume", run)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert runs.read_manifest(run)["status"] == "finished"
    assert runs.read_manifest(run)["world_size"] == 2
    assert "warning" not in errors.lower()

    # The stages before are given, because the VAE's noise does depend on the number of processes.
    one = tmp_path / "one"
    train(replace(settings, run_dir=one, vae_model_path=run, classifier_path=run))
    for stage in ("predictor", "twin"):
        assert [line["step"] for line in lines(run, stage)] == list(range(1, 13))
        for ours, theirs in zip(lines(run, stage), lines(one, stage), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        ours, theirs = (
            dict(load_network(folder, "lstm", name=stage).module.named_parameters()) for folder in (run, one)
        )
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)
