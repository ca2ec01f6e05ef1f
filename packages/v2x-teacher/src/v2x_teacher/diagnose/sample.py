"""What every part of the diagnosis looks at: samples of the training split and of another, and what the run says."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import nn

from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table
from drivelab_shared.seeding import seed_step
from v2x_teacher.config import DiagnoseSettings, HeadSettings
from v2x_teacher.features import encode_views
from v2x_teacher.inputs import CHUNK, in_chunks
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.build import build_backbone
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.storage import build_teacher
from v2x_teacher.trained import TrainedRun

FEW = 64
"""Samples behind what needs the backbone again."""
FRESH = 200
"""Stream of random numbers for networks that are made here."""


@dataclass(frozen=True)
class Section:
    """One subject: its figures and conclusions, the pictures that belong to them, and what the causes are read from."""

    table: Table
    show: Callable[[Report], None]
    facts: Mapping[str, object] = field(default_factory=dict)
    """Fields of `causes.Evidence`."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of one split, spread evenly over it."""

    split: str
    rows: Int64[np.ndarray, " samples"]
    features: Float[np.ndarray, "samples vectors width"]
    """As they reach the head."""
    ego: Float[np.ndarray, "samples 4"]
    truth: Float[np.ndarray, "samples steps 2"]
    prior: Float[np.ndarray, "samples steps 2"]
    predicted: Float[np.ndarray, "samples steps 2"]
    """Metres, ego frame, as truth and prior."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A trained run with what it says about a few hundred samples."""

    trained: TrainedRun
    train: Part
    """Of the training split; of `held_out` where the data have none."""
    held_out: Part
    """Of the split that the settings name."""
    train_mean: Float[np.ndarray, "steps 2"]
    """Mean trajectory of the whole training split, metres."""
    settings: DiagnoseSettings

    @classmethod
    def of(cls, trained: TrainedRun, settings: DiagnoseSettings) -> "Sample":
        """What the settings ask for.

        Raises:
            UserError: the split has no samples.
        """
        samples = trained.inputs.samples
        held_out = _part(trained, settings.split, settings.num_samples)
        has_training = samples.mask("train").any() and settings.split != "train"
        train = _part(trained, "train", settings.num_samples) if has_training else held_out
        known = samples.truth[samples.mask("train")] if samples.mask("train").any() else samples.truth
        return cls(trained, train, held_out, np.nanmean(known, axis=0), settings)

    @property
    def parts(self) -> list[Part]:
        """The training split first."""
        return [self.train] if self.train is self.held_out else [self.train, self.held_out]

    @property
    def few(self) -> Int64[np.ndarray, " few"]:
        """Rows of some training samples, spread evenly."""
        return self.train.rows[evenly(len(self.train.rows), FEW)]

    @property
    def backbone_mode(self) -> Literal["eval", "train", "learns"]:
        """In which the run's features were made; `learns` where the backbone is not frozen."""
        learns = self.trained.inputs.trainable_backbone is not None
        return "learns" if learns else self.trained.settings.backbone.mode

    @cached_property
    def still(self) -> "Sample":
        """The same with features made in eval mode, where the run made them in train mode."""
        if self.backbone_mode != "train":
            return self
        parts = [replace(part, features=encoded(self.trained, part.rows, "eval")) for part in self.parts]
        return replace(self, train=parts[0], held_out=parts[-1])

    def fresh_head(self, settings: HeadSettings) -> TrajectoryHead:
        """A head before its first step; its units are those of the training samples here."""
        inputs, part = self.trained.inputs, self.train
        seed_step(self.trained.settings.seed, 0, stream=FRESH)
        steps = part.truth.shape[1]
        network = build_teacher(settings, *inputs.head_shape(), steps, inputs.num_cameras, None)
        head, rows = network.module.head, np.arange(len(part.rows))
        residual = part.truth - part.prior
        head.fit_units(part.features, part.ego, residual, rows, settings.targets, settings.target_scale)
        return head.to(self.trained.device)

    @torch.no_grad()
    def predict(
        self, head: TrajectoryHead, part: Part, features: Float[np.ndarray, "samples vectors width"] | None = None
    ) -> Float[np.ndarray, "samples steps 2"]:
        """What a head in eval mode says about a part, or about its motion with other features; metres."""
        features = part.features if features is None else features
        arrays = (torch.from_numpy(values).to(self.trained.device) for values in (features, part.ego, part.prior))
        chunks = zip(*(values.split(CHUNK) for values in arrays), strict=True)
        found = [head.metres(head(features, ego).mean, before) for features, ego, before in chunks]
        return torch.cat(found).cpu().numpy()

    def table(self, name: str, title: str, rows: Sequence[Row], conclusions: Sequence[str] = ()) -> Table:
        """With the seed of the run and the threads of this process."""
        seeds = [self.trained.settings.seed]
        return Table.create(name, title, rows, seeds, conclusions, threads=self.settings.threads)


