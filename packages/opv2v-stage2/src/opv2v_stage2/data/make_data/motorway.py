"""A motorway: guard rails, noise barriers, bridges of signs."""

from collections.abc import Iterator

import numpy as np

from drivelab_shared.scenes import Label, Mesh, shapes, standing
from opv2v_stage2.data.make_data import furniture
from opv2v_stage2.data.make_data.roads import Road
from opv2v_stage2.data.make_data.site import Site
from opv2v_stage2.data.make_data.surroundings import bridge, houses, skyline

HOUSE_M = 30.0
"""From the asphalt to the nearest wall."""


def motorway(road: Road, site: Site, rng: np.random.Generator) -> Iterator[Mesh]:
    """Everything on and beside it but asphalt and paint."""
    edge, steel = road.half_width_m + 0.6, ((150, 154, 158),)
    yield furniture.wall(road.line(0.0), 0.5, 0.0, 0.95, ((176, 174, 168), (160, 158, 154)), Label.BRIDGE, rng)
    for side in (-1, 1):
        yield furniture.wall(road.line(side * edge), 0.1, 0.45, 0.8, steel, Label.POLE, rng)
        for s in np.arange(0, road.length_m, 12.0):
            (x, y), _ = road.at(s + rng.uniform(-1, 1), side * edge)
            yield shapes.pole(1.0, 0.09, (236, 236, 232)).at(x, y)
        yield from _noise_barriers(road, side, rng)
    yield from bridge(road, site, rng, chance=0.8)
    yield from _overmotorway(road, site, rng)
    for _ in range(150):
        offset = rng.choice([-1, 1]) * (road.half_width_m + rng.uniform(9, 28))
        position, _ = road.at(rng.uniform(0, road.length_m), offset)
        if site.takes(position, 2.0, 7.0):
            yield furniture.tree(rng).at(*position)
    yield from houses(road, site, HOUSE_M, rng)
    yield from skyline(site, rng)


def _noise_barriers(road: Road, side: int, rng: np.random.Generator) -> Iterator[Mesh]:
    """Panels on about half of the way."""
    s = rng.uniform(0, 40)
    while s < road.length_m:
        end = s + rng.uniform(25, 60)
        line, height = road.line(side * (road.half_width_m + 3.5), s, end), rng.uniform(2.5, 4.5)
        yield furniture.wall(line, 0.2, 0.0, height, furniture.WALLS, Label.BUILDING, rng)
        s = end + rng.uniform(15, 60)


def _overmotorway(road: Road, site: Site, rng: np.random.Generator) -> Iterator[Mesh]:
    """Bridges of signs, and lamps on both edges in an uneven row; none where a bridge is."""
    edge = road.half_width_m + 1.5
    for s in np.arange(rng.uniform(5, 40), road.length_m, 85.0):
        (x, y), heading = road.at(s)
        if site.takes(road.at(s, edge)[0], 0.5, 1.0):
            yield furniture.gantry(edge, rng).moved(standing(x, y, float(heading)))
    for side in (-1, 1):
        s = rng.uniform(0, 30)
        while s < road.length_m:
            position, heading = road.at(s, side * edge)
            if site.takes(position, 0.5, 1.0):
                yield furniture.lamp(rng).moved(standing(*position, float(heading) + (0 if side < 0 else np.pi)))
            s += rng.uniform(18, 40)
