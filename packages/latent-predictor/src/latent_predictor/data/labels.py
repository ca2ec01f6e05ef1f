"""Where in the lane the car is: from the simulator's state, from a picture, and how well the two agree.

A third of the half road width is the boundary between left, center and right.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from latent_predictor.data import camera
from latent_predictor.data.trajectory import CENTER, LEFT, RIGHT, SIZE, UNKNOWN, Frames, Labels

_BOUNDARY = 1 / 3
_FIRST_ROW = camera.HORIZON_PX + 4
_FIRST_DASH_ROW = camera.HORIZON_PX + 8
# Seen from above, the car is between rows 47 and 48 and hides these columns of the road.
_TOP_ROWS = slice(46, 50)
_CAR_COLUMNS = slice(29, 35)


def labels_from_offset(offset: Float[np.ndarray, " time"]) -> Labels:
    """Labels for lateral offsets in half road widths, positive to the right; NaN is unknown."""
    labels = np.full(offset.shape, CENTER, np.int8)
    labels[offset < -_BOUNDARY] = LEFT
    labels[offset > _BOUNDARY] = RIGHT
    labels[np.isnan(offset)] = UNKNOWN
    return labels


def visual_labels(frames: Frames, view: Literal["road", "top"] = "road") -> Labels:
    """Labels read from drawn pictures. -1 where too little of the road is seen.

    The colour thresholds are those of the simulator's two views; they mean nothing for a real camera.
    """
    offset_from_picture = _offset_from_road_view if view == "road" else _offset_from_top_view
    return labels_from_offset(np.array([offset_from_picture(frame) for frame in frames]))


class _Sights(NamedTuple):
    """What places in a picture say: at this distance ahead, the car would be at this offset."""

    distance: Float[np.ndarray, " sights"]
    offset: Float[np.ndarray, " sights"]
    weight: Float[np.ndarray, " sights"]

    def fit(self) -> Float[np.ndarray, " coefficients"]:
        """The offset as a polynomial of the distance."""
        degree = 1 if len(self.distance) < 8 else 2
        return np.polyfit(self.distance, self.offset, degree, w=self.weight / (1 + self.distance / 20))


def _offset_from_road_view(frame: UInt8[np.ndarray, "64 64 3"]) -> float:
    """The middle of the road row by row, fitted over the distance and extrapolated to the car.

    The edges show it far ahead only. The dashes, near as they are, look alike left and right: which is which follows
    from the fit so far.
    """
    hue, saturation, _ = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV))
    vivid = saturation > 70
    edges = _sights_of_edges(~((hue >= 40) & (hue <= 85) & vivid))
    if len(edges.distance) < 3:
        return np.nan
    dashes = (hue >= 18) & (hue <= 36) & vivid
    fit = edges.fit()
    for _ in range(2):
        pairs = zip(edges, _sights_of_dashes(dashes, fit), strict=True)
        fit = _Sights(*(np.concatenate(pair) for pair in pairs)).fit()
    return float(np.polyval(fit, 0))


def _half_road_px(row: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Half the width of the asphalt in a row of pixels."""
    return (row + 0.5 - camera.HORIZON_PX) / (camera.SQUEEZE * camera.HEIGHT) * camera.HALF_WIDTH


def _distance(half_road_px: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    return camera.FOCAL_PX * camera.HALF_WIDTH / half_road_px


def _sights_of_edges(road: Bool[np.ndarray, "64 64"]) -> _Sights:
    """One for every row in which an edge of the road is seen, counted twice where both are."""
    row = np.arange(_FIRST_ROW, SIZE)
    road = road[_FIRST_ROW:]
    half_road = _half_road_px(row)
    left, right = road.argmax(axis=1), SIZE - road[:, ::-1].argmax(axis=1)
    sees_left, sees_right = left > 0, right < SIZE
    center = np.where(sees_left, left + camera.KERB * half_road, right - camera.KERB * half_road)
    center = np.where(sees_left & sees_right, (left + right) / 2, center)
    seen = road.any(axis=1) & (sees_left | sees_right)
    offset, weight = (SIZE / 2 - center) / half_road, 1.0 * sees_left + sees_right
    return _Sights(_distance(half_road)[seen], offset[seen], weight[seen])


def _sights_of_dashes(dashes: Bool[np.ndarray, "64 64"], fit: Float[np.ndarray, " coefficients"]) -> _Sights:
    """One for every run of dash pixels within a row: of the offsets that it may mean, the one nearer to the fit."""
    dashes = dashes[_FIRST_DASH_ROW:]
    # What the border cuts off has no middle.
    border = np.zeros((len(dashes), 1), np.int8)
    steps = np.diff(dashes.astype(np.int8), axis=1, prepend=border, append=border)
    (row, begin), (_, end) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    whole = (begin > 0) & (end < SIZE)
    row, begin, end = row[whole], begin[whole], end[whole]
    half_road = _half_road_px(row + _FIRST_DASH_ROW)
    distance = _distance(half_road)
    if_middle = (SIZE / 2 - (begin + end) / 2) / half_road
    to_middle = np.copysign(camera.DASH, np.polyval(fit, distance) - if_middle)
    return _Sights(distance, if_middle + to_middle, np.full(len(row), 2.0))


def _offset_from_top_view(frame: np.ndarray) -> float:
    """The middle of the asphalt beside the car, which is in the middle of the picture and drives up."""
    _, saturation, value = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV))
    asphalt = (saturation < 60) & (value < 150)
    offsets = [_offset_from_row(row) for row in asphalt[_TOP_ROWS]]
    offsets = [offset for offset in offsets if offset is not None]
    return float(np.median(offsets)) if offsets else np.nan


def _offset_from_row(asphalt: Bool[np.ndarray, " columns"]) -> float | None:
    """Offset from the run of asphalt that the car stands on, None where it stands on none."""
    road = asphalt.copy()
    road[_CAR_COLUMNS] |= road[_CAR_COLUMNS].any()
    gaps = np.flatnonzero(~road)
    left = gaps[gaps < SIZE // 2].max(initial=-1) + 1
    right = gaps[gaps >= SIZE // 2].min(initial=SIZE)
    if right - left < _CAR_COLUMNS.stop - _CAR_COLUMNS.start:
        return None
    half_run = (right - left) / 2
    return (SIZE / 2 - (left + right) / 2) / half_run


def agreement(labels: Labels, others: Labels) -> float:
    """Share of equal labels among the frames where both are known; NaN where there are none."""
    known = (labels != UNKNOWN) & (others != UNKNOWN)
    return float((labels[known] == others[known]).mean()) if known.any() else float("nan")


def kappa(labels: Labels, others: Labels) -> float:
    """Cohen's kappa over the frames where both are known: 0 is what chance would give, 1 is agreement throughout."""
    known = (labels != UNKNOWN) & (others != UNKNOWN)
    shares = [np.bincount(some[known], minlength=RIGHT + 1) / max(known.sum(), 1) for some in (labels, others)]
    by_chance = float(shares[0] @ shares[1])
    return (agreement(labels, others) - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
