"""Checkpoints: one folder per step, written aside, marked complete, renamed.

    checkpoints/
      step-000123/
        <network>.safetensors      one per network, by name; without a wrapper's prefix
        <optimizer>.pt             tensors and plain types, loaded with weights_only=True
        state.json                 format, step, names, sizes of the files, and what the caller adds
        complete                   empty; written last
      best.json                    {"step", "metric", "value"}

Names take the place of Accelerate's numbered files and of its pickled random states, which nothing here needs (the step
keys every random number, see `seeding`). The latest checkpoint is computed, never stored. The first process writes it
all, so every process has to hold whole networks: DDP, not FSDP.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.optim import Optimizer

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text

FORMAT = "drivelab-checkpoint-1"
_MARKER = "complete"
_OTHER_NAMES = "other_names"


@dataclass(frozen=True)
class Parts:
    """What a checkpoint holds: prepared networks and optimizers by name. The names become file names."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]


def save(
    accelerator: Accelerator, folder: Path, step: int, parts: Parts, progress: Mapping[str, Any], keep: int = 2
) -> Path:
    """Save `parts` after optimizer step `step`, then remove the oldest. Every process calls it; the first one writes.

    A complete checkpoint of this step is left as it is.

    Args:
        accelerator: the engine.
        folder: `checkpoints` of the run; made if missing.
        step: optimizer steps done.
        parts: networks and optimizers.
        progress: plain JSON that `load` gives back.
        keep: how many of the latest stay, beside the best. Nothing is removed before the new one is complete.
    """
    final = folder / _name(step)
    if accelerator.is_main_process:
        if not is_complete(final):
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
        _save_plain(folder / f"{name}.pt", optimizer.state_dict())
    if accelerator.scaler is not None:
        _save_plain(folder / "scaler.pt", accelerator.scaler.state_dict())
    state = {
        "format": FORMAT,
        "step": step,
        **_circumstances(accelerator),
        "networks": list(parts.networks),
        "optimizers": list(parts.optimizers),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "progress": dict(progress),
    }
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False))
    (folder / _MARKER).touch()


