"""Are the features of different samples alike? Cosines before and after standardising, by where the features come from.

A common offset makes every cosine 1 and leaves the head with the small rest; standardising takes it away.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.diagnose.drawing import cosine_maps
from v2x_teacher.diagnose.sample import Part, Sample, Section, backbone_in
from v2x_teacher.inputs import in_chunks
from v2x_teacher.models.head import LARGEST, SMALLEST_STD, Standardiser
from v2x_teacher.models.pooling import READS_TEXT, pool

BEFORE, AFTER, SPREAD = "cosine, as they come", "cosine, standardised", "spread, as they come [of the norm]"
Vectors = Float[np.ndarray, "samples *shape"]


def measure_resemblance(sample: Sample) -> Section:
    """Mean cosine between pairs of samples, by part of what is pooled, and the standardiser's odd dimensions."""
    head, train = sample.trained.teacher.head, sample.train
    standardiser = head.features if head.standardises else _fitted(train.features)
    after = {part.split: _standardised(standardiser, part.features) for part in sample.parts}
    rows = [row for part in sample.parts for row in _pooled_rows(sample, part, after[part.split])]
    if sample.trained.settings.head.pooling in READS_TEXT:
        for name, tokens in _tokens(sample).items():
            rows += _rows(name, tokens, _standardised(_fitted(tokens), tokens), train.split)
    still = sample.still.train.features
    if still is not train.features:
        rows += _rows("all that is pooled, made in eval mode", still, _standardised(_fitted(still), still), train.split)
    before, beyond = mean_cosine(train.features), mean_cosine(after[train.split])
    clipped = float((np.abs(after[sample.held_out.split]) >= LARGEST).mean()) if head.standardises else 0.0
    if head.standardises:
        rows.append(Row("standardiser", "dimensions at its floor [%]", 100 * _share_at_floor(head.features)))
        rows.append(Row("standardiser", "values at its limit [%]", 100 * clipped, at=sample.held_out.split))
    how = "as they reach the head" if head.standardises else "which this run does not do"
    sentence = f"Features agree to {before:.4f} in cosine; standardised, {how}, to {beyond:.4f}."
    table = sample.table("features", "Features: are those of different samples alike?", rows, [sentence])

    def show(report: Report) -> None:
        caption = (
            "Cosine between the features of each pair of training samples, as they come and standardised. A map of one "
            "colour says that the pictures hardly matter."
        )
        report.figure(cosine_maps(train.features, after[train.split]), caption, "Maps of cosines between samples")

    return Section(table, show, {"cosine": mean_cosine(still), "standardises": head.standardises, "clipped": clipped})


def mean_cosine(vectors: Vectors) -> float:
    """Over all pairs of different samples."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    units = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    pairs = len(units) * (len(units) - 1)
    return float((np.square(units.sum(0)).sum() - np.square(units).sum()) / pairs) if pairs else float("nan")


def relative_spread(vectors: Vectors) -> float:
    """Standard deviation between samples over the norm, both over all dimensions: 0 is one vector for everybody."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    norm = np.square(flat).sum(1).mean()
    return float(np.sqrt(flat.var(0).sum() / norm)) if norm > 0 else 0.0


def _rows(name: str, before: Vectors, after: Vectors, split: str) -> Iterator[Row]:
    yield Row(name, BEFORE, mean_cosine(before), at=split)
    yield Row(name, AFTER, mean_cosine(after), at=split)
    yield Row(name, SPREAD, relative_spread(before), at=split)


def _pooled_rows(sample: Sample, part: Part, after: Vectors) -> Iterator[Row]:
    """Of everything that is pooled, and of each camera where its vectors are its own."""
    yield from _rows("all that is pooled", part.features, after, part.split)
    settings, num_cameras = sample.trained.settings, sample.trained.inputs.num_cameras
    if settings.head.pooling in READS_TEXT or settings.backbone.views == "joined" or num_cameras == 1:
        return
    halves = (np.split(vectors, 2, axis=1) for vectors in (part.features, after))
    for name, before, own in zip(("vehicle's picture", "infrastructure's picture"), *halves, strict=True):
        yield from _rows(name, before, own, part.split)


@torch.no_grad()
def _tokens(sample: Sample) -> dict[str, Vectors]:
    """What a text model's pooling mixes, of a few samples."""
    trained, inputs = sample.trained, sample.trained.inputs
    backbone, groups = backbone_in(trained, "eval"), trained.inputs.backbone.num_groups(trained.inputs.num_cameras)
    found: dict[str, list[np.ndarray]] = {}
    for rows in in_chunks(sample.few, trained.settings.backbone.batch_size):
        pictures = torch.from_numpy(np.array(inputs.views[rows])).to(trained.device)
        encoded = backbone(backbone.prepare(pictures, [inputs.prompts[row] for row in rows]))
        parts = {
            "last decoder token": encoded.decoder,
            "mean encoder token": pool(encoded, "fixed", groups)[:, 0] - encoded.decoder,
            "mean image token": pool(encoded, "mean", groups),
        }
        for name, values in parts.items():
            found.setdefault(name, []).append(values.float().cpu().numpy())
    return {name: np.concatenate(chunks) for name, chunks in found.items()}


def _fitted(vectors: Vectors) -> Standardiser:
    standardiser = Standardiser(*vectors.shape[1:])
    standardiser.fit(vectors, np.arange(len(vectors)))
    return standardiser


@torch.no_grad()
def _standardised(standardiser: Standardiser, vectors: Vectors) -> Vectors:
    return standardiser(torch.from_numpy(vectors).to(standardiser.mean.device)).cpu().numpy()


def _share_at_floor(standardiser: Standardiser) -> float:
    """Of its dimensions. The floor lies below the median, so it has not moved it."""
    std = standardiser.std.double()
    return float((std <= SMALLEST_STD * std.median() * (1 + 1e-5)).double().mean())
