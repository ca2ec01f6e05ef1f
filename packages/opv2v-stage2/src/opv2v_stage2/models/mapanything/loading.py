"""A MapAnything from a local folder. Its package is imported when one is built, and nowhere else."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from drivelab_shared.checkpoint import read_weights
from drivelab_shared.errors import UserError
from opv2v_stage2.config import ModelSettings
from opv2v_stage2.models.mapanything.adapter import MapAnythingModel

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG_BYTES = 1_000_000
HEADS = ("dense_head.", "dpt_feature_head.", "dpt_regressor_head.", "pose_head.", "scale_head.", "scale_token")
"""A checkpoint without these is not one of this model, whatever else it has."""


def build_mapanything(settings: ModelSettings) -> MapAnythingModel:
    """MapAnything with the weights of a local folder.

    Raises:
        UserError: the package is not installed, or the folder or its weights are not what they should be.
    """
    folder = settings.path
    if folder is None or not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        wanted = f"a local folder with {CONFIG} and {WEIGHTS} of facebook/map-anything; nothing is ever downloaded"
        raise UserError(f"model.path: expected {wanted}, got {folder or 'nothing'}")
    upstream = _upstream_class()
    arguments = _arguments(folder / CONFIG, settings.gradient_checkpointing)
    try:
        model = upstream(**arguments)
    except (TypeError, KeyError, ValueError) as problem:
        reason = " ".join(str(problem).split())
        raise UserError(f"{folder / CONFIG}: expected the arguments of MapAnything, got others ({reason})") from problem
    _load(folder / WEIGHTS, model)
    return MapAnythingModel(model)


def _upstream_class() -> type[nn.Module]:
    try:
        from mapanything.models import MapAnything
    except ImportError as problem:
        hint = "install it from a clone of facebookresearch/map-anything with `uv pip install ./map-anything`"
        raise UserError(f"model.kind: expected an installed mapanything, got none ({problem}); {hint}") from problem
    return MapAnything


def _arguments(path: Path, gradient_checkpointing: bool) -> dict[str, Any]:
    """The constructor's arguments, without anything that would make it look elsewhere for weights."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        arguments = json.loads(path.read_text(encoding="utf-8"))
        arguments["encoder_config"]["uses_torch_hub"] = False
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        reason = " ".join(str(problem).split())
        raise UserError(
            f"{path}: expected the description of a MapAnything, got something else ({reason})"
        ) from problem
    places = list(_dicts(arguments))
    for place in places:
        if "pretrained_checkpoint_path" in place:  # upstream would unpickle it
            place["pretrained_checkpoint_path"] = None
    arguments["load_specific_pretrained_submodules"] = False
    checkpointing = [place for place in places if "gradient_checkpointing" in place]
    if gradient_checkpointing and not checkpointing:
        raise UserError(f"{path}: model.gradient_checkpointing: expected a model that knows it, got none of its name")
    for place in checkpointing:
        place["gradient_checkpointing"] = gradient_checkpointing
    return arguments


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _dicts(inner)


def _load(path: Path, model: nn.Module) -> None:
    """Load what there is, say what there is not, and refuse to go on without the heads."""
    found, own = read_weights(path), model.state_dict()
    for name, tensor in found.items():
        if name in own and own[name].shape != tensor.shape:
            raise UserError(f"{path}: {name}: expected shape {list(own[name].shape)}, got {list(tensor.shape)}")
    # A head that upstream holds under two names is stored under one.
    loaded = {own[name].data_ptr() for name in found if name in own}
    missing = [name for name in own if name not in found and own[name].data_ptr() not in loaded]
    if heads := [name for name in missing if name.startswith(HEADS)]:
        raise UserError(f"{path}: expected the weights of all heads, got none of {_some(heads)}")
    model.load_state_dict({name: tensor for name, tensor in found.items() if name in own}, strict=False)
    for names, what in ((missing, "missing, left as initialised"), ([n for n in found if n not in own], "unknown")):
        if names:
            print(f"warning: {path}: {what}: {_some(names)}", file=sys.stderr)


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} weights ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
