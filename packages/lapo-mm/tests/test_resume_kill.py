"""A real training process is killed at five steps that nobody chose, and goes on each time."""

import json
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared import runs
from drivelab_shared.settings import dump
from lapo_mm.cli import main
from lapo_mm.train import train

STEPS = 24
STAGES = ("agent", "blind")


@pytest.fixture(scope="module")
def start():
    """Starts `lapo-mm train ARGUMENTS` in a process of its own, in which torch is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lapo_mm.train", "torch._dynamo"])

    def start(*arguments: object) -> BaseProcess:
        process = context.Process(target=main, args=(["train", *map(str, arguments)],))
        process.start()
        return process

    return start


def has_logged(run: Path, stage: str, step: int, since: float) -> bool:
    """Whether this step, or a later one, was logged by the process that was started at `since`."""
    with suppress(FileNotFoundError):
        for text in (run / "metrics.jsonl").read_text().splitlines():
            with suppress(ValueError):  # the line that is being written
                line = json.loads(text)
                place = (STAGES.index(line["stage"]), line["step"])
                if line["time"] >= since and place >= (STAGES.index(stage), step):
                    return True
    return False


def kill_at(process: BaseProcess, run: Path, stage: str, step: int, since: float) -> None:
    while process.is_alive() and not has_logged(run, stage, step, since):
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


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
        kill_at(start(*arguments), run, STAGES[target // STEPS], target % STEPS + 1, since)
        arguments = ["--resume", run]
    start(*arguments).join()
    assert runs.read_manifest(run)["status"] == "finished"
    assert weight_files(run) == weight_files(tmp_path / "reference")
