"""What every model's predictions must be, checked: the keys, shapes and conventions that `interface` describes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from opv2v_stage2.models.interface import OUR_KEYS, Prediction, View

TOLERANCE = 1e-3
"""Of lengths that are 1."""
PIXEL = ("B", "H", "W")
ALWAYS = {
    "pts3d": (*PIXEL, 3),
    "pts3d_cam": (*PIXEL, 3),
    "ray_directions": (*PIXEL, 3),
    "depth_along_ray": (*PIXEL, 1),
    "cam_trans": ("B", 3),
    "cam_quats": ("B", 4),
    "metric_scaling_factor": ("B", 1),
    "conf": PIXEL,
    "non_ambiguous_mask": PIXEL,
    "non_ambiguous_mask_logits": PIXEL,
}
INFERRED = {
    "img_no_norm": (*PIXEL, 3),
    "depth_z": (*PIXEL, 1),
    "intrinsics": ("B", 3, 3),
    "camera_poses": ("B", 4, 4),
}
MASK = {"mask": (*PIXEL, 1)}
"""Of `infer` with `apply_mask`."""


def check_predictions(predictions: Sequence[Prediction], views: Sequence[View], *, inferred: bool) -> None:
    """Refuse predictions that break the contract.

    Args:
        predictions: of a model.
        views: what it was given.
        inferred: by `infer`, which adds to what `forward` gives.

    Raises:
        ValueError: naming the view and the key.
    """
    if len(predictions) != len(views):
        raise ValueError(f"predictions: expected one for each of {len(views)} views, got {len(predictions)}")
    expected = ALWAYS | INFERRED if inferred else ALWAYS
    for number, (prediction, view) in enumerate(zip(predictions, views, strict=True)):
        batch, _, height, width = view["img"].shape
        sizes = {"B": batch, "H": height, "W": width}
        shapes = expected | MASK if inferred and "mask" in prediction else expected
        if missing := sorted(shapes.keys() - prediction.keys()):
            raise ValueError(f"view {number}: expected {', '.join(missing)}, got none")
        if unknown := sorted(prediction.keys() - shapes.keys() - set(OUR_KEYS)):
            raise ValueError(f"view {number}: expected nothing else, got {', '.join(unknown)}")
        for key, symbols in shapes.items():
            _check_shape(number, key, prediction[key], [sizes.get(symbol, symbol) for symbol in symbols])
        _check_values(number, prediction)


def _check_shape(number: int, key: str, value: Tensor, shape: list[int]) -> None:
    if list(value.shape) != shape:
        raise ValueError(f"view {number}: {key}: expected shape {shape}, got {list(value.shape)}")
    is_mask = key in ("non_ambiguous_mask", "mask")
    if is_mask != (value.dtype == torch.bool):
        raise ValueError(f"view {number}: {key}: expected {'bool' if is_mask else 'numbers'}, got {value.dtype}")


def _check_values(number: int, prediction: Prediction) -> None:
    for key in ("ray_directions", "cam_quats"):
        off = (torch.linalg.vector_norm(prediction[key], dim=-1) - 1).abs().max().item()
        if not off < TOLERANCE:
            raise ValueError(f"view {number}: {key}: expected vectors of length 1, got one that is off by {off:.3g}")
    for key, least in (("conf", 1.0), ("metric_scaling_factor", 0.0), ("depth_along_ray", 0.0)):
        smallest = prediction[key].min().item()
        if not smallest >= least:
            raise ValueError(f"view {number}: {key}: expected numbers >= {least:g}, got {smallest:.3g}")
