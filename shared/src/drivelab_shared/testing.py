"""For the tests of trainings: interruptions at a step that nobody chose, in the process and from outside.

Needs pytest, which the package itself does not. A conftest.py imports the fixtures that its tests want:

    from drivelab_shared.testing import at_step, fresh_engine
"""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from drivelab_shared.runs import Run, read_manifest


@pytest.fixture(autouse=True)
def fresh_engine() -> Iterator[None]:
    """Accelerate keeps one state per process, and the next test would inherit it."""
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


class CrashError(Exception):
    """What `be_killed` raises."""


def be_killed() -> None:
    """End without saving anything."""
    raise CrashError


def receive_sigterm() -> None:
    """What a cluster sends before it takes the machine away."""
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, Callable[[], None]], None]:
    """`at_step(stage, step, happens)`: once that step of the stage is logged, before anything of it is saved.

    Needs `log_every` 1.
    """

    def arrange(stage: str, step: int, happens: Callable[[], None]) -> None:
        log = Run.log

        def log_and_more(self: Run, done: int, split: str, values: dict, own_stage: str = "") -> None:
            log(self, done, split, values, own_stage)
            if (own_stage, done, split) == (stage, step, "train"):
                monkeypatch.setattr(Run, "log", log)
                happens()

        monkeypatch.setattr(Run, "log", log_and_more)

    return arrange


def status(run: Path) -> str:
    """Of a run: running, finished, preempted or failed."""
    return read_manifest(run)["status"]


def starter(main: Callable[[Sequence[str]], int], *preload: str) -> Callable[..., BaseProcess]:
    """A function that starts `train ARGUMENTS` in a process of its own.

    Args:
        main: of a package's `cli`.
        preload: modules that take long to import, imported once for all processes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload, "torch._dynamo"])

    def start(*arguments: object) -> BaseProcess:
        process = context.Process(target=main, args=(["train", *map(str, arguments)],))
        process.start()
        return process

    return start


def kill_at(
    process: BaseProcess, run: Path, stages: Sequence[str], stage: str, step: int, since: float, *, after_s: float = 0.0
) -> None:
    """Wait until a process has logged a step, then send SIGKILL.

    Args:
        process: that trains.
        run: its folder.
        stages: in the order in which they are trained.
        stage: one of them.
        step: of that stage. A later one will do, too.
        since: time before the process was started; what was logged earlier does not count.
        after_s: wait so much longer.

    Raises:
        AssertionError: the process ended before.
    """
    while process.is_alive() and not _has_logged(run, stages, stage, step, since):
        time.sleep(0.002)
    time.sleep(after_s)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL  # noqa: S101 - for tests


def _has_logged(run: Path, stages: Sequence[str], stage: str, step: int, since: float) -> bool:
    with suppress(FileNotFoundError):
        for text in (run / "metrics.jsonl").read_text().splitlines():
            with suppress(ValueError):  # the line that is being written
                line = json.loads(text)
                place = (stages.index(line["stage"]), line["step"])
                if line["time"] >= since and place >= (stages.index(stage), step):
                    return True
    return False
