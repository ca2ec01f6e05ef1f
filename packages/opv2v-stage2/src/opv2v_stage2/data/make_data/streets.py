"""Everything of a scenario that does not move, and its light: a town street, a crossing, a bend or a motorway."""

from collections.abc import Sequence

from drivelab_shared.scenes import Colour, Light, Mesh, Scene, mottled, shapes
from opv2v_stage2.data.make_data import furniture
from opv2v_stage2.data.make_data.motorway import motorway
from opv2v_stage2.data.make_data.plan import Scenario
from opv2v_stage2.data.make_data.roads import Road, across, curved
from opv2v_stage2.data.make_data.site import Site
from opv2v_stage2.data.make_data.surfaces import surfaces
from opv2v_stage2.data.make_data.town import town

MARGIN_M = 150.0
"""Of street beyond where the recording vehicles come."""
SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((92, 146, 209), (205, 218, 230)),
    ((70, 120, 200), (190, 210, 235)),
    ((150, 170, 195), (214, 220, 226)),
    ((110, 140, 190), (236, 216, 190)),
)
"""Zenith and horizon."""


def roads_of(scenario: Scenario) -> tuple[Road, ...]:
    """The main road, and the one that crosses it."""
    rng = scenario.rng(2)
    length = 2 * round(MARGIN_M + 12.5 * scenario.seconds)
    if scenario.kind == "motorway":
        curvature = 0.0 if scenario.is_worst else rng.uniform(-1, 1) / 500
        return (curved(length, curvature, 150.0, num_lanes=3, lane_m=3.75, median_m=1.5, shoulder_m=2.8),)
    lanes = int(rng.integers(1, 3))
    if scenario.kind == "bend":
        return (curved(length, rng.choice([-1, 1]) / rng.uniform(45, 110), rng.uniform(40, 90), num_lanes=lanes),)
    if scenario.kind == "crossing":
        return curved(length, 0.0, 0.0, num_lanes=lanes), across(240.0, num_lanes=1, shoulder_m=0.6)
    return (curved(length, 0.0, 0.0, num_lanes=lanes),)


def scene_of(scenario: Scenario, roads: Sequence[Road]) -> Scene:
    """Ready to be seen."""
    rng = scenario.rng(3)
    site, size = Site(roads), roads[0].length_m + 240.0
    grass = furniture.pick(((104, 124, 76), (126, 130, 84), (140, 132, 110)), rng)
    parts = [mottled(shapes.ground((0, 0), size, grass, tile=12.0), rng, 0.1), *surfaces(roads, rng)]
    if scenario.kind == "motorway":
        parts += motorway(roads[0], site, rng)
    else:
        parts += town(scenario, roads, site, rng)
    return Scene(Mesh.joined(parts), _light(scenario))


def _light(scenario: Scenario) -> Light:
    rng = scenario.rng(4)
    zenith, horizon = SKIES[rng.integers(len(SKIES))]
    return Light(
        sun_azimuth_deg=rng.uniform(0, 360),
        sun_elevation_deg=rng.uniform(28, 68),
        ambient=rng.uniform(0.55, 0.72),
        visibility_m=rng.uniform(500, 1500),
        has_shadows=True,
        zenith=zenith,
        horizon=horizon,
    )
