"""A real training process is killed in both stages, at steps that nobody chose, and goes on each time."""

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
from opv2v_stage2.cli import main
from opv2v_stage2.train import train

STEPS = 20
STAGES = ("stage1", "stage2")


@pytest.fixture(scope="module")
def start():
    """Starts `opv2v-stage2 train ARGUMENTS` in a process of its own, in which torch is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["opv2v_stage2.train", "torch._dynamo"])

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
        kill_at(start(*arguments), run, stage, step, since)
        arguments = ["--resume", run]
    start(*arguments).join()
    assert runs.read_manifest(run)["status"] == "finished"
    assert weight_files(run) == weight_files(tmp_path / "reference")
