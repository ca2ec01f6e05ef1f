"""What a model reads and what it should answer: samples, their priors, and the features of a frozen backbone."""

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from drivelab_shared.errors import UserError
from drivelab_shared.seeding import keyed_rng
from v2x_teacher.config import Cameras, LabelSettings, TrainSettings
from v2x_teacher.data.check_data.usable import unusable
from v2x_teacher.data.kinematics import prior
from v2x_teacher.data.labels import TIMES_S, Samples, build_samples, require_plausible
from v2x_teacher.data.open_recording import open_recording
from v2x_teacher.data.recording import SPLITS, Recording
from v2x_teacher.features import cached_features, cached_image_tokens, cached_views
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.build import build_backbone, build_trainable_backbone
from v2x_teacher.models.pooling import num_vectors
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.pictures import read_picture
from v2x_teacher.scores import Method

CHUNK = 256
SHORTEST_PAST_S = 0.15
"""Two steps. With less nobody knows how fast the vehicle was, and "at rest" would be a wrong guess by many metres."""
PER_CAMERA = ("mean", "flat", "attn")
"""Poolings whose vectors belong to one camera each, where the views are separate."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Samples with everything that a head, or a backbone that is being trained, reads."""

    settings: TrainSettings
    recording: Recording
    samples: Samples
    prior: Float32[np.ndarray, "samples steps 2"]
    """Metres, ego frame."""
    cameras: Cameras | None
    """None: no pictures."""
    backbone: Backbone | None
    views: np.ndarray | None
    """Small pictures, uint8 [samples, cameras, height, width, 3]."""
    features: Float[np.ndarray, "samples vectors width"] | None
    """Of the frozen backbone, pooled."""
    image_tokens: Float[np.ndarray, "samples tokens width"] | None = None
    """Of the frozen vision half, where the language half learns."""

    @property
    def knows_motion(self) -> bool:
        """Whether the data say how fast the vehicle was."""
        return bool((self.samples.history_s > 0).any())

    @property
    def num_cameras(self) -> int:
        """Pictures per sample."""
        return {None: 0, "both": 2}.get(self.cameras, 1)

    @property
    def fingerprint(self) -> str:
        """Of everything that must stay the same when a run goes on."""
        digest = hashlib.sha256()
        for sample, pair in zip(self.samples.ids, self.samples.pairs, strict=True):
            digest.update(f"{sample} {pair.split}\n".encode())
        for array in (self.samples.truth, self.samples.ego):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @property
    def _has_vectors_by_camera(self) -> bool:
        """Whether each feature belongs to one picture, so that leaving a camera out needs no second extraction."""
        is_separate = self.settings.backbone.views == "separate" and self.settings.head.pooling in PER_CAMERA
        return self.cameras == "both" and self.features is not None and is_separate and self.backbone.can_split

    def counts(self) -> dict[str, int]:
        """Samples per split, and what was left out."""
        splits = {split: int(self.samples.mask(split).sum()) for split in SPLITS}
        return splits | {f"left out: {reason}": count for reason, count in self.samples.excluded.items()}

    def rows(self, split: str) -> np.ndarray:
        """Indices of a split's samples.

        Raises:
            UserError: it has none.
        """
        rows = np.flatnonzero(self.samples.mask(split))
        if not len(rows):
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.samples.excluded.items())
            found = f"got none ({reasons or 'none listed'})"
            raise UserError(f"{self.recording.root}: expected samples in the {split} split, {found}")
        return rows

    def without_pictures(self) -> "Inputs":
        """The motion alone."""
        return dataclasses.replace(self, cameras=None, backbone=None, views=None, features=None, image_tokens=None)

    def with_cameras(self, cameras: Cameras, device: torch.device) -> "Inputs":
        """The same samples seen by fewer cameras."""
        if self._has_vectors_by_camera and cameras == "vehicle":
            views, features = self.views[:, :1], self.features[:, : self.features.shape[1] // 2]
            return dataclasses.replace(self, cameras=cameras, views=views, features=features)
        settings = dataclasses.replace(
            self.settings, backbone=dataclasses.replace(self.settings.backbone, cameras=cameras)
        )
        return add_pictures(settings, self.recording, self.samples, self.prior, device)

    def subset(self, rows: np.ndarray) -> "Inputs":
        """Some of the samples."""
        seen = self._seen(lambda array: array[rows])
        return dataclasses.replace(self, samples=self.samples.at(rows), prior=self.prior[rows], **seen)

    def with_views(self, views: np.ndarray, device: torch.device) -> "Inputs":
        """The same samples with other pictures."""
        settings = self.settings
        if self.features is not None:
            features = cached_features(
                self.backbone, views, self.prompts, settings.head.pooling, settings.cache_dir, device,
                settings.backbone.batch_size, precision=settings.precision,
            )  # fmt: skip
            return dataclasses.replace(self, views=views, features=features)
        if self.image_tokens is not None:
            tokens = cached_image_tokens(
                self.backbone, views, settings.cache_dir, device, settings.backbone.batch_size,
                precision=settings.precision,
            )  # fmt: skip
            return dataclasses.replace(self, views=views, image_tokens=tokens)
        return dataclasses.replace(self, views=views)

    def shuffled(self, seed: int) -> "Inputs":
        """Every sample with the pictures of another sample of its split."""
        order, rng = np.arange(len(self.samples)), keyed_rng(seed)
        for split in SPLITS:
            rows = np.flatnonzero(self.samples.mask(split))
            # Along one random circle, so that nobody keeps its own.
            circle = rng.permutation(rows)
            order[circle] = np.roll(circle, 1)
        return dataclasses.replace(self, **self._seen(lambda array: array[order]))

    def in_memory(self) -> "Inputs":
        """The same without the files of the cache."""
        return dataclasses.replace(self, **self._seen(np.array))

    def _seen(self, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray | None]:
        """What comes of the pictures, changed."""
        arrays = {name: getattr(self, name) for name in ("views", "features", "image_tokens")}
        return {name: None if array is None else change(array) for name, array in arrays.items()}

    @property
    def prompts(self) -> list[str]:
        """One per sample."""
        return [pair.prompt or self.settings.backbone.prompt for pair in self.samples.pairs]

    @property
    def trainable_backbone(self) -> Backbone | None:
        """The backbone, where it learns."""
        return None if self.features is not None else self.backbone

    def head_shape(self) -> tuple[int, int]:
        """Vectors and width of the features that a head reads."""
        if self.cameras is None:
            return 0, 0
        if self.features is not None:
            return self.features.shape[1], self.features.shape[2]
        groups = self.backbone.num_groups(self.num_cameras)
        tokens = self.backbone.num_image_tokens(self.num_cameras)
        return num_vectors(self.settings.head.pooling, groups, tokens), self.backbone.width

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[Mapping | Tensor | None, Tensor, Tensor, Tensor]:
        """Features (or the inputs of a backbone that learns), motion, truth and prior of some samples."""

        def on_device(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.asarray(array[rows], dtype=np.float32)).to(device)

        if self.cameras is None:
            features = None
        elif self.features is not None:
            features = on_device(self.features)
        else:
            features = self.backbone_inputs(rows, device)
        return features, on_device(self.samples.ego), on_device(self.samples.truth), on_device(self.prior)

    def backbone_inputs(self, rows: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """What a backbone that learns reads."""
        prompts = self.prompts
        prepared = self.backbone.prepare(np.asarray(self.views[rows]), [prompts[row] for row in rows])
        if self.image_tokens is not None:
            tokens = torch.from_numpy(np.asarray(self.image_tokens[rows], dtype=np.float32))
            prepared = {name: value for name, value in prepared.items() if name != "pixel_values"}
            prepared["image_tokens"] = tokens
        return {name: value.to(device) for name, value in prepared.items()}

    @torch.no_grad()
    def method(self, network: Teacher, rows: np.ndarray, device: torch.device) -> Method:
        """What a network in eval mode predicts, in metres."""
        parts = [self._answer(network, chunk, device) for chunk in in_chunks(rows)]
        trajectories, scale, modes = (
            None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return Method(trajectories, scale, modes)

    def _answer(self, network: Teacher, rows: np.ndarray, device: torch.device) -> tuple[np.ndarray | None, ...]:
        features, ego, _, before = self.batch(rows, device)
        answer, head = network(features, ego), network.head
        scale = None if answer.raw_scale is None else head.scale_m(answer.raw_scale)
        modes = None if answer.modes is None else head.metres(answer.modes, before[:, None])
        values = (head.metres(answer.mean, before), scale, modes)
        return tuple(None if value is None else value.float().cpu().numpy() for value in values)


def in_chunks(rows: np.ndarray, size: int = CHUNK) -> list[np.ndarray]:
    """Rows in pieces of about the same length, none of more than `size`."""
    return np.array_split(rows, -(-len(rows) // size))


def open_samples(
    data_dir: Path,
    layout: str,
    split_file: Path | None,
    labels: LabelSettings,
    *,
    skip_invalid: bool,
    needs_future: bool = True,
) -> tuple[Recording, Samples]:
    """The data set and its samples; those without a known future too, where none is needed.

    Raises:
        UserError: it cannot be read, has errors that nobody asked to skip, or its labels are impossible.
    """
    recording = open_recording(data_dir, layout, split_file, labels.reference_point)
    if recording.errors and not skip_invalid:
        first, count = recording.errors[0], len(recording.errors)
        more = f"({count} errors in all: check-data lists them, --skip_invalid goes on without them)"
        raise UserError(f"{first.source}: {first.message} {more}")
    for problem in recording.errors:
        print(f"left out: {problem.source}: {problem.message}", file=sys.stderr)
    samples = build_samples(recording, labels, needs_future=needs_future)
    samples = _without(samples, "no picture", [not pair.vehicle_image.is_file() for pair in samples.pairs])
    if needs_future:
        if recording.poses and not samples.row_labels:
            samples = _without(samples, f"less than {SHORTEST_PAST_S:g} s of past", samples.history_s < SHORTEST_PAST_S)
        require_plausible(samples, labels, str(recording.root))
    return recording, _usable(recording, samples) if skip_invalid else samples


def _without(samples: Samples, reason: str, bad: Sequence[bool] | np.ndarray) -> Samples:
    """The other samples; what is left out is counted."""
    bad = np.asarray(bad, dtype=bool)
    if bad.any():
        samples.excluded[reason] += int(bad.sum())
    return samples.take(~bad)


def _usable(recording: Recording, samples: Samples) -> Samples:
    """Without what check-data rejects; each sample is counted by the first reason."""
    kept = np.ones(len(samples), dtype=bool)
    for reason, bad in unusable(recording, samples, _unreadable(samples)).items():
        if count := int((bad & kept).sum()):
            samples.excluded[reason] += count
        kept &= ~bad
    return samples.take(kept)


def _unreadable(samples: Samples) -> set[Path]:
    """Pictures that cannot be decoded, found by decoding all of them, small."""
    paths = {path for pair in samples.pairs for path in (pair.vehicle_image, pair.infrastructure_image) if path}

    def is_readable(path: Path) -> bool:
        try:
            read_picture(path, 8, 8)
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return {path for path, is_fine in zip(paths, workers.map(is_readable, paths), strict=True) if not is_fine}


def open_inputs(settings: TrainSettings, device: torch.device) -> Inputs:
    """Everything that training reads; pictures and features come from the cache where it has them.

    Raises:
        UserError: see open_samples; or the backbone cannot be built.
    """
    recording, samples = open_samples(
        settings.data_dir, settings.layout, settings.split_file, settings.labels, skip_invalid=settings.skip_invalid
    )
    return add_pictures(settings, recording, samples, priors(settings, samples), device)


def priors(settings: TrainSettings, samples: Samples) -> Float32[np.ndarray, "samples steps 2"]:
    """What the head predicts the rest of.

    Raises:
        UserError: the head needs the motion, and the flat folder does not know it.
    """
    head = settings.head
    if samples.row_labels and not samples.history_s.any() and (head.use_ego or head.prior != "none"):
        found = f"got prior {head.prior} and use_ego {str(head.use_ego).lower()}"
        remedy = "the data do not say how fast the vehicle was (--head.prior none --head.no-use_ego)"
        raise UserError(f"head: expected prior none and use_ego false, {found}; {remedy}")
    return prior(settings.head.prior, samples.ego, step_times(samples)).astype(np.float32)


def step_times(samples: Samples) -> Float[np.ndarray, " steps"]:
    """Seconds after t0 of each step. Rows are taken for steps of 0.1 s from now on, as the request did."""
    return TIMES_S - TIMES_S[0] if samples.row_labels else TIMES_S


def add_pictures(
    settings: TrainSettings, recording: Recording, samples: Samples, before: np.ndarray, device: torch.device
) -> Inputs:
    """Inputs with pictures, and with features where the backbone is frozen."""
    chosen = settings.backbone
    views = cached_views(samples.pairs, chosen.height, chosen.width, settings.cache_dir, chosen.cameras)
    if settings.freeze_backbone:
        backbone = build_backbone(chosen).to(device)
        inputs = Inputs(settings, recording, samples, before, chosen.cameras, backbone, views, None)
        features = cached_features(
            backbone, views, inputs.prompts, settings.head.pooling, settings.cache_dir, device, chosen.batch_size,
            precision=settings.precision,
        )  # fmt: skip
        return dataclasses.replace(inputs, features=features)
    backbone = build_trainable_backbone(
        chosen, settings.head.pooling, train_vision=settings.train_vision, lora_rank=settings.lora_rank
    ).to(device)
    inputs = Inputs(settings, recording, samples, before, chosen.cameras, backbone, views, None)
    if settings.train_vision or not backbone.can_split:
        return inputs
    tokens = cached_image_tokens(
        backbone, views, settings.cache_dir, device, chosen.batch_size, precision=settings.precision
    )
    return dataclasses.replace(inputs, image_tokens=tokens)
