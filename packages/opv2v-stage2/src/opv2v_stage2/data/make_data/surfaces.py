"""Asphalt and paint: layers above one another, a few millimetres apart."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from drivelab_shared.scenes import Colour, Label, Mesh, shapes
from opv2v_stage2.data.make_data.roads import Road

CROSS_Z, PATCH_Z, PAINT_Z = 0.004, 0.008, 0.015
"""Of the other road at a crossing, of patches and of paint; the road itself is at 0."""


def surfaces(roads: Sequence[Road], rng: np.random.Generator) -> Iterator[Mesh]:
    """Asphalt with patches, and the lines of all lanes outside of the crossing."""
    grey = int(rng.integers(84, 116))
    for index, road in enumerate(roads):
        z = CROSS_Z * index
        yield shapes.ribbon(road.line(0.0), 2 * road.half_width_m, z, (grey, grey, grey + 3))
        for start, end in _stretches(road, roads):
            yield from _lines(road, start, end)
    yield from _patches(roads[0], grey, rng)


def _stretches(road: Road, roads: Sequence[Road]) -> list[tuple[float, float]]:
    """Arc lengths from end to end, without the crossing."""
    if len(roads) == 1:
        return [(0.0, road.length_m)]
    other = roads[1] if road is roads[0] else roads[0]
    middle, half = road.length_m / 2, other.half_width_m + 1.0
    return [(0.0, middle - half), (middle + half, road.length_m)]


def _lines(road: Road, start: float, end: float) -> Iterator[Mesh]:
    for side in (-1, 1):
        yield painted(road.line(side * (road.edge_m - 0.1), start, end), 0.18)
        yield painted(road.line(side * max(road.median_m, 0.15), start, end), 0.14, (226, 196, 70))
        for lane in range(1, road.num_lanes):
            yield shapes.dashed(road.line(side * (road.median_m + lane * road.lane_m), start, end), 0.15, z=PAINT_Z)


def painted(line: Float64[np.ndarray, "points 2"], width: float, colour: Colour = (236, 236, 228)) -> Mesh:
    """A line of paint."""
    return shapes.ribbon(line, width, PAINT_Z, colour, Label.MARKING)


def _patches(road: Road, grey: int, rng: np.random.Generator) -> Iterator[Mesh]:
    """Where the road was mended."""
    for s in np.arange(10.0, road.length_m - 20.0, 7.0):
        shade = grey + int(rng.choice([-26, -18, 18, 30]))
        start, offset = s + rng.uniform(0, 5), rng.uniform(-0.8, 0.8) * road.edge_m
        line = road.line(offset, start, start + rng.uniform(1.5, 9.0))
        yield shapes.ribbon(line, rng.uniform(0.5, 2.8), PATCH_Z, (shade, shade, shade))


def zebra(road: Road, s: float) -> Mesh:
    """Stripes along the road, from kerb to kerb."""
    ends = np.array([road.at(s, offset)[0] for offset in (-road.half_width_m, road.half_width_m)])
    return shapes.dashed(ends, 3.2, dash=0.6, gap=0.6, z=PAINT_Z)
