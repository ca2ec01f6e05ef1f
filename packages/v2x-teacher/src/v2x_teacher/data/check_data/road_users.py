"""Cooperative labels: files that cannot be read, tracks that are not tracks, boxes where nobody is."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from drivelab_shared.errors import UserError
from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.findings import named
from v2x_teacher.data.recording import Box, Pair, Problem

FAR_M = 300.0
MAX_TRACK_MPS = 70.0
MAX_TRACK_GAP_S = 0.5
"""A track that was away for longer may have been given to somebody else."""

FLIP_DEG = 150.0

Tracks = dict[tuple[str, str], tuple[int, Float64[np.ndarray, "4 4"]]]
"""When and where each (sequence, track) was last."""


def road_user_problems(evidence: Evidence) -> Iterator[Problem]:
    """All of them. Pairs that no split lists count too: their labels are the road users of somebody's future."""
    if evidence.is_flat:
        return
    tracks: Tracks = {}
    for pair in tqdm(evidence.recording.pairs, desc="road users", leave=False, disable=None):
        try:
            boxes = evidence.recording.boxes(pair.sequence, pair.vehicle_id) or []
        except UserError as error:
            source, _, text = str(error).partition(": ")
            yield Problem("error", source, text)
            continue
        if boxes:
            source = f"{evidence.recording.root}/{evidence.lists.labels[pair.vehicle_id]}"
            yield from _twice(source, boxes)
            yield from _far(source, boxes, evidence.world_from_vehicle[pair.vehicle_id][:2, 3])
            yield from _tracks(source, boxes, pair, tracks)


def _twice(source: str, boxes: Sequence[Box]) -> Iterator[Problem]:
    counts = Counter(box.track_id for box in boxes if box.track_id is not None)
    if twice := [track for track, count in counts.items() if count > 1]:
        yield Problem("warning", source, f"track_id: expected each once, got {named(twice)} several times")


def _far(source: str, boxes: Sequence[Box], vehicle: Float64[np.ndarray, " 2"]) -> Iterator[Problem]:
    distances = np.array([np.linalg.norm(box.world_from_box[:2, 3] - vehicle) for box in boxes])
    far = np.flatnonzero(distances > FAR_M)
    if len(far):
        found = f"{len(far)} up to {distances.max():.0f} m away"
        text = f"expected road users within {FAR_M:g} m of the vehicle, got {found}"
        yield Problem("warning", source, text)


def _tracks(source: str, boxes: Sequence[Box], pair: Pair, tracks: Tracks) -> Iterator[Problem]:
    for box in boxes:
        if box.track_id is None:
            continue
        key, now = (pair.sequence, box.track_id), box.world_from_box
        before_us, before = tracks.get(key, (pair.time_us, now))
        tracks[key] = (pair.time_us, now)
        seconds = (pair.time_us - before_us) * 1e-6
        if not 0 < seconds <= MAX_TRACK_GAP_S:
            continue
        distance = float(np.linalg.norm(now[:2, 3] - before[:2, 3]))
        if distance > MAX_TRACK_MPS * seconds:
            found = f"a leap of {distance:.0f} m in {seconds:.2f} s"
            text = f"track_id {box.track_id}: expected the same road user all the time, got {found}"
            yield Problem("warning", source, text)
        turn = float(np.degrees(np.arccos(np.clip(now[:2, 0] @ before[:2, 0], -1, 1))))
        if turn > FLIP_DEG:
            text = f"track_id {box.track_id}: expected a heading that changes slowly, got a turn of {turn:.0f} degrees"
            yield Problem("warning", source, f"{text} in {seconds:.2f} s")
