"""Whether actions and frames are aligned: at which lag does steering show in the pictures?

A car answers over several frames, so the plain correlation of steering and image motion peaks a frame late even in
data that are right. What cannot be predicted from the past is sharper: the image answers to a surprise in the steering
at once or not at all. (Prewhitening: Box, Jenkins, Reinsel, Time Series Analysis, chapter on transfer functions.)
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from latent_predictor.data.trajectory import Frames, Trajectory

LAGS = (-2, -1, 0, 1, 2)
_MAX_SHIFT_PX = 8
_FAR_ROWS = slice(20, 32)  # far from the car the picture moves with the heading, near it with everything
_ORDER = 4
_MIN_TRANSITIONS = 500
_MIN_CORRELATION = 0.15
_ONSET = 0.4


class Surprises(NamedTuple):
    """What could not be predicted from the 4 steps before, aligned so that equal indices are the declared timing."""

    steering: Float[np.ndarray, " transitions"]
    image_shift: Float[np.ndarray, " transitions"]


def surprises(trajectory: Trajectory) -> Surprises | None:
    """Of one trajectory; None where nothing steers."""
    steering = trajectory.actions[:-1, :1].astype(np.float64).ravel()
    if len(steering) < 4 * _ORDER or not steering.std():
        return None
    return Surprises(_unpredicted(steering), _unpredicted(image_shift(trajectory.frames)))


def image_shift(frames: Frames) -> Float[np.ndarray, " transitions"]:
    """Pixels to the right by which the far part of the picture moves from each frame to the next."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    bands = np.stack([cv2.GaussianBlur(picture, (0, 0), 1)[_FAR_ROWS] for picture in grey])
    middle = bands[:-1, :, _MAX_SHIFT_PX:-_MAX_SHIFT_PX]
    width = middle.shape[2]
    errors = np.stack(
        [
            np.square(bands[1:, :, first : first + width] - middle).mean(axis=(1, 2))
            for first in range(2 * _MAX_SHIFT_PX + 1)
        ]
    )
    best = errors.argmin(axis=0).clip(1, 2 * _MAX_SHIFT_PX - 1)
    # The lowest point of the parabola through the best shift and its neighbours.
    before, at, after = (np.take_along_axis(errors, (best + step)[None], axis=0)[0] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    fraction = np.divide(before - after, 2 * curvature, out=np.zeros_like(at), where=curvature > 0)
    return best - _MAX_SHIFT_PX + fraction.clip(-1, 1).astype(np.float64)


def _unpredicted(series: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " rest"]:
    """The rest of a least squares prediction of each value from the 4 before it."""
    past = np.stack([series[_ORDER - back : len(series) - back] for back in range(1, _ORDER + 1)], axis=1)
    past = np.column_stack([past, np.ones(len(past))])
    now = series[_ORDER:]
    return now - past @ np.linalg.lstsq(past, now, rcond=None)[0]


def steering_lag(pieces: list[Surprises]) -> int | None:
    """The latest action that already shows in the step from one frame to the next: 0 is the declared timing.

    1 means that the file's `actions[t + 1]` moves the car between frames t and t+1, so that actions are stored a frame
    late; -1 that they are stored a frame early. None where there is too little to tell.
    """
    if sum(len(piece.steering) for piece in pieces) < _MIN_TRANSITIONS:
        return None
    correlations = np.array([_correlation(pieces, lag) for lag in LAGS])
    strongest = np.abs(correlations).argmax()
    if np.abs(correlations[strongest]) < _MIN_CORRELATION:
        return None
    # The first reaction has the sign of the strongest; what follows from the driver's own reaction has the other one.
    shows = correlations * np.sign(correlations[strongest]) >= _ONSET * np.abs(correlations[strongest])
    return max(lag for lag, visible in zip(LAGS, shows, strict=True) if visible)


def _correlation(pieces: list[Surprises], lag: int) -> float:
    margin = max(LAGS)
    steering = np.concatenate([piece.steering[margin + lag : len(piece.steering) - margin + lag] for piece in pieces])
    shift = np.concatenate([piece.image_shift[margin : len(piece.image_shift) - margin] for piece in pieces])
    return float(np.corrcoef(steering, shift)[0, 1]) if steering.std() and shift.std() else 0.0
