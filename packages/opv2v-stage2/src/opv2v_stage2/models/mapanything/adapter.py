"""An adapter to a MapAnything, so that it is one of our models.

What it evens out: the half pixel between upstream's intrinsics and ours, unknown keys, tensors moved inside the dicts
of the caller, inputs that `forward` drops at random, random numbers drawn from the global generator, a configuration
that `infer` does not restore after an exception, and answers that are inference tensors.

Source: facebookresearch/map-anything 1.1, commit f7ebafb: mapanything/models/mapanything/model.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from drivelab_shared.errors import nearest
from opv2v_stage2.models.compact import pixel_rays
from opv2v_stage2.models.interface import OUR_KEYS, Prediction, View
from opv2v_stage2.rotations import pose_of_matrix

HALF_PIXEL = 0.5
"""Between pixels whose edge is 0 and pixels whose centre is 0."""
ALL_INPUTS = {
    "overall_prob": 1.0,
    "dropout_prob": 0.0,
    "ray_dirs_prob": 1.0,
    "depth_prob": 1.0,
    "cam_prob": 1.0,
    "sparse_depth_prob": 0.0,
    "depth_scale_norm_all_prob": 0.0,
    "pose_scale_norm_all_prob": 0.0,
}
"""The probabilities with which `forward` looks at what it is given: always."""


class MapAnythingModel(nn.Module):
    """MapAnything behind `models.interface`.

    Args:
        model: upstream's, or something with the same `forward`, `infer`, `encoder` and `geometric_input_config`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, views: Sequence[View]) -> list[Prediction]:
        """Predictions with gradients, from everything that the views hold.

        Raises:
            ValueError: a key or a shape is wrong, naming it and the view.
        """
        self._check(views)
        with self._undisturbed(ALL_INPUTS):
            predictions = self.model([self._training_view(view) for view in views])
        return [_own(prediction, view) for prediction, view in zip(predictions, views, strict=True)]

    def infer(
        self,
        views: Sequence[View],
        *,
        apply_mask: bool = True,
        memory_efficient_inference: bool = True,
        use_amp: bool | None = None,
        **switches: Any,
    ) -> list[Prediction]:
        """Predictions without gradients, in eval mode, as tensors that losses may use.

        Args:
            views: stay as they are.
            apply_mask: put zeros where a prediction is not valid; off for a teacher.
            memory_efficient_inference: decode few pictures at a time.
            use_amp: compute in bf16; None means on a GPU.
            switches: upstream's others.

        Raises:
            ValueError: a key or a shape is wrong, naming it and the view.
        """
        self._check(views)
        was_training = self.training
        self.eval()
        try:
            with self._undisturbed({}):
                predictions = self.model.infer(
                    [self._inference_view(view) for view in views],
                    apply_mask=apply_mask,
                    memory_efficient_inference=memory_efficient_inference,
                    use_amp=self.device.type == "cuda" if use_amp is None else use_amp,
                    **switches,
                )
        finally:
            self.train(was_training)
        with torch.inference_mode(False):  # a clone made in inference mode would be an inference tensor, too
            return [_own(_cloned(prediction), view) for prediction, view in zip(predictions, views, strict=True)]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @contextmanager
    def _undisturbed(self, inputs: Mapping[str, float]) -> Iterator[None]:
        """With these probabilities of inputs; afterwards they and the random numbers are as before, come what may."""
        config = self.model.geometric_input_config
        before = dict(config)
        config.update(inputs)
        try:
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                yield
        finally:
            config.clear()
            config.update(before)

    def _check(self, views: Sequence[View]) -> None:
        for number, view in enumerate(views):
            _check_view(number, view, views[0], self.model.encoder)

    def _inference_view(self, view: View) -> dict[str, Any]:
        """A new dict with upstream's keys only."""
        own = {key: value for key, value in view.items() if key not in OUR_KEYS}
        if "intrinsics" in own:
            own["intrinsics"] = _recentred(own["intrinsics"], -HALF_PIXEL)
        return own

    def _training_view(self, view: View) -> dict[str, Any]:
        """The same information as `forward` takes it, on the model's device."""
        view = {key: value.to(self.device) if isinstance(value, Tensor) else value for key, value in view.items()}
        height, width = view["img"].shape[-2:]
        own = {key: view[key] for key in ("img", "data_norm_type")}
        own["is_metric_scale"] = view.get("is_metric_scale", torch.ones(len(view["img"]), device=self.device).bool())
        if "intrinsics" in view:
            own["ray_directions_cam"] = pixel_rays(view["intrinsics"][:, None], height, width)[:, 0]
        if "depth_z" in view:
            own["depth_along_ray"] = (view["depth_z"] / own["ray_directions_cam"][..., 2])[..., None]
        if "camera_poses" in view:
            own["camera_pose_quats"], own["camera_pose_trans"] = pose_of_matrix(view["camera_poses"])
        return own


def _check_view(number: int, view: View, first: View, encoder: nn.Module) -> None:
    if missing := {"img", "data_norm_type"} - view.keys():
        raise ValueError(f"view {number}: expected {' and '.join(sorted(missing))}, got none")
    batch, _, height, width = first["img"].shape
    shapes = {
        "img": [batch, 3, height, width],
        "intrinsics": [batch, 3, 3],
        "camera_poses": [batch, 4, 4],
        "depth_z": [batch, height, width],
        "is_metric_scale": [batch],
    }
    known = [*shapes, "data_norm_type", *OUR_KEYS]
    for key, value in view.items():
        if key not in known:
            raise ValueError(f"view {number}: unknown key {key!r}{nearest(key, known)}")
        if key in shapes and list(value.shape) != shapes[key]:
            raise ValueError(f"view {number}: {key}: expected shape {shapes[key]}, got {list(value.shape)}")
    if list(view["data_norm_type"]) != [encoder.data_norm_type]:
        expected = [encoder.data_norm_type]
        raise ValueError(f"view {number}: data_norm_type: expected {expected}, got {view['data_norm_type']}")
    if height % encoder.patch_size or width % encoder.patch_size:
        raise ValueError(
            f"view {number}: img: expected sides that are multiples of {encoder.patch_size}, got {height} x {width}"
        )
    if "depth_z" in view and "intrinsics" not in view:
        raise ValueError(f"view {number}: depth_z: expected intrinsics beside it, got none")
    if "camera_poses" in view and "camera_poses" not in first:
        raise ValueError(f"view {number}: camera_poses: expected those of view 0 as well, got none")


def _recentred(intrinsics: Tensor, by_px: float) -> Tensor:
    moved = intrinsics.clone()
    moved[..., :2, 2] += by_px
    return moved


def _cloned(prediction: Mapping[str, Tensor]) -> Prediction:
    return {key: value.clone() for key, value in prediction.items()}


def _own(prediction: Mapping[str, Tensor], view: View) -> Prediction:
    """In single precision and our convention of pixels, with what was kept aside."""
    own = {key: value.float() if value.is_floating_point() else value for key, value in prediction.items()}
    if "intrinsics" in own:
        own["intrinsics"] = _recentred(own["intrinsics"], HALF_PIXEL)
    return own | {key: view[key] for key in OUR_KEYS if key in view}
