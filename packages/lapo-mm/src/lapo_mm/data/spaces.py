"""Gymnasium's spaces as JSON text, in the form of Minari's metadata. Only numbers: Box, and Dicts of Boxes."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces

SINGLE = "observation"
"""Key of an observation that is one array, of a Box instead of a Dict."""
_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
_MAX_NUMBERS = 1 << 28


def to_json(space: Space) -> str:
    """The space as text.

    Raises:
        ValueError: it is neither a Box nor a Dict of them.
    """
    return json.dumps(_described(space))


def _described(space: Space) -> dict[str, Any]:
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "subspaces": {key: _described(one) for key, one in space.spaces.items()}}
    if isinstance(space, spaces.Box):
        bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
        return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds}
    raise ValueError(f"expected a Box or a Dict of Boxes, got {space}")


def from_json(text: object) -> Space:
    """The space that the text describes.

    Raises:
        ValueError: it describes none, or one of another kind.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected a space as JSON text, got {text!r:.60}")
    try:
        return _space(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected a space as JSON text, got {error}") from None
    except RecursionError:
        raise ValueError("expected a space, got spaces within spaces without end") from None


def _space(description: object) -> Space:
    if not isinstance(description, dict):
        raise ValueError(f"expected a space, got {description!r:.60}")
    kind = description.get("type")
    if kind == "Dict" and isinstance(description.get("subspaces"), dict):
        return spaces.Dict({key: _space(one) for key, one in description["subspaces"].items()})
    if kind == "Box":
        return _box(description)
    raise ValueError(f"expected a Box or a Dict of Boxes, got {kind!r:.60}")


def _box(description: Mapping[str, Any]) -> spaces.Box:
    shape, dtype = description.get("shape"), description.get("dtype")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"expected the shape of a Box, got {shape!r:.60}")
    if dtype not in _DTYPES:
        raise ValueError(f"expected a Box of numbers, got {dtype!r:.60}")
    if math.prod(shape) > _MAX_NUMBERS:
        raise ValueError(f"expected a Box of at most {_MAX_NUMBERS} numbers, got shape {shape}")
    try:
        low, high = (
            np.broadcast_to(np.array(description.get(edge), dtype=dtype), shape).copy() for edge in ("low", "high")
        )
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"expected bounds of a {dtype} Box of shape {shape}, got others") from None
    if not (low <= high).all():
        raise ValueError("expected bounds with low <= high, got others")
    return spaces.Box(low, high, tuple(shape), np.dtype(dtype))


def leaves(space: Space) -> dict[str, spaces.Box]:
    """All Boxes by key. Keys of a Dict within a Dict are joined by `/`, as in the HDF5 file; a single Box is SINGLE."""
    if isinstance(space, spaces.Box):
        return {SINGLE: space}
    found = {}
    for key, one in space.spaces.items():
        inner = leaves(one)
        found |= {key: one} if isinstance(one, spaces.Box) else {f"{key}/{name}": box for name, box in inner.items()}
    return found


def leaf(observation: Mapping[str, Any] | np.ndarray, key: str) -> Any:
    """The array of an observation that `leaves` calls `key`."""
    if not isinstance(observation, Mapping):
        return observation
    if key in observation:
        return observation[key]
    first, _, rest = key.partition("/")
    return leaf(observation[first], rest)
