"""The folder of a run: settings.yaml, manifest.json, metrics.jsonl, checkpoints/, and what the verbs add to it.

Importing this module does not import torch: the command line looks for runs before it starts anything.
"""

import dataclasses
import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.origin import commit, machine
from drivelab_shared.settings import changes, dump, flatten, load

if TYPE_CHECKING:
    from accelerate import Accelerator

RUNS = Path("runs")
"""Relative to the current directory, like every path a user gives."""

_MANIFEST, _METRICS, _SETTINGS = "manifest.json", "metrics.jsonl", "settings.yaml"


def find(package: str, run_dir: Path | None) -> Path:
    """The finished run at `run_dir`, or the newest one of the package.

    Raises:
        UserError: there is none.
    """
    if run_dir is None:
        finished = _newest(package, finished=True)
        if finished is None:
            raise UserError(f"{RUNS / package}: expected a finished run, got none; `{package} train` makes one")
        return finished
    if not (run_dir / _MANIFEST).is_file():
        raise UserError(f"{run_dir}: expected a run (a folder with {_MANIFEST}), got none")
    if (status := read_manifest(run_dir)["status"]) != "finished":
        raise UserError(f"{run_dir}: expected a finished run, got one that is {status}; train --resume continues it")
    return run_dir


def find_unfinished(package: str, run: str) -> Path | None:
    """The run that `--resume` means: `latest` is the newest unfinished one, or None where there is none; else a path.

    Raises:
        UserError: there is no run at the path, or it is finished.
    """
    if run == "latest":
        return _newest(package, finished=False)
    folder = Path(run)
    if not (folder / _MANIFEST).is_file():
        raise UserError(f"{folder}: expected a run to resume (a folder with {_MANIFEST}), got none")
    if read_manifest(folder)["status"] == "finished":
        raise UserError(f"{folder}: expected an unfinished run to resume, got a finished one")
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a run.

    Raises:
        UserError: it is not there, or damaged.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        manifest["status"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{folder / _MANIFEST}: expected an object with a status, got something else") from problem
    return manifest


def _newest(package: str, *, finished: bool) -> Path | None:
    """The run of the package that started last: by its manifest, because folders can have any name."""
    manifests = {path.parent: read_manifest(path.parent) for path in (RUNS / package).glob(f"*/{_MANIFEST}")}
    fitting = [folder for folder, manifest in manifests.items() if (manifest["status"] == "finished") == finished]
    return max(fitting, key=lambda folder: (str(manifests[folder].get("started")), folder), default=None)


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is being written. All processes hold one; only the first writes."""

    folder: Path
    resumed: bool
    accelerator: "Accelerator"
    lock: int | None = None
    """Descriptor of the file that keeps other jobs away; None in all processes but the first."""

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        if self.accelerator.is_main_process:
            _write_manifest(self.folder, read_manifest(self.folder) | facts)

    def require(self, name: str, value: str, remedy: str) -> None:
        """Note a fact that must not change between a run and its continuation.

        Raises:
            UserError: it has changed.
        """
        before = read_manifest(self.folder).get(name)
        self.accelerator.wait_for_everyone()  # or the first process notes it before another has looked
        if before not in (None, value):
            expected = f"expected {before!s:.16} as when the run started"
            raise UserError(f"{self.folder}: {name}: {expected}, got {value:.16}; {remedy}")
        self.note(**{name: value})

    def log(self, step: int, split: str, values: Mapping[str, float], stage: str = "") -> None:
        """Append a line to metrics.jsonl and hand the numbers to the tracker. NaN is null, and named in `nonfinite`."""
        if not self.accelerator.is_main_process:
            return
        numbers = {name: float(value) for name, value in values.items()}
        odd = [name for name, value in numbers.items() if not math.isfinite(value)]
        line = {"step": step, "time": round(time.time(), 3), "split": split} | ({"stage": stage} if stage else {})
        line |= {name: None if name in odd else value for name, value in numbers.items()}
        with (self.folder / _METRICS).open("a") as file:
            file.write(json.dumps(line | ({"nonfinite": odd} if odd else {}), allow_nan=False) + "\n")
        place = "/".join(filter(None, (stage, split)))
        shown = {f"{place}/{name}": value for name, value in numbers.items()}
        if any(tracker.name == "wandb" for tracker in self.accelerator.trackers):
            # wandb drops what has a lower step than the line before, and every stage counts from 0.
            self.accelerator.log(shown | {f"{place}/step": step})
        else:
            self.accelerator.log(shown, step=step)

    def rewind(self, stage: str, step: int) -> None:
        """Forget what was logged for a stage after `step`: a resumed run is about to log it again."""
        path = self.folder / _METRICS
        if self.accelerator.is_main_process and path.exists():
            lines = [line for line in path.read_text().splitlines() if _is_kept(line, stage, step)]
            replace_text(path, "".join(line + "\n" for line in lines))

    def finish(self, status: str) -> None:
        """Note how the run ended: finished, preempted or failed. Nothing can be logged after it."""
        self.note(status=status, ended=_now())
        if self.lock is not None:
            os.close(self.lock)
        self.accelerator.end_training()


def open_run(
    package: str, settings: Any, accelerator: "Accelerator", *, run_dir: Path | None = None, resume: str | None = None
) -> Run:
    """Make the folder of a new run, or reopen the one that `resume` means. Prints where it is and what has changed.

    Raises:
        UserError: the folder holds a run already, cannot be written, or is being written by another job.
    """
    from accelerate.utils import broadcast_object_list

    # One process decides: clocks and the listings of shared file systems differ.
    decision: list[Any] = [None]
    lock = None
    if accelerator.is_main_process:
        try:
            folder, resumed = _choose(package, run_dir, resume)
            lock = _lock(folder)
            decision = [(folder, resumed)]
        except UserError as problem:
            decision = [problem]
    broadcast_object_list(decision)
    if isinstance(decision[0], UserError):
        raise decision[0]
    run = Run(*decision[0], accelerator, lock)
    if accelerator.is_main_process:
        _write_start(run, package, settings)
    accelerator.wait_for_everyone()
    accelerator.project_configuration.logging_dir = str(run.folder)
    if accelerator.log_with:
        accelerator.init_trackers(package, config={name: _simple(value) for name, value in flatten(settings).items()})
    return run


def _choose(package: str, run_dir: Path | None, resume: str | None) -> tuple[Path, bool]:
    """The folder, and whether it holds a run that goes on."""
    if resume is not None:
        found = find_unfinished(package, resume)
        if found is not None:
            if run_dir is not None and run_dir.resolve() != found.resolve():
                raise UserError(f"run_dir: expected {found} as --resume means, or none, got {run_dir}")
            return found, True
        print(f"resume: no unfinished run in {RUNS / package}, starting a new one", file=sys.stderr)
    if run_dir is not None and (run_dir / _MANIFEST).exists():
        raise UserError(f"run_dir: expected a folder without a run, got {run_dir}; --resume {run_dir} continues it")
    try:
        if run_dir is None:
            return _fresh_folder(package), False
        run_dir.mkdir(parents=True, exist_ok=True)
        return run_dir, False
    except OSError as problem:
        raise UserError(f"run_dir: expected a folder that can be made, got {problem}") from problem


def _fresh_folder(package: str) -> Path:
    """A folder named by the time, made here so that two runs started in the same second get two."""
    (RUNS / package).mkdir(parents=True, exist_ok=True)
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        folder = RUNS / package / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _lock(folder: Path) -> int:
    """Keep other jobs from writing to the run. The system lets go of it when this process ends, even by a kill.

    Raises:
        UserError: another job holds it, or the folder cannot be written.
    """
    import fcntl  # here: Windows has none, and finding runs does not need it

    try:
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as problem:
        raise UserError(f"{folder}: expected a folder to write to, got {problem}") from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UserError(f"{folder}: expected a run that has stopped, got one that is being written") from None
    except OSError as problem:  # some file systems have no locks
        print(f"warning: {folder}: cannot be locked ({problem.strerror}); start one job at a time", file=sys.stderr)
    return lock


def _write_start(run: Run, package: str, settings: Any) -> None:
    import torch

    path = run.folder / _SETTINGS
    settings = dataclasses.replace(settings, resume=None)  # or `--config settings.yaml` would resume
    if run.resumed:
        for change in changes(load(type(settings), path), settings):
            print(f"resume: {change}", file=sys.stderr)
    replace_text(path, dump(settings))
    versions = {name: metadata.version(name) for name in (package, "drivelab-shared", "torch", "accelerate", "numpy")}
    facts = {
        "status": "running",
        "package": package,
        "argv": sys.argv,
        "resumed" if run.resumed else "started": _now(),
        "commit": commit(),
        "versions": versions,
        "host": socket.gethostname(),
        "machine": machine(torch.get_num_threads()),
        "device": str(run.accelerator.device),
        "world_size": run.accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "pid": os.getpid(),
    }
    # After the settings: a folder with a manifest is a run that can be resumed.
    _write_manifest(run.folder, (read_manifest(run.folder) if run.resumed else {}) | facts)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    replace_text(folder / _MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _simple(value: Any) -> Any:
    # The tensorboard tracker raises on anything else.
    return value if isinstance(value, bool | int | float | str) else str(value)


def _is_kept(line: str, stage: str, step: int) -> bool:
    try:
        logged = json.loads(line)
        return logged.get("stage", "") != stage or logged["step"] <= step
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # the line that a killed run did not finish


class Progress:
    """A bar on a terminal; elsewhere one line for every tenth of the way, so that log files stay short."""

    def __init__(self, label: str, total: int, start: int = 0, *, quiet: bool = False) -> None:
        self._label, self._total, self._done, self._quiet = label, total, start, quiet
        is_terminal = sys.stderr.isatty() and not quiet
        self._bar = tqdm(desc=label, total=total, initial=start, leave=False) if is_terminal else None

    def update(self, done: int, **shown: float) -> None:
        """Say how many steps are done, and show figures beside it."""
        before, self._done = self._done, done
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, refresh=False)
            self._bar.update(done - before)
        elif not self._quiet and (done * 10 // self._total > before * 10 // self._total):
            figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
            print(f"{self._label}: {done}/{self._total} {figures}".rstrip(), file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
