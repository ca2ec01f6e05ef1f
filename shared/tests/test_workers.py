import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from drivelab_shared.workers import in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_as_many_processes_as_asked_for(workers):
    # What a worker runs must be importable there, which tests are not.
    items = [f"({number} ** 2, __import__('os').getpid())" for number in range(6)]
    results, processes = zip(*in_processes(eval, items, workers), strict=True)
    assert results == (0, 1, 4, 9, 16, 25)
    assert (set(processes) == {os.getpid()}) == (workers == 1)


def test_nothing_to_do_starts_nothing():
    assert list(in_processes(abs, [], 4)) == []


SLEEPERS = """
import time
from drivelab_shared.workers import in_processes
if __name__ == "__main__":
    print("started", flush=True)
    list(in_processes(time.sleep, [60, 60], 2))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "started\n"
    deadline = time.monotonic() + 15
    while len(children := psutil.Process(parent.pid).children(recursive=True)) < 3:  # two, and Python's own tracker
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # until both have begun to watch
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
