"""A real training process is killed at five steps that nobody chose, and goes on each time."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.settings import dump
from drivelab_shared.testing import kill_at, starter, status
from latent_predictor.cli import main
from latent_predictor.train import train

STEPS = 24
STAGES = ("predictor", "twin")


@pytest.fixture(scope="module")
def start():
    """Starts `latent-predictor train ARGUMENTS` in a process of its own, in which torch is imported already."""
    return starter(main, "latent_predictor.train")


def weight_files(run: Path) -> list[bytes]:
    return [(run / "models" / stage / "model.safetensors").read_bytes() for stage in STAGES]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_five_times_ends_with_the_weights_of_an_uninterrupted_one(
    start, tiny_run, tiny_settings, tmp_path
):
    settings = replace(tiny_settings, steps=STEPS)
    train(replace(settings, run_dir=tmp_path / "reference"))

    run = tmp_path / "run"
    (tmp_path / "settings.yaml").write_text(dump(replace(settings, run_dir=run)))
    # The last steps are left out: a process must still be there when it is killed.
    targets = sorted(np.random.default_rng(0).choice(2 * STEPS - 8, size=5, replace=False))
    arguments = ["--config", tmp_path / "settings.yaml"]
    for target in targets:
        since = time.time()
        kill_at(start(*arguments), run, STAGES, STAGES[target // STEPS], target % STEPS + 1, since)
        arguments = ["--resume", run]
    start(*arguments).join()
    assert status(run) == "finished"
    assert weight_files(run) == weight_files(tmp_path / "reference")
