"""One way to start: Accelerate picks the device and joins the processes, `StopSignal` ends them at the same step.

The loop, the losses and every backward and optimizer step stay in the package. Only networks and optimizers are
prepared by the Accelerator; loaders and schedulers never are (their state is a function of the step, see `seeding`).
"""

import logging
import signal
import threading
from collections.abc import Mapping
from types import FrameType

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import ProjectConfiguration
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.seeding import set_deterministic

DEVICES = ("auto", "cpu", "cuda", "mps")


def start(
    device: str = "auto",
    *,
    precision: str = "fp32",
    threads: int = 1,
    deterministic: bool = False,
    tracker: str = "none",
    find_unused_parameters: bool = False,
) -> Accelerator:
    """Set up this process, alone or as one of many (torchrun, SLURM, PyTorchJob, Ray Train).

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `fp32`, `bf16` or `fp16` arithmetic; weights stay fp32.
        threads: CPU threads of torch. Part of what makes a run repeatable.
        deterministic: ask torch for deterministic kernels.
        tracker: `none`, or a tracker that Accelerate knows. `runs` tells it the folder.
        find_unused_parameters: only for losses that do not touch every parameter.

    Raises:
        UserError: the device or the tracker is not there, or the device cannot compute so.
    """
    _check_device(device)
    if tracker != "none" and tracker not in map(str, get_available_trackers()):  # Accelerate would go on without one
        raise UserError(f"tracker: expected an installed one, got {tracker!r}; install the extra of that name")
    if deterministic:
        set_deterministic()
    # It is one per process, and would keep device and precision of an earlier start (in a notebook, a test, a sweep).
    AcceleratorState._reset_state(reset_partial_state=True)
    # Accelerate reports "distributed" details that a single process has no use for.
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    try:
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="no" if precision == "fp32" else precision,
            log_with=None if tracker == "none" else tracker,
            project_config=ProjectConfiguration(logging_dir="."),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters)],
        )
    except ValueError as problem:
        if "mixed precision requires" not in str(problem):
            raise
        raise UserError(f"precision: expected one that the device can do, got {precision!r}: {problem}") from problem
    if precision == "fp16" and accelerator.device.type == "cpu":  # Accelerate would go on in fp32
        raise UserError("precision: expected fp32 or bf16 on a CPU, got 'fp16'")
    torch.set_num_threads(threads)  # last, because Accelerate sets its own number for several processes on CPUs
    return accelerator


def _check_device(device: str) -> None:
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device):
        usable = ", ".join(name for name, is_there in available.items() if is_there)
        raise UserError(f"device: expected one of {usable}, got {device!r}")


class StopSignal:
    """Notes SIGTERM, SIGUSR1 and the first Ctrl-C; the loop asks after every step. A second Ctrl-C leaves at once.

    Used as a context: the handlers that were there before come back at its end.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self._noted = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        # Python lets only the main thread of a process handle signals; elsewhere (Ray) the launcher does.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._noted:
            raise KeyboardInterrupt
        self._noted = True

    def agreed(self, accelerator: Accelerator) -> bool:
        """Whether any process was asked to stop: the same answer in all of them."""
        if accelerator.num_processes == 1:
            return self._noted
        flag = torch.tensor(int(self._noted), device=accelerator.device)
        return bool(accelerator.reduce(flag, reduction="sum") > 0)


class Stopped(Exception):  # noqa: N818 - not an error
    """The run was asked to stop and has saved everything it needs to go on."""


def require_finite(losses: Mapping[str, Tensor], stage: str, step: int) -> None:
    """Stop before the optimizer takes a step that would destroy the weights.

    Raises:
        UserError: a loss is NaN or infinite; names all of them.
    """
    values = torch.stack([value.detach().float() for value in losses.values()])
    if not torch.isfinite(values).all():
        shown = ", ".join(f"{name} {float(value):g}" for name, value in zip(losses, values, strict=True))
        raise UserError(f"{stage}: step {step}: expected finite losses, got {shown}; a smaller lr may help")


def averaged(losses: Mapping[str, Tensor], accelerator: Accelerator) -> dict[str, float]:
    """Losses averaged over all processes, each of which has seen its share of the batch."""
    values = accelerator.reduce(torch.stack([value.detach().float() for value in losses.values()]), reduction="mean")
    return dict(zip(losses, values.tolist(), strict=True))


def released(network: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The network without wrappers, in eval mode; the engine forgets it, so that stages do not pile up."""
    unwrapped = accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    accelerator.free_memory()
    return unwrapped.eval()
