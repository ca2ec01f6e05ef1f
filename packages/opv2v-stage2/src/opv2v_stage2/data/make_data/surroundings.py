"""What towns and motorways have in common: houses along the road, towers behind them, bridges above it."""

from collections.abc import Iterator

import numpy as np

from drivelab_shared.scenes import Mesh, standing
from opv2v_stage2.data.make_data import furniture
from opv2v_stage2.data.make_data.roads import Road
from opv2v_stage2.data.make_data.site import Site


def bridge(road: Road, site: Site, rng: np.random.Generator, chance: float) -> Iterator[Mesh]:
    """With that chance, one across the road within sight of its middle; nothing else may stand below it."""
    if rng.random() < chance:
        s = road.length_m / 2 + rng.choice([-1, 1]) * rng.uniform(15, 60)
        (x, y), heading = road.at(s)
        reach = furniture.bridge_length(road) / 2 + 26.0
        steps = np.arange(-reach, reach, 1.0)[:, None]
        site.keep_clear(np.array([x, y]) + steps * np.array([-np.sin(heading), np.cos(heading)]), 7.5)
        yield furniture.bridge(road, s, rng)


def houses(road: Road, site: Site, margin_m: float, rng: np.random.Generator) -> Iterator[Mesh]:
    """Rows on both sides, with gaps."""
    for side in (-1, 1):
        s = rng.uniform(0, 10)
        while s < road.length_m:
            length, width = rng.uniform(9, 24), rng.uniform(8, 15)
            is_low = rng.random() < 0.4
            height = rng.uniform(4, 8) if is_low else rng.uniform(9, 28)
            offset = side * (road.half_width_m + margin_m + width / 2 + rng.uniform(0.3, 5.0))
            (x, y), heading = road.at(s + length / 2, offset)
            place = standing(x, y, float(heading) + (0 if side < 0 else np.pi))
            if site.has_room_for_house(place, length, width, margin_m):
                yield furniture.house(length, width, height, is_low, rng).moved(place)
            s += length + rng.choice([0.6, rng.uniform(2, 14)])


def skyline(site: Site, rng: np.random.Generator) -> Iterator[Mesh]:
    """Towers behind the houses, each of its own shape."""
    for angle in np.linspace(0, 2 * np.pi, 10, endpoint=False) + rng.uniform(0, 0.6, 10):
        distance, length, width = rng.uniform(75, 190), rng.uniform(14, 30), rng.uniform(14, 30)
        place = standing(distance * np.cos(angle), distance * np.sin(angle), rng.uniform(0, np.pi))
        if site.has_room_for_house(place, length, width, 24.0):
            yield furniture.house(length, width, rng.uniform(30, 75), False, rng).moved(place)
