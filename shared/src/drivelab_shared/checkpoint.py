"""Checkpoints: one folder per step, written aside, marked complete, renamed.

    checkpoints/
      step-000123/
        <network>.safetensors      one per network, by name; without a wrapper's prefix
        <optimizer>.pt             tensors and plain types, loaded with weights_only=True
        state.json                 format, step, names, sizes of the files, and what the caller adds
        complete                   empty; written last
      best.json                    {"step", "metric", "value"}

Names take the place of Accelerate's numbered files and of its pickled random states, which nothing here needs (the step
keys every random number, see `seeding`). The latest checkpoint is computed, never stored.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text

FORMAT = "drivelab-checkpoint-1"
_MARKER = "complete"


@dataclass(frozen=True)
class Parts:
    """What a checkpoint holds: prepared networks and optimizers by name. The names become file names."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]


def save(
    accelerator: Accelerator, folder: Path, step: int, parts: Parts, progress: Mapping[str, Any], keep: int = 2
) -> Path:
    """Save `parts` after optimizer step `step`, then remove the oldest. Every process calls it; the first one writes.

    Args:
        accelerator: the engine.
        folder: `checkpoints` of the run; made if missing.
        step: optimizer steps done.
        parts: networks and optimizers.
        progress: plain JSON that `load` gives back.
        keep: how many of the latest stay, beside the best. Nothing is removed before the new one is complete.
    """
    final = folder / f"step-{step:06d}"
    if accelerator.is_main_process and not is_complete(final):
        aside = folder / f".tmp-{final.name}"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)  # incomplete: a rename onto a folder with files in it fails
        aside.mkdir(parents=True)
        _write(accelerator, aside, step, parts, progress)
        os.replace(aside, final)
        prune(folder, keep)
    accelerator.wait_for_everyone()
    return final


def _write(accelerator: Accelerator, folder: Path, step: int, parts: Parts, progress: Mapping[str, Any]) -> None:
    for name, network in parts.networks.items():
        save_weights(folder / f"{name}.safetensors", accelerator.unwrap_model(network))
    for name, optimizer in parts.optimizers.items():
        torch.save(optimizer.state_dict(), folder / f"{name}.pt")
    if accelerator.scaler is not None:
        torch.save(accelerator.scaler.state_dict(), folder / "scaler.pt")
    state = {
        "format": FORMAT,
        "step": step,
        "world_size": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "networks": list(parts.networks),
        "optimizers": list(parts.optimizers),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "progress": dict(progress),
    }
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False))
    (folder / _MARKER).touch()


def load(accelerator: Accelerator, path: Path, parts: Parts) -> dict[str, Any]:
    """Restore `parts` in place and return the progress. Strict: names and shapes must be the same.

    Another number of processes or threads, or another torch, is one warning on stderr: the run goes on, numbers differ.

    Raises:
        UserError: `path` is not a complete checkpoint of ours, or holds other networks.
    """
    state = read_state(path)
    for kind in ("networks", "optimizers"):
        expected = list(getattr(parts, kind))
        if state[kind] != expected:
            raise UserError(f"{path}: {kind}: expected {', '.join(expected)}, got {', '.join(state[kind])}")
    for name, network in parts.networks.items():
        load_weights(path / f"{name}.safetensors", accelerator.unwrap_model(network))
    for name, optimizer in parts.optimizers.items():
        optimizer.load_state_dict(_load_plain(path / f"{name}.pt"))
    if accelerator.scaler is not None and (path / "scaler.pt").exists():
        accelerator.scaler.load_state_dict(_load_plain(path / "scaler.pt"))
    if accelerator.is_main_process:
        now = {"world_size": accelerator.num_processes, "threads": torch.get_num_threads(), "torch": torch.__version__}
        for name, value in now.items():
            if state.get(name) != value:
                print(
                    f"warning: {path}: {name} was {state.get(name)}, is {value}: numbers will differ", file=sys.stderr
                )
    return state["progress"]