def _circumstances(accelerator: Accelerator) -> dict[str, Any]:
    """What else decides the numbers of the next steps."""
    return {
        "world_size": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def load(accelerator: Accelerator, path: Path, parts: Parts) -> dict[str, Any]:
    """Restore `parts` in place and return the progress, with `step`. Strict: names and shapes must be the same.

    Another number of processes or threads, or another torch, is one warning on stderr: the run goes on, numbers differ.

    Raises:
        UserError: `path` is not a complete checkpoint of ours, or holds other networks.
    """
    state = read_state(path)
    for kind in ("networks", "optimizers"):
        expected = list(getattr(parts, kind))
        if state[kind] != expected:
            raise UserError(f"{path}: {kind}: expected {_listed(expected)}, got {_listed(state[kind])}")
    for name, network in parts.networks.items():
        load_weights(path / f"{name}.safetensors", accelerator.unwrap_model(network))
    for name, optimizer in parts.optimizers.items():
        _restore(path / f"{name}.pt", optimizer)
    if accelerator.scaler is not None and (path / "scaler.pt").exists():
        _restore(path / "scaler.pt", accelerator.scaler)
    now = _circumstances(accelerator).items()
    changed = [f"{name} was {state.get(name)}, is {value}" for name, value in now if state.get(name) != value]
    if changed and accelerator.is_main_process:
        print(f"warning: {path}: {'; '.join(changed)}: numbers will differ", file=sys.stderr)
    return state["progress"] | {"step": state["step"]}


def latest(accelerator: Accelerator, folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, as the first process sees it, or None.

    What is newer but incomplete is named on stderr and passed over.
    """
    return _seen_by_the_first(accelerator, lambda: _latest(folder))


def best(accelerator: Accelerator, folder: Path) -> Path | None:
    """The checkpoint that `mark_best` named, as the first process sees it; None if it is not there or incomplete.

    Raises:
        UserError: best.json is damaged.
    """
    return _seen_by_the_first(accelerator, lambda: _best(folder))


def _seen_by_the_first(accelerator: Accelerator, find: Callable[[], Path | None]) -> Path | None:
    # Shared file systems may show processes different listings.
    found = [find() if accelerator.is_main_process else None]
    return broadcast_object_list(found)[0]


def _latest(folder: Path) -> Path | None:
    for path in reversed(_in_order(folder)):
        if is_complete(path):
            return path
        print(f"warning: {path}: incomplete checkpoint, passed over", file=sys.stderr)
    return None


def _best(folder: Path) -> Path | None:
    pointer = folder / "best.json"
    try:
        path = folder / _name(int(json.loads(pointer.read_text())["step"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OverflowError) as problem:
        raise UserError(f"{pointer}: expected an object with a step, got something else") from problem
    return path if is_complete(path) else None


def mark_best(folder: Path, step: int, metric: str, value: float) -> None:
    """Point best.json at a step. It is a pointer, never a copy."""
    replace_text(
        folder / "best.json", json.dumps({"step": step, "metric": metric, "value": value}, allow_nan=False) + "\n"
    )


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
    """Keep the last `keep` complete checkpoints and the best; remove older ones and what was interrupted."""
    in_order = _in_order(folder)
    complete = [path for path in in_order if is_complete(path)]
    if not complete:
        return
    kept = {*complete[-max(keep, 1) :], _best(folder)}
    for path in complete:
        if path not in kept:
            # The marker goes first: an interrupted deletion leaves nothing that looks valid.
            (path / _MARKER).unlink(missing_ok=True)
    # A folder without a marker that is newer than all others is somebody's copy on its way, not a deletion.
    older = in_order[: in_order.index(complete[-1])]
    for path in [*(path for path in older if not (path / _MARKER).exists()), *folder.glob(".tmp-step-*")]:
        shutil.rmtree(path, ignore_errors=True)  # what cannot be removed now is tried again next time


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
    for name, kind in {"step": int, "networks": list, "optimizers": list, "progress": dict}.items():
        if not isinstance(state.get(name), kind):
            raise UserError(f"{path / 'state.json'}: {name}: expected {kind.__name__}, got {state.get(name)!r:.80}")
    return state


def save_weights(path: Path, module: nn.Module) -> None:
    """Parameters and buffers of an unwrapped module as safetensors.

    A tensor that the module has under several names (tied embeddings) is stored once. Its other names are in the
    metadata, as the JSON of {name: name in the file}: one text, because safetensors writes several in any order.
    """
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    names: dict[tuple, str] = {}
    for name, tensor in state.items():
        names.setdefault(_memory(tensor), name)
    other_names = {name: first for name, tensor in state.items() if (first := names[_memory(tensor)]) != name}
    # Cloned, because safetensors refuses tensors that share memory, as views of one another do.
    tensors = {name: state[name].cpu().contiguous().clone() for name in names.values()}
    # save_file hides the weights from everybody else and loses a failure's errno.
    path.write_bytes(serialize(tensors, {_OTHER_NAMES: json.dumps(other_names)} if other_names else None))


def _memory(tensor: Tensor) -> tuple:
    """Equal for tensors that are one and the same."""
    return (tensor.device, tensor.data_ptr() or id(tensor), tensor.dtype, tensor.shape, tensor.stride())


def load_weights(path: Path, module: nn.Module, *, fresh: tuple[str, ...] = ()) -> None:
    """Restore parameters and buffers, strictly.

    Args:
        path: safetensors file, or a state dict saved by torch (`.pt`, `.pth`, `.bin`; pickled objects are refused).
        module: unwrapped.
        fresh: prefixes of what stays as initialised (a new head on an old trunk), whether or not the file has something
            of these names; all of them are listed on stderr.

    Raises:
        UserError: the file is not a state dict, or names and shapes do not fit.
    """
    found = read_weights(path)
    own = module.state_dict()
    skipped = [name for name in {**own, **found} if name.startswith(fresh)]
    missing = [name for name in own if name not in found and name not in skipped]
    unknown = [name for name in found if name not in own and name not in skipped]
    if missing or unknown:
        raise UserError(f"{path}: expected {_some(list(own))}, got {_some(list(found))}; {_blame(missing, unknown)}")
    fitting = {name: tensor for name, tensor in found.items() if name not in skipped}
    for name, tensor in fitting.items():
        if tensor.shape != own[name].shape:
            raise UserError(f"{path}: {name}: expected shape {list(own[name].shape)}, got {list(tensor.shape)}")
    if skipped:
        print(f"warning: {path}: not loaded, as asked: {', '.join(skipped)}", file=sys.stderr)
    module.load_state_dict(fitting, strict=not skipped)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a state dict saved by torch.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected a weight file, got {'a folder' if path.is_dir() else 'nothing'}")
    if path.suffix == ".safetensors":
        try:
            return _load_tensors(path)
        except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as problem:
            raise UserError(
                f"{path}: expected a safetensors file, got a damaged or different one ({problem})"
            ) from problem
    found = _load_plain(path)
    if not isinstance(found, dict) or not found:
        raise UserError(f"{path}: expected a state dict (tensors by name), got {type(found).__name__} {found!r:.40}")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
        raise UserError(f"{path}: expected a state dict (tensors by name), got keys {_some(list(map(str, found)))}")
    return found


def _load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by all of their names."""
    found = load_file(path)
    with safe_open(path, "pt") as file:
        other_names = json.loads((file.metadata() or {}).get(_OTHER_NAMES, "{}"))
    return {name: found[first] for name, first in other_names.items() if first in found} | found


def _save_plain(path: Path, state: Any) -> None:
    # Opened here: given a path, torch's own writer loses the reason for which a write failed.
    with path.open("wb") as file:
        torch.save(state, file)


def _load_plain(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as problem:
        raise UserError(f"{path}: expected a readable file, got {problem.strerror}") from problem
    except Exception as problem:  # torch raises whatever its unpickler and zip reader raise
        refused = re.search(r"GLOBAL (\S+)", str(problem))
        reason = f"a pickled {refused[1]}, which is not loaded" if refused else "a damaged or different file"
        raise UserError(f"{path}: expected tensors and plain types, got {reason}") from problem


def _restore(path: Path, target: Any) -> None:
    state = _load_plain(path)
    try:
        target.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        reason = " ".join(str(problem).split())
        raise UserError(f"{path}: expected the state of this optimizer, got another one ({reason})") from problem


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _in_order(folder: Path) -> list[Path]:
    """Checkpoint folders by step. Other names (`step-000100-backup`) are the user's own."""
    steps = [path for path in folder.glob("step-*") if re.fullmatch(r"step-[0-9]+", path.name)]
    return sorted(steps, key=lambda path: int(path.name.removeprefix("step-")))


def _listed(names: list[Any]) -> str:
    return ", ".join(map(str, names)) or "none"


def _some(names: list[str]) -> str:
    return f"{len(names)} names ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _blame(missing: list[str], unknown: list[str]) -> str:
    parts = [f"missing {_some(missing)}"] if missing else []
    return ", ".join(parts + ([f"unknown {_some(unknown)}"] if unknown else []))
