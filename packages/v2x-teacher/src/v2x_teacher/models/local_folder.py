"""Models in local folders as transformers writes them: read with doubt, never downloaded, never executed."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from drivelab_shared.errors import UserError

MAX_JSON_BYTES = 50_000_000
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROCESSORS = ("processor_config.json", "preprocessor_config.json")


def require_files(folder: Path | None, expected: Sequence[str], where_from: str) -> None:
    """Refuse a folder that is not one of a model, saying what belongs there.

    Args:
        folder: `backbone.path` of the settings.
        expected: descriptions that start with a file's name; of a description with an "or", one of the two is enough.
        where_from: what to put there.

    Raises:
        UserError: there is no such folder, or a file is missing.
    """
    wanted = f"a folder with {', '.join(expected)} of {where_from}"
    if folder is None:
        raise UserError(f"backbone.path: expected {wanted}, got nothing; nothing is ever downloaded")
    if not folder.is_dir():
        raise UserError(f"{folder}: backbone.path: expected {wanted}, got no folder; nothing is ever downloaded")
    found = {path.name for path in folder.iterdir()}
    missing = [text for text in expected if not found.intersection(_names(text))]
    if missing:
        raise UserError(f"{folder}: backbone.path: expected {wanted}; missing: {', '.join(missing)}")


def _names(description: str) -> list[str]:
    words = description.replace("(", " ").replace(")", " ").split()
    return [word for word in words if word.endswith((".json", ".safetensors"))]


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: it is too large, or something else.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path}: expected a description of a model, got {path.stat().st_size} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        raise UserError(f"{path}: expected JSON, got {' '.join(str(problem).split())}") from problem
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def load_model(auto_class: type, folder: Path) -> PreTrainedModel:
    """The model, in fp32 whatever its file holds, in eval mode.

    Raises:
        UserError: transformers does not know such a model, or the weights do not fit it.
    """
    try:
        model, info = auto_class.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as problem:
        reason = " ".join(str(problem).split())
        raise UserError(f"{folder}: expected a model that transformers can load, got: {reason:.300}") from problem
    # transformers would go on with random weights in their place.
    missing = sorted([*info["missing_keys"], *map(str, info["mismatched_keys"])])
    if missing:
        raise UserError(f"{folder}: weights: expected {missing[0]} and {len(missing) - 1} more, got none that fit")
    return model.eval()


def pixel_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel of pixel values 0 to 255, as the processor in the folder has them.

    Raises:
        UserError: it has none, or no sane ones.
    """
    for path in (folder / name for name in PROCESSORS):
        config = read_config(path) if path.is_file() else {}
        config = config.get("image_processor", config)
        if isinstance(config, dict) and "image_mean" in config:
            break
    else:
        raise UserError(f"{folder}: expected image_mean and image_std in {' or '.join(PROCESSORS)}, got none")
    values = [config.get(name) for name in ("image_mean", "image_std")]
    for name, triple in zip(("image_mean", "image_std"), values, strict=True):
        if not _is_triple(triple) or (name == "image_std" and min(triple) <= 0):
            raise UserError(f"{path}: {name}: expected 3 numbers, got {triple!r:.80}")
    scale = config.get("rescale_factor", 1 / 255)
    if not _is_number(scale) or scale <= 0:
        raise UserError(f"{path}: rescale_factor: expected a number > 0, got {scale!r:.80}")
    mean, std = (tuple(value / scale for value in triple) for triple in values)
    return mean, std


def _is_triple(values: object) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
