"""A real training process is killed in both stages, at steps that nobody chose, and goes on each time."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.settings import dump
from drivelab_shared.testing import kill_at, starter, status
from opv2v_stage2.cli import main
from opv2v_stage2.train import train

STEPS = 20
STAGES = ("stage1", "stage2")


@pytest.fixture(scope="module")
def start():
    """Starts `opv2v-stage2 train ARGUMENTS` in a process of its own, in which torch is imported already."""
    return starter(main, "opv2v_stage2.train")


def weight_files(run: Path) -> list[bytes]:
    return [(run / "models" / stage / "model.safetensors").read_bytes() for stage in STAGES]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_in_both_stages_ends_with_the_weights_of_an_uninterrupted_one(
    start, tiny_run, tiny_settings, tmp_path
):
    settings = replace(tiny_settings, stage1_steps=STEPS, stage2_steps=STEPS, checkpoint_every=3, eval_every=7)
    train(replace(settings, run_dir=tmp_path / "reference"))

    run = tmp_path / "run"
    (tmp_path / "settings.yaml").write_text(dump(replace(settings, run_dir=run)))
    # The last steps of a stage are left out: a process must still be there when it is killed.
    rng = np.random.default_rng(0)
    targets = [(stage, step) for stage in STAGES for step in sorted(rng.choice(STEPS - 6, size=2, replace=False) + 1)]
    arguments = ["--config", tmp_path / "settings.yaml"]
    for stage, step in targets:
        since = time.time()
        kill_at(start(*arguments), run, STAGES, stage, step, since)
        arguments = ["--resume", run]
    start(*arguments).join()
    assert status(run) == "finished"
    assert weight_files(run) == weight_files(tmp_path / "reference")
