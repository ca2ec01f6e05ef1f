"""A real training process is killed twice at moments that nobody chose, and goes on each time."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.settings import dump
from drivelab_shared.testing import kill_at, starter, status
from v2x_teacher.cli import main
from v2x_teacher.train import train

STEPS = 16


@pytest.fixture(scope="module")
def start():
    """Starts `v2x-teacher train ARGUMENTS` in a process of its own, in which the slow imports are done already."""
    return starter(main, "v2x_teacher.train", "v2x_teacher.models.efficientnet")


def weights(run: Path) -> bytes:
    return (run / "models" / "teacher" / "model.safetensors").read_bytes()


def logged(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_twice_ends_like_an_uninterrupted_one(start, tiny_settings, tmp_path):
    # The backbone learns too: its steps are slow enough to be hit, and its stochastic depth draws random numbers.
    backbone = replace(tiny_settings.backbone, kind="efficientnet")
    settings = replace(tiny_settings, backbone=backbone, freeze_backbone=False, train_vision=True, baselines=False)
    settings = replace(settings, steps=STEPS)
    train(replace(settings, run_dir=tmp_path / "reference"))

    run = tmp_path / "run"
    (tmp_path / "settings.yaml").write_text(dump(replace(settings, run_dir=run)))
    rng = np.random.default_rng(0)
    # The last steps are left out: a process must still be there when it is killed.
    targets = sorted(rng.choice(STEPS - 6, size=2, replace=False) + 1)
    moments = [(int(step), float(rng.uniform(0, 0.02))) for step in targets]
    print(f"killed after {moments}")
    arguments = ["--config", tmp_path / "settings.yaml"]
    for step, seconds in moments:
        since = time.time()
        kill_at(start(*arguments), run, ("teacher",), "teacher", step, since, after_s=seconds)
        arguments = ["--resume", run]
    start(*arguments).join()
    assert status(run) == "finished"
    assert weights(run) == weights(tmp_path / "reference")
    assert logged(run) == logged(tmp_path / "reference")