def latest(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps. What is newer but incomplete is named on stderr and passed over."""
    for path in sorted(folder.glob("step-*"), key=_step, reverse=True):
        if is_complete(path):
            return path
        print(f"warning: {path}: incomplete checkpoint, falling back to the one before", file=sys.stderr)
    return None


def best(folder: Path) -> Path | None:
    """The checkpoint that `mark_best` named, if it is still there and complete."""
    try:
        path = folder / f"step-{int(json.loads((folder / 'best.json').read_text())['step']):06d}"
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{folder / 'best.json'}: expected an object with a step, got something else") from problem
    return path if is_complete(path) else None


def mark_best(folder: Path, step: int, metric: str, value: float) -> None:
    """Point best.json at a step. It is a pointer, never a copy."""
    replace_text(folder / "best.json", json.dumps({"step": step, "metric": metric, "value": value}) + "\n")


def is_complete(path: Path) -> bool:
    """Whether the marker is there and every file has the size that was written: copies break off too."""
    if not (path / _MARKER).exists():
        return False
    try:
        files = json.loads((path / "state.json").read_text())["files"]
        return all((path / Path(name).name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def prune(folder: Path, keep: int) -> None:
    """Keep the last `keep` complete checkpoints and the best, remove the other ones and what interrupted saves left."""
    complete = sorted((path for path in folder.glob("step-*") if is_complete(path)), key=_step)
    kept = {*complete[-max(keep, 1) :], best(folder)}
    for path in complete:
        if path not in kept:
            # The marker goes first: an interrupted deletion leaves nothing that looks valid.
            (path / _MARKER).unlink()
            shutil.rmtree(path)
    for path in folder.glob(".tmp-step-*"):
        shutil.rmtree(path)


def read_state(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    if not is_complete(path):
        raise UserError(f"{path}: expected a complete checkpoint folder (with state.json and {_MARKER}), got none")
    state = json.loads((path / "state.json").read_text())
    if state.get("format") != FORMAT:
        raise UserError(f"{path}: format: expected {FORMAT}, got {state.get('format')!r}")
    return state


def save_weights(path: Path, module: nn.Module) -> None:
    """Parameters and buffers of an unwrapped module as safetensors."""
    # Cloned, because safetensors refuses tensors that share memory.
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}, path)


def load_weights(path: Path, module: nn.Module, *, fresh: tuple[str, ...] = ()) -> None:
    """Restore parameters and buffers, strictly.

    Args:
        path: safetensors file, or a state dict saved by torch (`.pt`, `.pth`, `.bin`; pickled objects are refused).
        module: unwrapped.
        fresh: prefixes of names that may stay as they are (a new head on an old trunk); each such name is listed.

    Raises:
        UserError: the file is not a state dict, or names and shapes do not fit.
    """
    found = read_weights(path)
    own = module.state_dict()
    left = [name for name in own if name not in found and name.startswith(fresh)] if fresh else []
    missing = [name for name in own if name not in found and name not in left]
    unknown = [name for name in found if name not in own]
    if missing or unknown:
        raise UserError(f"{path}: expected {_some(list(own))}, got {_some(list(found))}; {_blame(missing, unknown)}")
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise UserError(f"{path}: {name}: expected shape {list(own[name].shape)}, got {list(tensor.shape)}")
    if left:
        print(f"warning: {path}: not in it and left as initialised: {', '.join(left)}", file=sys.stderr)
    module.load_state_dict(found, strict=not left)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a state dict saved by torch.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected a weight file, got {'a folder' if path.is_dir() else 'nothing'}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as problem:
            raise UserError(
                f"{path}: expected a safetensors file, got a damaged or different one ({problem})"
            ) from problem
    found = _load_plain(path)
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        kind = f"keys {_some(list(map(str, found)))}" if isinstance(found, dict) else type(found).__name__
        raise UserError(f"{path}: expected a state dict (tensors by name), got {kind}")
    return found


def _load_plain(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: expected a file, got nothing") from None
    except Exception as problem:  # torch raises whatever its unpickler and zip reader raise
        reason = "pickled objects, which are not loaded" if "weights_only" in str(problem) else "something else"
        raise UserError(f"{path}: expected tensors and plain types, got {reason}") from problem


def _step(path: Path) -> int:
    digits = path.name.removeprefix("step-")
    return int(digits) if digits.isdigit() else -1


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} names ({shown}{', ...' if len(names) > 3 else ''})"


def _blame(missing: list[str], unknown: list[str]) -> str:
    parts = [f"missing {_some(missing)}"] if missing else []
    return ", ".join(parts + ([f"unknown {_some(unknown)}"] if unknown else []))
