"""Where a figure comes from: the command, the commit and the machine. Nothing here imports torch."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path


def command_line() -> str:
    """How this process was started, ready to be pasted into a shell."""
    program = Path(sys.argv[0])
    start = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*start, *sys.argv[1:]])


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """Short hash of the checkout that holds `folder`, with `+dirty` where files differ from it.

    None outside a repository, and where git does not track the folder (an installed wheel in somebody's project).
    Results and documents do not make a checkout dirty: measuring two tables in a row must not spoil the second.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short", "HEAD") if git("ls-files", "--", ".") else ""
    except FileNotFoundError:  # no git on this machine
        return None
    if not head:
        return None
    changes = git("status", "--porcelain", "--", ":/", ":(top,exclude)*.md", ":(top,exclude)packages/*/results/*")
    return head + ("+dirty" if changes else "")


def machine(threads: int | None = None) -> str:
    """Processor, cores this process may use, torch's threads where given, versions."""
    parts = [_processor(), counted(_usable_cores(), "core")]
    if threads is not None:
        parts.append(counted(threads, "torch thread"))
    parts += [f"Python {platform.python_version()}", f"torch {importlib.metadata.version('torch')}"]
    return ", ".join(parts)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counted(number: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {word}" + ("s" if number != 1 else "")
