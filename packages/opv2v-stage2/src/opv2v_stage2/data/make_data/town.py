"""A street in a town: pavements, houses, what stands in front of them, and in a crossing its lights."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from drivelab_shared.scenes import Label, Mesh, shapes, standing
from opv2v_stage2.data.make_data import furniture
from opv2v_stage2.data.make_data.actors import roadside_place
from opv2v_stage2.data.make_data.plan import Scenario
from opv2v_stage2.data.make_data.roads import Road
from opv2v_stage2.data.make_data.site import Site
from opv2v_stage2.data.make_data.surfaces import painted, zebra
from opv2v_stage2.data.make_data.surroundings import bridge, houses, skyline

HOUSE_M = 7.0
"""From the asphalt to the nearest wall."""
PAVEMENT_M, PAVEMENT_Z = 4.0, -0.02
TOWN_KINDS: tuple[tuple[Callable[[np.random.Generator], Mesh], float, float], ...] = (
    (furniture.tree, 1.2, 0.40),
    (furniture.lamp, 0.4, 0.16),
    (furniture.sign, 0.5, 0.12),
    (furniture.billboard, 2.4, 0.09),
    (furniture.kiosk, 1.6, 0.07),
    (furniture.pillar, 0.9, 0.08),
    (furniture.hedge, 1.6, 0.08),
)
"""What it is, the radius that it needs, and how often it comes."""


def town(scenario: Scenario, roads: Sequence[Road], site: Site, rng: np.random.Generator) -> Iterator[Mesh]:
    """Everything on and beside the roads but asphalt and lanes."""
    main, middle = roads[0], roads[0].length_m / 2
    for road in roads:
        yield shapes.ribbon(
            road.line(0.0), 2 * (road.half_width_m + PAVEMENT_M), PAVEMENT_Z, (168, 164, 158), Label.GROUND
        )
    if scenario.has_roadside:
        s, offset = roadside_place(main)
        site.takes(main.at(s, offset)[0], 5.0, 1.0)
    if scenario.kind == "crossing":
        yield from _junction(roads)
    else:
        yield zebra(main, middle + rng.uniform(-50, 50))
        yield from bridge(main, site, rng, chance=0.0 if scenario.has_roadside else 0.7)
    for road in roads:
        yield from _furniture(road, site, rng)
        yield from houses(road, site, HOUSE_M, rng)
    yield from skyline(site, rng)


def _junction(roads: Sequence[Road]) -> Iterator[Mesh]:
    """Zebras, stop lines, and lights that are green for the main road."""
    for road, other, state in ((roads[0], roads[1], "green"), (roads[1], roads[0], "red")):
        middle = road.length_m / 2
        for side in (-1, 1):
            yield zebra(road, middle + side * (other.half_width_m + 3.0))
            stop = middle - side * (other.half_width_m + 5.5)
            ends = np.array([road.at(stop, -side * offset)[0] for offset in (0.2, road.edge_m)])
            yield painted(ends, 0.5)
            (x, y), heading = road.at(stop, -side * (road.half_width_m + 0.9))
            towards = standing(x, y, float(heading) + (0 if side > 0 else np.pi))
            yield Mesh.joined([shapes.mast(6.2, 4.0), shapes.traffic_light(state, 0.4).at(-0.3, 3.8, 5.8)]).moved(
                towards
            )


def _furniture(road: Road, site: Site, rng: np.random.Generator) -> Iterator[Mesh]:
    """One thing after the other on both pavements."""
    shares = np.array([share for _, _, share in TOWN_KINDS])
    for side in (-1, 1):
        s = rng.uniform(0, 6)
        while s < road.length_m:
            make, radius, _ = TOWN_KINDS[rng.choice(len(TOWN_KINDS), p=shares / shares.sum())]
            position, heading = road.at(s, side * (road.half_width_m + rng.uniform(0.4, 1.6) + radius))
            if site.takes(position, radius, radius):
                yield make(rng).moved(standing(*position, float(heading) + (0 if side < 0 else np.pi)))
            s += rng.uniform(4.0, 11.0)
