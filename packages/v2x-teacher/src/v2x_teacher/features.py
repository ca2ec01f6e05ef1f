"""Pictures shrunk once, and what a frozen backbone says about them computed once: arrays mapped from disk.

A file's name is a hash of everything its numbers depend on, so a changed picture, prompt, weight or setting leads to
another file. Files can be deleted at any time, and two processes may write the same one.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from drivelab_shared.arrays import array_hash, map_rows, write_rows
from drivelab_shared.errors import UserError
from drivelab_shared.networks import key_hash
from drivelab_shared.runs import Progress
from drivelab_shared.seeding import keyed_rng
from v2x_teacher.config import Cameras, Pooling
from v2x_teacher.models.backbone import Backbone, Inputs
from v2x_teacher.models.pooling import READS_TEXT, num_vectors, pool, pool_image_tokens
from v2x_teacher.pictures import Pair, paths_of, read_views

VERSION = 1
"""Part of every key: raise it when a change to the code changes a pixel or a feature."""
PICTURES_PER_BLOCK = 64
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def cached_views(
    pairs: Sequence[Pair], height: int, width: int, cache_dir: Path, cameras: Cameras
) -> UInt8[np.ndarray, "pairs cameras height width 3"]:
    """The pictures of all pairs, mapped. A file counts as the same while its path, size and time of change are.

    Raises:
        UserError: a picture cannot be read; the message names it.
    """
    files = [[_stamp(path) for path in paths_of(pair, cameras)] for pair in pairs]
    path = _path(cache_dir, "views", {"files": files, "size_px": [height, width]})
    shape = (len(pairs), 2 if cameras == "both" else 1, height, width, 3)

    def blocks() -> Iterator[np.ndarray]:
        # Threads are enough: decoding lets the other threads run.
        with ThreadPoolExecutor(os.cpu_count()) as workers, Progress("pictures", len(pairs)) as bar:
            for start in range(0, len(pairs), PICTURES_PER_BLOCK):
                block = pairs[start : start + PICTURES_PER_BLOCK]
                yield np.stack(list(workers.map(lambda pair: read_views(pair, height, width, cameras), block)))
                bar.update(start + len(block))

    if not path.exists():
        write_rows(path, blocks(), shape[0], shape[1:], np.uint8)
    return map_rows(path)


def cached_features(
    backbone: Backbone,
    views: UInt8[np.ndarray, "pairs cameras height width 3"],
    prompts: Sequence[str],
    pooling: Pooling,
    cache_dir: Path,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    *,
    precision: str = "fp32",
    draw: int = 0,
) -> Float[np.ndarray, "pairs vectors features"]:
    """Pooled features of all pairs, mapped; see `encode_views`. float16 unless the precision is fp32.

    The key covers pixels, weights, settings of the backbone, the mode (eval or train) it is in, and the prompts where
    the pooling reads them.
    """
    key = {"views": array_hash(views), "pooling": pooling}
    if _needs_text(backbone, pooling):
        key |= {"backbone": backbone.describe(), "prompts": list(prompts)}
    else:
        key |= {"backbone": backbone.describe_vision()}
    path = _path(cache_dir, "features", key | _how(device, batch_size, precision, draw))
    num_cameras = views.shape[1]
    vectors = num_vectors(pooling, backbone.num_groups(num_cameras), backbone.num_image_tokens(num_cameras))
    if not path.exists():
        blocks = _blocks(
            backbone, views, prompts, _pooled(backbone, pooling, num_cameras), device, batch_size, precision, draw
        )
        write_rows(path, blocks, len(views), (vectors, backbone.width), _dtype(precision))
    return map_rows(path)


def cached_image_tokens(
    backbone: Backbone,
    views: UInt8[np.ndarray, "pairs cameras height width 3"],
    cache_dir: Path,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    *,
    precision: str = "fp32",
    draw: int = 0,
) -> Float[np.ndarray, "pairs tokens features"]:
    """Image tokens of all pairs, mapped: what the language half is fine-tuned on while the vision half stays as it is.

    The key knows nothing of prompts and of the language half, so it holds while that half learns.

    Raises:
        ValueError: the halves of the backbone cannot be called one after the other.
    """
    if not backbone.can_split:
        raise ValueError(f"backbone: expected one whose image tokens can be cached, got {backbone.kind}")
    key = {"backbone": backbone.describe_vision(), "views": array_hash(views)}
    path = _path(cache_dir, "image-tokens", key | _how(device, batch_size, precision, draw))
    shape = (len(views), backbone.num_image_tokens(views.shape[1]), backbone.width)
    if not path.exists():
        no_text = [""] * len(views)
        blocks = _blocks(backbone, views, no_text, backbone.image_tokens, device, batch_size, precision, draw)
        write_rows(path, blocks, shape[0], shape[1:], _dtype(precision))
    return map_rows(path)


def encode_views(
    backbone: Backbone,
    views: UInt8[np.ndarray, "pairs cameras height width 3"],
    prompts: Sequence[str],
    pooling: Pooling,
    device: torch.device | str = "cpu",
    batch_size: int = 32,
    *,
    precision: str = "fp32",
    draw: int = 0,
) -> Float[np.ndarray, "pairs vectors features"]:
    """Pooled features, computed now and kept nowhere.

    Args:
        backbone: on the device, in the mode that is wanted.
        views: pictures in the size that the backbone expects.
        prompts: one per pair.
        pooling: see `pool`.
        device: where the backbone is.
        batch_size: pairs per forward pass.
        precision: arithmetic of the backbone.
        draw: which draw of dropout, where the backbone is in train mode.
    """
    compute = _pooled(backbone, pooling, views.shape[1])
    return np.concatenate(list(_blocks(backbone, views, prompts, compute, device, batch_size, precision, draw)))


def _pooled(backbone: Backbone, pooling: Pooling, num_cameras: int) -> Callable[[Inputs], Tensor]:
    groups = backbone.num_groups(num_cameras)
    if _needs_text(backbone, pooling):
        return lambda inputs: pool(backbone(inputs), pooling, groups)
    return lambda inputs: pool_image_tokens(backbone.image_tokens(inputs), pooling, groups)


def _needs_text(backbone: Backbone, pooling: Pooling) -> bool:
    return pooling in READS_TEXT or not backbone.can_split


def _blocks(
    backbone: Backbone,
    views: np.ndarray,
    prompts: Sequence[str],
    compute: Callable[[Inputs], Tensor],
    device: torch.device | str,
    batch_size: int,
    precision: str,
    draw: int,
) -> Iterator[np.ndarray]:
    """`compute` of each batch, in the backbone's own mode. Random numbers come from (draw, first pair) alone."""
    device = torch.device(device)
    with Progress(f"{backbone.kind} features", len(views)) as bar:
        for start in range(0, len(views), batch_size):
            rows = slice(start, start + batch_size)
            pictures = torch.from_numpy(np.array(views[rows])).to(device)
            inputs = backbone.prepare(pictures, prompts[rows])
            autocast = torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)
            fork = torch.random.fork_rng([device] if device.type == "cuda" else [])
            with torch.no_grad(), fork, autocast:
                torch.manual_seed(int(keyed_rng(draw, start).integers(2**63)))
                values = compute(inputs)
            yield _stored(values, precision, start)
            bar.update(min(start + batch_size, len(views)))


