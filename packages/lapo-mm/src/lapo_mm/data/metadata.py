"""metadata.json of a Minari dataset: what is written into it, and what is believed of it."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium import Space, spaces

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import DatasetInfo, References
from lapo_mm.data.spaces import from_json, to_json

METADATA = "data/metadata.json"
MINARI_VERSION = "0.5.4"
"""Whose layout is written."""
DATASET_ID = re.compile(r"(?:[-\w]{2,}/)*[-\w]+-v\d+", re.ASCII)
"""`[namespace/]name-v<number>`. Minari refuses a namespace of one letter."""
_MAX_BYTES = 200 << 20


def dataset_id(folder: Path) -> str:
    """What a dataset in this folder is called: its name, and the folder above it as namespace where that can be one.

    Raises:
        UserError: the folder's name is none of a dataset.
    """
    namespace, name = folder.absolute().parts[-2:]
    if not DATASET_ID.fullmatch(name):
        raise UserError(f"{folder}: data_dir: expected a name that ends in its version, such as reacher-v0, got {name}")
    together = f"{namespace}/{name}"
    return together if DATASET_ID.fullmatch(together) else name


def described(info: DatasetInfo) -> dict[str, Any]:
    """The part of metadata.json that does not depend on the episodes."""
    metadata: dict[str, Any] = {
        "dataset_id": info.dataset_id,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": to_json(info.observation_space),
        "action_space": to_json(info.action_space),
        "minari_version": MINARI_VERSION,
        "algorithm_name": info.algorithm_name,
        "description": info.description,
        "author": [info.author] if info.author else [],
    }
    if info.env_spec is not None:
        metadata["env_spec"] = info.env_spec
    if info.references is not None:
        # Minari's names for the two, so that its own normalised score works; it has none for where they come from.
        metadata["ref_min_score"] = info.references.random
        metadata["ref_max_score"] = info.references.expert
        metadata["ref_source"] = info.references.source
    return metadata


def read_metadata(folder: Path) -> dict[str, Any]:
    """The file as it is.

    Raises:
        UserError: there is no dataset, or the file cannot be read.
    """
    path = folder / METADATA
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing of that name"
        raise UserError(f"{folder}: data_dir: expected the folder of a Minari dataset, got {found}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: expected at most {_MAX_BYTES >> 20} MiB, got {path.stat().st_size >> 20}")
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected this file, got none") from None
    except OSError as error:
        raise UserError(f"{path}: expected a file that can be read, got {error.strerror}") from None
    except ValueError as error:  # broken JSON and broken UTF-8
        raise UserError(f"{path}: expected JSON, got {error}") from None
    except RecursionError:
        raise UserError(f"{path}: expected JSON, got lists within lists without end") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: expected an object, got {metadata!r:.60}")
    return metadata


def interpreted(metadata: Mapping[str, Any], folder: Path) -> DatasetInfo:
    """What the file says, checked.

    Raises:
        UserError: something that cannot be done without is missing or wrong.
    """
    path = folder / METADATA
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise UserError(f"{path}: data_format: expected hdf5, got {metadata['data_format']!r:.60}")
    return DatasetInfo(
        dataset_id=_text(metadata, "dataset_id", path) or folder.name,
        env_spec=_text(metadata, "env_spec", path) or None,
        observation_space=_space(metadata, "observation_space", path),
        action_space=_action_space(metadata, path),
        references=_references(metadata, path),
        description=_text(metadata, "description", path),
        author=_author(metadata),
        algorithm_name=_text(metadata, "algorithm_name", path),
    )


def _text(metadata: Mapping[str, Any], key: str, path: Path) -> str:
    value = metadata.get(key) or ""
    if not isinstance(value, str):
        raise UserError(f"{path}: {key}: expected text, got {value!r:.60}")
    return value


def _author(metadata: Mapping[str, Any]) -> str:
    value = metadata.get("author") or ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _space(metadata: Mapping[str, Any], key: str, path: Path) -> Space:
    if key not in metadata:
        raise UserError(f"{path}: {key}: expected a space, got none")
    try:
        return from_json(metadata[key])
    except ValueError as error:
        raise UserError(f"{path}: {key}: {error}") from None


def _action_space(metadata: Mapping[str, Any], path: Path) -> spaces.Box:
    space = _space(metadata, "action_space", path)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or space.dtype.kind != "f":
        raise UserError(f"{path}: action_space: expected a Box of floats with one dimension, got {space}")
    return space


def _references(metadata: Mapping[str, Any], path: Path) -> References | None:
    ends = [metadata.get(key) for key in ("ref_min_score", "ref_max_score")]
    if None in ends:
        return None
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends) or ends[0] == ends[1]:
        raise UserError(f"{path}: ref_min_score, ref_max_score: expected two different numbers, got {ends!r:.60}")
    source = metadata.get("ref_source") or f"as the dataset says, {metadata.get('num_episodes_average_score')} episodes"
    return References(random=float(ends[0]), expert=float(ends[1]), source=str(source))
