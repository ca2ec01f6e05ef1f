"""Where in the lane the car is: from the simulator's state, from a picture, and how well the two agree.

A third of the half road width is the boundary between left, center and right.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

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


class _Sight(NamedTuple):
    """One row of a picture says: at this distance ahead, the car would be at this offset."""

    distance: float
    offset: float
    weight: float


def _offset_from_road_view(frame: UInt8[np.ndarray, "64 64 3"]) -> float:
    """The middle of the road row by row, fitted over the distance and extrapolated to the car.

    The edges show it far ahead only. The dashes, near as they are, look alike left and right: which is which follows
    from the fit so far.
    """
    hue, saturation, _ = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV))
    vivid = saturation > 70
    edges = _sights_of_edges(~((hue >= 40) & (hue <= 85) & vivid))
    if len(edges) < 3:
        return np.nan
    fit = _fit(edges)
    for _ in range(2):
        fit = _fit(edges + _sights_of_dashes((hue >= 18) & (hue <= 36) & vivid, fit))
    return float(np.polyval(fit, 0))


def _fit(sights: list[_Sight]) -> Float[np.ndarray, " coefficients"]:
    """The offset as a polynomial of the distance."""
    distance, offset, weight = np.array(sights).T
    return np.polyfit(distance, offset, 1 if len(sights) < 8 else 2, w=weight / (1 + distance / 20))


def _half_road_px(row: int) -> float:
    """Half the width of the asphalt in this row, seen along the road."""
    return (row + 0.5 - camera.HORIZON_PX) / (camera.SQUEEZE * camera.HEIGHT) * camera.HALF_WIDTH


def _distance(row: int) -> float:
    return camera.FOCAL_PX * camera.HALF_WIDTH / _half_road_px(row)


def _sights_of_edges(road: Bool[np.ndarray, "64 64"]) -> list[_Sight]:
    sights = []
    for row in range(_FIRST_ROW, SIZE):
        half_road = _half_road_px(row)
        center, weight = _road_center(road[row], camera.KERB * half_road)
        if weight:
            sights.append(_Sight(_distance(row), (SIZE / 2 - center) / half_road, weight))
    return sights


def _sights_of_dashes(dashes: Bool[np.ndarray, "64 64"], fit: Float[np.ndarray, " coefficients"]) -> list[_Sight]:
    sights = []
    for row in range(_FIRST_DASH_ROW, SIZE):
        columns = np.flatnonzero(dashes[row])
        if not len(columns):
            continue
        distance = _distance(row)
        expected = np.polyval(fit, distance)
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            if run[0] > 0 and run[-1] < SIZE - 1:
                if_middle = (SIZE / 2 - run.mean() - 0.5) / _half_road_px(row)
                candidates = (if_middle - camera.DASH, if_middle + camera.DASH)
                offset = min(candidates, key=lambda candidate: abs(candidate - expected))
                sights.append(_Sight(distance, offset, 2))
    return sights


def _road_center(road: Bool[np.ndarray, " columns"], half_road_px: float) -> tuple[float, float]:
    """Column of the road's middle, and a weight: 2 where both edges are seen, 1 where one is, 0 where none is."""
    columns = np.flatnonzero(road)
    if not len(columns):
        return 0.0, 0.0
    left, right = int(columns[0]), int(columns[-1]) + 1
    if left > 0 and right < SIZE:
        return (left + right) / 2, 2.0
    if left > 0:
        return left + half_road_px, 1.0
    if right < SIZE:
        return right - half_road_px, 1.0
    return 0.0, 0.0


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