def _stored(values: Tensor, precision: str, start: int) -> np.ndarray:
    """In the dtype of the cache.

    Raises:
        UserError: a number is not finite, or too large for the dtype.
    """
    with np.errstate(over="ignore"):
        block = values.float().cpu().numpy().astype(_dtype(precision))
    is_finite = np.isfinite(block).all(axis=(1, 2))
    if not is_finite.all():
        pair = start + int(np.argmin(is_finite))
        raise UserError(f"precision: expected one in which features are finite, got {precision!r} (pair {pair})")
    return block


def _dtype(precision: str) -> np.dtype:
    return np.dtype(np.float16 if precision in AUTOCAST else np.float32)


def _how(device: torch.device | str, batch_size: int, precision: str, draw: int) -> dict[str, Any]:
    """What else changes features, if only in the last bit."""
    return {
        "device": torch.device(device).type,
        "batch_size": batch_size,
        "precision": precision,
        "draw": draw,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _path(cache_dir: Path, name: str, key: Mapping[str, Any]) -> Path:
    return cache_dir / f"{name}-{key_hash({**key, 'version': VERSION})[:16]}.npy"


def _stamp(path: Path | None) -> list[str | int] | None:
    """Path, size in bytes and time of change in ns; None for a picture that does not exist."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as problem:
        raise UserError(f"{path}: expected a picture, got: {problem.strerror}") from problem
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]
