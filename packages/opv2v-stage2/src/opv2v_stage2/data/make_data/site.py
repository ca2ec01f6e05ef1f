"""Where there is room for something beside the roads."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from opv2v_stage2.data.make_data.roads import Road


class Site:
    """Remembers what is taken. Street frame, metres."""

    def __init__(self, roads: Sequence[Road]) -> None:
        self._lines = [(road.points, road.half_width_m) for road in roads]
        self._discs: list[tuple[float, float, float]] = []

    def keep_clear(self, line: Float64[np.ndarray, "points 2"], half_width_m: float) -> None:
        """A strip that nothing else may touch."""
        self._lines.append((line, half_width_m))

    def room(self, points: Float[np.ndarray, "points 2"]) -> float:
        """Distance of the nearest of these points from the nearest asphalt; negative on it."""
        return min(
            float(np.linalg.norm(points[:, None] - line[None], axis=-1).min() - half_width)
            for line, half_width in self._lines
        )

    def takes(self, position: Float64[np.ndarray, "2"], radius_m: float, margin_m: float) -> bool:
        """Whether a thing of that radius fits, `margin_m` from the asphalt. If so, the place is taken."""
        x, y = position
        is_free = all(np.hypot(x - u, y - v) > radius_m + r for u, v, r in self._discs)
        if not is_free or self.room(position[None]) < margin_m:
            return False
        self._discs.append((x, y, radius_m))
        return True

    def has_room_for_house(
        self, street_from_house: Float64[np.ndarray, "4 4"], length: float, width: float, margin_m: float
    ) -> bool:
        """Whether a rectangle keeps that distance from all asphalt."""
        x, y = np.meshgrid(np.linspace(-length / 2, length / 2, 5), np.linspace(-width / 2, width / 2, 5))
        corners = np.stack([x.ravel(), y.ravel()], axis=1)
        return self.room(corners @ street_from_house[:2, :2].T + street_from_house[:2, 3]) >= margin_m
