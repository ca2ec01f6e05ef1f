"""Memory: the peak of anonymous resident memory of a whole `train`, conversion included, on 1x and 4x the data.

Mapped files are file pages, which the system takes back when it needs them; anonymous memory is what a process really
holds. The peak that the kernel keeps mixes the two, so the process is watched while it runs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from drivelab_shared.results import Row, Table
from latent_predictor.bench.workbench import Workbench
from latent_predictor.data.trajectory import file_name

COPIES = (1, 4)
INTERVAL_S = 0.01
STEPS = 40
"""Optimizer steps of the predictor; memory does not grow after the first few."""
BAR = 1.1
MIB = 1 << 20


def bench_memory(bench: Workbench) -> list[Table]:
    """Peaks in MiB, and their ratio.

    Raises:
        UserError: this is not Linux, or the training failed.
    """
    if not anonymous_bytes(os.getpid()):
        raise UserError("suite: expected Linux for 'memory' (it reads RssAnon of /proc/PID/status), got another system")
    rows, peaks = [], {}
    for copies in COPIES:
        data_dir = bench.scratch / f"data{copies}"
        size = _copy(bench, data_dir, copies)
        command = [sys.executable, "-m", "latent_predictor", "train", *train_arguments(bench, data_dir)]
        peaks[copies] = peak_of(command, bench.scratch / f"{data_dir.name}.log")
        name = f"{copies}x the data"
        rows.append(Row(name, "frames, unpacked [MiB]", size / MIB))
        rows.append(Row(name, "peak of anonymous memory [MiB]", peaks[copies] / MIB))
    ratio = peaks[COPIES[-1]] / peaks[COPIES[0]]
    rows.append(Row(f"{COPIES[-1]}x the data", f"times {COPIES[0]}x", ratio))
    conclusions = [
        f"**On {COPIES[-1]} times the data, training holds {ratio:.2f} times the memory** (bar: at most {BAR:g}, "
        f"{'reached' if ratio <= BAR else 'missed'})."
    ]
    return [bench.table("memory", "Peak of anonymous memory of `train`", rows, conclusions)]


def _copy(bench: Workbench, folder: Path, copies: int) -> int:
    """The run's drives so many times, each time with other bytes, so that no cache takes them for the same.

    Returns:
        Bytes of all frames.
    """
    store, size = bench.trained.store, 0
    folder.mkdir()
    for copy in range(copies):
        for number, span in enumerate(store.trajectories):
            rows = slice(span.start, span.start + span.length)
            frames = store.frames[rows] ^ np.uint8(copy)  # the lowest bits: nobody sees it
            arrays = {"frames": frames, "actions": store.actions[rows], "labels": store.labels[rows]}
            index = copy * len(store.trajectories) + number
            # Visual labels as they are: deriving them again would be a benchmark of its own.
            np.savez(folder / file_name(index), visual_labels=store.judge_labels[rows], dt=store.dt, **arrays)
            size += frames.nbytes
    return size


def train_arguments(bench: Workbench, data_dir: Path) -> list[str]:
    """A short `train` on a folder, with VAE and classifier of the run; everything else of it happens."""
    run = bench.trained.folder.resolve()
    values = {
        "config": "best", "data_dir": data_dir, "cache_dir": bench.scratch / f"{data_dir.name}-cache",
        "run_dir": bench.scratch / f"{data_dir.name}-run", "vae_model_path": run, "classifier_path": run,
        "steps": STEPS, "device": "cpu", "threads": bench.settings.threads,
        "judges.latent_epochs": 1, "judges.pixel_epochs": 1, "judges.oracle_steps": 0,
    }  # fmt: skip
    return [*(f"--{name}={value}" for name, value in values.items()), "--no-twin", "--no-evaluate"]


def peak_of(command: list[str], log: Path) -> int:
    """Bytes at the highest of many looks at a process.

    Raises:
        UserError: it failed; the last line of its output says why.
    """
    peak = 0
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while process.poll() is None:
                peak = max(peak, anonymous_bytes(process.pid))
                time.sleep(INTERVAL_S)
        finally:
            process.kill()
    if process.returncode:
        said = log.read_text().strip().splitlines() or ["nothing"]
        raise UserError(f"{' '.join(command[2:4])}: expected it to succeed, got {said[-1]}")
    return peak


def anonymous_bytes(pid: int) -> int:
    """Anonymous resident memory of a process; 0 where it cannot be read, as when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)
