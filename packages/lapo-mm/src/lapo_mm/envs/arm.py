"""Geometry of the two-link arm of gymnasium's Reacher. Metres and radians; the shoulder is the origin, y points up.

`q` is the angle of the upper link, and that of the lower one relative to it. Plain numbers instead of arrays: these are
asked in every step, and numpy takes longer to start than they take to answer.
"""

import math
from collections.abc import Sequence

from jaxtyping import Float64
from numpy import ndarray

from lapo_mm.envs.angles import wrap

UPPER_M, LOWER_M = 0.1, 0.11


def fingertip(q: Float64[ndarray, " 2"]) -> tuple[float, float]:
    """Where the arm ends."""
    upper, bend = q.tolist()
    lower = upper + bend
    return (
        UPPER_M * math.cos(upper) + LOWER_M * math.cos(lower),
        UPPER_M * math.sin(upper) + LOWER_M * math.sin(lower),
    )


def way_to(point: Float64[ndarray, " 2"], q: Float64[ndarray, " 2"]) -> tuple[float, float]:
    """How far the joints have to turn until the fingertip is at a point, by the nearer of the two elbow solutions.

    A point out of reach is approached as far as it can be.
    """
    x, y = point.tolist()
    cos_bend = (x * x + y * y - UPPER_M**2 - LOWER_M**2) / (2 * UPPER_M * LOWER_M)
    bend = math.acos(min(1.0, max(-1.0, cos_bend)))
    ways = [_turns(x, y, q.tolist(), elbow) for elbow in (bend, -bend)]
    return min(ways, key=lambda way: math.hypot(*way))


def _turns(x: float, y: float, q: Sequence[float], bend: float) -> tuple[float, float]:
    upper = math.atan2(y, x) - math.atan2(LOWER_M * math.sin(bend), UPPER_M + LOWER_M * math.cos(bend))
    # The shoulder turns the shorter way. The elbow has end stops at +-3 and cannot go round.
    return wrap(upper - q[0]), bend - q[1]
