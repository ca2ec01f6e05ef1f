import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from drivelab_shared import engine
from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "tpu"):
        with pytest.raises(UserError, match=f"^device: expected one of auto, cpu, got '{device}'$"):
            engine.start(device)


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "get_available_trackers", list)
    with pytest.raises(UserError, match="tracker: expected an installed one, got 'wandb'; install the extra of that"):
        engine.start("cpu", tracker="wandb")


def test_arithmetic_that_the_device_cannot_do_is_refused():
    with pytest.raises(UserError, match="precision: expected fp32 or bf16 on a CPU, got 'fp16'"):
        engine.start("cpu", precision="fp16")


def test_each_start_has_the_precision_it_asks_for_and_weights_stay_fp32():
    for precision, dtype in [("bf16", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.bfloat16)]:
        accelerator = engine.start("cpu", precision=precision)
        network = accelerator.prepare(nn.Linear(2, 2))
        with accelerator.autocast():
            assert accelerator.unwrap_model(network, keep_fp32_wrapper=False)(torch.ones(1, 2)).dtype == dtype
        assert network.weight.dtype == torch.float32


def test_the_number_of_threads_is_the_one_asked_for_though_accelerate_may_set_its_own(monkeypatch):
    original = engine.Accelerator

    def with_two_threads(**options):
        torch.set_num_threads(2)
        return original(**options)

    monkeypatch.setattr(engine, "Accelerator", with_two_threads)
    engine.start("cpu", threads=1)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("number", StopSignal.SIGNALS)
def test_the_first_signal_is_noted_and_nothing_else_happens(accelerator, number):
    with StopSignal() as stop:
        assert not stop.agreed(accelerator)
        signal.raise_signal(number)
        assert stop.agreed(accelerator)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_signal_leaves_at_once(first):
    with StopSignal():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handlers_that_were_there_come_back():
    before = [signal.getsignal(number) for number in StopSignal.SIGNALS]
    with StopSignal():
        assert not set(before) & {signal.getsignal(number) for number in StopSignal.SIGNALS}
    assert [signal.getsignal(number) for number in StopSignal.SIGNALS] == before


def test_in_another_thread_signals_are_left_alone(accelerator):
    agreed, before = [], signal.getsignal(signal.SIGTERM)

    def work():
        with StopSignal() as stop:
            agreed.extend([stop.agreed(accelerator), signal.getsignal(signal.SIGTERM) is before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert agreed == [False, True]


@pytest.mark.slow
@pytest.mark.timeout(300)  # three interpreters import torch, which takes a busy machine a minute
def test_two_processes_train_resume_and_stop_as_one(tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
        "--nproc-per-node", "2", Path(__file__).with_name("two_processes.py"),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2))

    assert [(seen["rank"], seen["world"], seen["run"]) for seen in (first, second)] == [(0, 2, "run"), (1, 2, "run")]
    # Four steps at once, or two and then two from the checkpoint: the same weights to the last bit.
    assert [first[part]["start"] for part in ("whole", "half", "rest")] == [0, 0, 2]
    assert first["whole"]["weights"] == second["whole"]["weights"]
    assert first["rest"] == first["whole"] | {"start": 2, "batches": first["whole"]["batches"][2:]}
    assert second["rest"] == second["whole"] | {"start": 2, "batches": second["whole"]["batches"][2:]}
    assert first["half"]["weights"] != first["rest"]["weights"]
    for ours, theirs in zip(first["whole"]["batches"], second["whole"]["batches"], strict=True):
        assert (len(ours), len(theirs), len({*ours, *theirs})) == (4, 4, 8)
    # What the first process finds wrong stops both.
    refusal = "run_dir: expected a folder without a run, got run; --resume run continues it"
    assert first["refusal"] == second["refusal"] == refusal
    # Both stop though only the second was told to.
    assert first["asked_to_stop"] == second["asked_to_stop"] == [False, True]
    # Only the first one writes.
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        *(("whole", step) for step in (1, 2, 3, 4)),
        *(("parts", step) for step in (1, 2, 3, 4)),
    ]
    assert [line["loss"] for line in lines[4:]] == [line["loss"] for line in lines[:4]]
