"""Would the predicted path have hit somebody? Rectangles against rectangles, at the time when both are there.

Two rectangles count, seen from above: the vehicle's own, **centred on its reference point** (GNSS/INS or lidar origin)
and turned along the trajectory; and every other road user's, turned as labelled. UniV2X shifts the vehicle by 0.5 m,
does not turn it, counts on a 0.5 m grid and divides by all samples: its figures are not comparable.

Rectangle: x, y, yaw, length, width; ego frame at t0, metres and radians.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from v2x_teacher.data.labels import TIMES_S, Samples, sequences_of
from v2x_teacher.data.recording import Box, Recording
from v2x_teacher.metrics import headings

MAX_GAP_S = 0.25
"""Tracked road users are interpolated between labels that are at most this far apart."""
NEAR_S = 0.05
"""Without tracks there is nothing to interpolate: labels count at steps that are this close to them."""
SLACK_S = 1e-3
"""A label this close to a step is at the step."""

Rectangles = Float[np.ndarray, "*batch 5"]


@dataclass(frozen=True, eq=False)
class Traffic:
    """The other road users around every sample at every predicted step."""

    logged: Float[np.ndarray, "samples steps 2"]
    """What the vehicle really drove."""
    covered: Bool[np.ndarray, "samples steps"]
    """Whether labels say who was there, be it nobody."""
    places: Int[np.ndarray, " rectangles"]
    """Index of (sample, step) of each rectangle, in a flat list of all of them."""
    rectangles: Float[np.ndarray, "rectangles 5"]

    @classmethod
    def of(cls, recording: Recording, samples: Samples) -> "Traffic | None":
        """Gather the labels once. None where there are none, or where nobody knows when a step was (row-wise labels).

        Raises:
            UserError: a label file is broken.
        """
        if samples.row_labels:
            return None
        shape = (len(samples), samples.truth.shape[1])
        covered = np.zeros(shape, dtype=bool)
        places, rectangles = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 5))]
        for sequence, rows in sequences_of(samples):
            times = np.array([samples.pairs[row].time_us for row in rows])[:, None] * 1e-6 + TIMES_S
            labels = _Labels.read(recording, sequence, times)
            if labels is None:
                continue
            covered[rows] = labels.cover(times)
            for (row, step), world in labels.rectangles(times):
                places.append(np.ravel_multi_index((rows[row], step), shape))
                rectangles.append(_in_ego_frame(world, samples.world_from_ego[rows[row]]))
        if not covered.any():
            return None
        return cls(samples.truth, covered, np.concatenate(places), np.concatenate(rectangles).astype(np.float32))

    def collides(
        self, trajectories: Float[np.ndarray, "samples steps 2"], ego_size_m: tuple[float, float]
    ) -> tuple[Bool[np.ndarray, "samples steps"], Bool[np.ndarray, "samples steps"]]:
        """(overlaps somebody, was evaluated) per sample and step; what was not evaluated does not overlap.

        Left out are steps without labels, and those where the vehicle *as driven* already overlaps: there the labels,
        or the vehicle's size, are wrong.
        """
        evaluated = self.covered & ~np.isnan(self.logged[..., 0]) & ~self._overlaps(self.logged, ego_size_m)
        return self._overlaps(trajectories, ego_size_m) & evaluated, evaluated

    def _overlaps(self, trajectories: np.ndarray, ego_size_m: tuple[float, float]) -> Bool[np.ndarray, "samples steps"]:
        centres = trajectories.reshape(-1, 2)
        reach = (np.hypot(*ego_size_m) + np.hypot(self.rectangles[:, 3], self.rectangles[:, 4])) / 2
        # Most road users are far away, and a circle around each says so.
        near = np.flatnonzero(
            np.square(centres[self.places] - self.rectangles[:, :2]).sum(axis=1) <= np.square(reach + 1e-3)
        )
        places = self.places[near]
        ego = np.empty((len(near), 5))
        ego[:, :2], ego[:, 2], ego[:, 3:] = centres[places], headings(trajectories).ravel()[places], ego_size_m
        hits = np.zeros(len(centres), dtype=bool)
        hits[places[overlap(ego, self.rectangles[near])]] = True
        return hits.reshape(trajectories.shape[:2])


def overlap(ours: Rectangles, theirs: Rectangles) -> Bool[np.ndarray, "*batch"]:
    """Whether rectangles overlap: they do unless a side of one of them has the other one wholly beyond it.

    Source: separating axis test, Gottschalk, Lin and Manocha, OBBTree, 1996.
    """
    turn = theirs[..., 2] - ours[..., 2]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = np.zeros(turn.shape, dtype=bool)
    for of, other in ((ours, theirs), (theirs, ours)):
        dx, dy = other[..., 0] - of[..., 0], other[..., 1] - of[..., 1]
        cos, sin = np.cos(of[..., 2]), np.sin(of[..., 2])
        length, width = other[..., 3], other[..., 4]
        apart |= np.abs(cos * dx + sin * dy) > (of[..., 3] + c * length + s * width) / 2
        apart |= np.abs(cos * dy - sin * dx) > (of[..., 4] + s * length + c * width) / 2
    return ~apart


# --- labels in time ---------------------------------------------------------------------------------------------------

Places = tuple[Int[np.ndarray, " found"], Int[np.ndarray, " found"]]


@dataclass(frozen=True, eq=False)
class _Labels:
    """Road users of one sequence, in the world."""

    times_s: Float64[np.ndarray, " frames"]
    """Of the frames that have labels."""
    tracks: tuple[tuple[Float64[np.ndarray, " _"], Float64[np.ndarray, "_ 5"]], ...]
    """Each road user that is followed: when and where it was seen."""
    untracked: tuple[Float64[np.ndarray, "_ 5"], ...]
    """The others, by frame."""

    @classmethod
    def read(
        cls, recording: Recording, sequence: str, times_s: Float64[np.ndarray, "samples steps"]
    ) -> "_Labels | None":
        """From the frames that these times need; None where none of them has labels."""
        poses = recording.poses[sequence]
        tracks: dict[str, list[tuple[float, np.ndarray]]] = defaultdict(list)
        times, untracked = [], []
        for frame, time in zip(poses.ids, poses.time_us * 1e-6, strict=True):
            if not times_s.min() - MAX_GAP_S <= time <= times_s.max() + MAX_GAP_S:
                continue
            boxes = recording.boxes(sequence, frame)
            if boxes is not None:
                times.append(time)
                untracked.append(_sort(boxes, time, tracks))
        if not times:
            return None
        seen = tuple((np.array([t for t, _ in rows]), np.array([box for _, box in rows])) for rows in tracks.values())
        return cls(np.array(times), seen, tuple(untracked))

    def cover(self, times_s: Float64[np.ndarray, "samples steps"]) -> Bool[np.ndarray, "samples steps"]:
        """When it is known who was there: between labels where road users are followed, else only close to them."""
        if self.tracks:
            return _between(self.times_s, times_s)[3]
        return self._nearest(times_s)[1]

    def rectangles(
        self, times_s: Float64[np.ndarray, "samples steps"]
    ) -> Iterator[tuple[Places, Float64[np.ndarray, "found 5"]]]:
        """Road users at these times, some at a time: (samples, steps) and the rectangles there."""
        for seen, boxes in self.tracks:
            before, after, share, known = _between(seen, times_s)
            yield np.nonzero(known), _interpolated(boxes[before[known]], boxes[after[known]], share[known])
        nearest, close = self._nearest(times_s)
        for frame, boxes in enumerate(self.untracked):
            sample, step = np.nonzero(close & (nearest == frame))
            repeated = np.repeat(sample, len(boxes)), np.repeat(step, len(boxes))
            yield repeated, np.tile(boxes, (len(sample), 1))

    def _nearest(self, times_s: np.ndarray) -> tuple[Int[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
        """Index of the nearest frame, and whether it is close enough to stand for the moment."""
        distance = np.abs(times_s[..., None] - self.times_s)
        return distance.argmin(axis=-1), distance.min(axis=-1) <= NEAR_S + SLACK_S


def _sort(
    boxes: Sequence[Box], time: float, tracks: dict[str, list[tuple[float, np.ndarray]]]
) -> Float64[np.ndarray, "boxes 5"]:
    """Append the boxes of a frame to their tracks and return the rest.

    The rest have no track, or the id of one that this frame already has: official labels contain ids twice.
    """
    rest = []
    for box in boxes:
        row = _seen_from_above(box)
        track = tracks[box.track_id] if box.track_id is not None else None
        if track is None or (track and track[-1][0] == time):
            rest.append(row)
        else:
            track.append((time, row))
    return np.array(rest).reshape(-1, 5)


def _seen_from_above(box: Box) -> Float64[np.ndarray, " 5"]:
    transform = box.world_from_box
    return np.array([*transform[:2, 3], np.arctan2(transform[1, 0], transform[0, 0]), *box.size_m[:2]])


def _between(known_s: Float64[np.ndarray, " known"], times_s: Float64[np.ndarray, "*shape"]) -> tuple[np.ndarray, ...]:
    """(index before, index after, share of the way, whether both exist and are at most 0.25 s apart)."""
    before = np.searchsorted(known_s, times_s + SLACK_S, side="right") - 1
    after = np.maximum(np.searchsorted(known_s, times_s - SLACK_S), before)
    inside = (before >= 0) & (after < len(known_s))
    before, after = np.where(inside, before, 0), np.where(inside, after, 0)
    gap = known_s[after] - known_s[before]
    share = (times_s - known_s[before]) / np.where(gap > 0, gap, 1.0)
    return before, after, np.where(gap > 0, share, 0.0), inside & (gap <= MAX_GAP_S + SLACK_S)


def _interpolated(
    before: Float64[np.ndarray, "found 5"], after: Float64[np.ndarray, "found 5"], share: Float64[np.ndarray, " found"]
) -> Float64[np.ndarray, "found 5"]:
    change = after - before
    # A rectangle has no front, so labels that flip by half a turn between frames do no harm.
    change[:, 2] = (change[:, 2] + np.pi / 2) % np.pi - np.pi / 2
    return before + share[:, None] * change


def _in_ego_frame(
    world: Float64[np.ndarray, "found 5"], world_from_ego: Float64[np.ndarray, "found 4 4"]
) -> Float64[np.ndarray, "found 5"]:
    rotation, origin = world_from_ego[:, :2, :2], world_from_ego[:, :2, 3]
    ego = world.copy()
    ego[:, :2] = np.einsum("nij,ni->nj", rotation, world[:, :2] - origin)
    ego[:, 2] -= np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return ego