def _part(trained: TrainedRun, split: str, number: int) -> Part:
    inputs = trained.inputs
    rows = inputs.rows(split)
    rows = rows[evenly(len(rows), number)]
    predicted = inputs.method(trained.teacher, rows, trained.device).trajectories
    samples = inputs.samples
    return Part(
        split, rows, _features(trained, rows), samples.ego[rows], samples.truth[rows], inputs.prior[rows], predicted
    )


@torch.no_grad()
def _features(trained: TrainedRun, rows: np.ndarray) -> np.ndarray:
    inputs = trained.inputs
    if inputs.features is not None:
        return np.asarray(inputs.features[rows], dtype=np.float32)
    chunks = in_chunks(rows, trained.settings.backbone.batch_size)
    pooled = (trained.teacher.pooled(inputs.backbone_inputs(chunk, trained.device)) for chunk in chunks)
    return np.concatenate([chunk.float().cpu().numpy() for chunk in pooled])


def backbone_in(trained: TrainedRun, mode: Literal["eval", "train"]) -> Backbone:
    """The run's backbone in this mode; one that learns with the weights that it has learned."""
    if trained.inputs.trainable_backbone is not None:
        return trained.teacher.backbone.train(mode == "train")
    return build_backbone(replace(trained.settings.backbone, mode=mode)).to(trained.device)


def encoded(
    trained: TrainedRun, rows: Int64[np.ndarray, " some"], mode: Literal["eval", "train"], draw: int = 0
) -> Float[np.ndarray, "some vectors width"]:
    """Pooled features of some samples, made now. `draw` is that of the dropout."""
    inputs, settings = trained.inputs, trained.settings
    prompts = inputs.prompts
    backbone = backbone_in(trained, mode)
    with redirect_stderr(io.StringIO()):  # its progress
        features = encode_views(
            backbone, inputs.views[rows], [prompts[row] for row in rows], settings.head.pooling, trained.device,
            settings.backbone.batch_size, draw=draw,
        )  # fmt: skip
    backbone.eval()
    return features.astype(np.float32)


def evenly(count: int, number: int) -> Int64[np.ndarray, " some"]:
    """At most `number` of `count` indices."""
    return np.unique(np.linspace(0, count - 1, min(number, count)).astype(np.int64))


def anatomy(head: TrajectoryHead) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a head that features pass, in their order, with names for people."""
    if head.standardises:
        yield "standardiser", head.features
    if head.attention is not None:
        yield "attention pool", head.attention
    for name, block in (("fusion", head.fusion), ("MLP", head.layers)):
        for kind, number, module in _numbered(block):
            yield f"{name}: {kind} {number}", module


def _numbered(block: nn.Module | None) -> Iterator[tuple[str, int, nn.Module]]:
    counts: dict[str, int] = {}
    for module in block if isinstance(block, nn.Sequential) else ():
        kind = type(module).__name__
        if kind != "Dropout":
            counts[kind] = counts.get(kind, 0) + 1
            yield kind, counts[kind], module
