"""What stands around a drive: road, markings, houses that block the view, trees, the pole with the other camera."""

from dataclasses import dataclass

import numpy as np

from drivelab_shared.scenes import Mesh, mottled, shapes, standing
from drivelab_shared.seeding import keyed_rng
from v2x_teacher.data.make_data.paths import Path
from v2x_teacher.data.make_data.sight import Rectangle
from v2x_teacher.data.make_data.traffic import (
    BRAKE_LIGHT_MPS2,
    LANE_M,
    RATE_HZ,
    ROAD_M,
    STOP_LINE_M,
    VEHICLE_BODY,
    VEHICLE_MIDDLE_M,
    Actor,
    Drive,
    Scenario,
)

CURB_M = ROAD_M / 2 + 0.4
REACH_M = 150.0
LAMP_M = 1.0
"""A lamp of the traffic light: large, because pictures are small."""
HOUSES = [(184, 160, 136), (150, 110, 96), (196, 190, 178), (120, 128, 140), (206, 180, 120)]


def static_street(drive: Drive) -> Mesh:
    """Everything that does not move. A function of the scenario alone."""
    plan, rng = drive.scenario, keyed_rng(*drive.scenario.seed, 2)
    parts = [mottled(shapes.ground((0, 0), 2 * REACH_M + 200, tile=25.0), rng, 0.08), *_main_road(drive.path)]
    if plan.event in ("cross", "light"):
        parts += _cross_road()
    parts += [shapes.building(*house.size_m, house.colour).at(*house.centre) for house in corner_houses(plan)]
    parts += [*_row_of_trees(drive.path, plan, rng), *_parked(plan, rng)]
    x, y, height = pole_position(plan)
    parts.append(shapes.pole(height - 0.3).at(x, y))  # the camera is on top, not inside
    return Mesh.joined(parts)


def pole_position(plan: Scenario) -> tuple[float, float, float]:
    """Foot of the pole, and the camera's height. Junctions have it in the far corner, facing the cross road."""
    if plan.event in ("cross", "light"):
        return CURB_M + 5.0, -plan.side * (CURB_M + 5.0), 7.0
    if plan.event == "bend":
        return 14.0, -plan.side * 10.0, 7.0
    return 10.0, plan.side * (CURB_M + 2.0), 7.0


def pole_target(plan: Scenario) -> tuple[float, float, float]:
    """Where the camera on the pole looks."""
    if plan.event == "cross":
        return -2.0, plan.side * 22.0, 0.0
    return (-16.0, -LANE_M / 2, 0.0) if plan.event != "bend" else (-8.0, -LANE_M / 2, 0.0)


def bodies(drive: Drive, time_s: float) -> list[Mesh]:
    """Everybody but the vehicle itself, and the lit lamps, at one moment."""
    meshes = [_body(actor, drive.index(time_s), time_s) for actor in drive.actors]
    if drive.scenario.event == "light":
        state = drive.lights[drive.index(time_s)]
        for x, y, z in ((-STOP_LINE_M + 1.0, -CURB_M - 0.8, 3.4), (STOP_LINE_M, -CURB_M - 0.8, 5.5)):
            meshes.append(shapes.traffic_light(state, LAMP_M).at(x, y, z))
    return meshes


def vehicle_itself(drive: Drive, time_s: float) -> Mesh:
    """The vehicle as the infrastructure sees it."""
    x, y, heading = drive.pose(time_s)
    ahead = standing(x + VEHICLE_MIDDLE_M * np.cos(heading), y + VEHICLE_MIDDLE_M * np.sin(heading), heading)
    k = drive.index(time_s)
    braking = k > 0 and (drive.speed_mps[k - 1] - drive.speed_mps[k]) * RATE_HZ > BRAKE_LIGHT_MPS2
    return shapes.car(*VEHICLE_BODY.size_m, VEHICLE_BODY.colour, braking=bool(braking)).moved(ahead)


def _body(actor: Actor, index: int, time_s: float) -> Mesh:
    x, y, heading = actor.pose(time_s)
    length, width, height = actor.body.size_m
    shape = {"Truck": shapes.truck, "Bus": shapes.bus}.get(actor.body.kind, shapes.car)
    mesh = shape(length, width, height, actor.body.colour, braking=bool(actor.braking[index]))
    return mesh.moved(standing(x, y, heading))


def _main_road(path: Path) -> list[Mesh]:
    every = slice(None, None, 4)
    middle = path.beside(LANE_M / 2)[every]
    right, left = path.beside(-LANE_M / 2 + 0.2)[every], path.beside(1.5 * LANE_M - 0.2)[every]
    line = {"width": 0.2, "z": 0.02, "colour": (232, 232, 226)}
    return [
        shapes.ribbon(middle, ROAD_M + 0.8),
        shapes.dashed(middle, 0.2, dash=3.0, gap=4.0),
        shapes.ribbon(right, **line),
        shapes.ribbon(left, **line),
    ]


def _cross_road() -> list[Mesh]:
    """Straight across the origin, with its own markings; the junction itself is bare."""
    ends = [(0.0, -REACH_M), (0.0, REACH_M)]
    legs = [[(0.0, sign * CURB_M), (0.0, sign * REACH_M)] for sign in (-1, 1)]
    bare = [(-CURB_M - 0.5, 0.0), (CURB_M + 0.5, 0.0)]
    stop = [(-STOP_LINE_M, -ROAD_M / 2 + 0.2), (-STOP_LINE_M, -0.2)]
    return [
        shapes.ribbon(np.array(ends), ROAD_M + 0.8, z=0.012),
        *(shapes.dashed(np.array(leg), 0.2, dash=3.0, gap=4.0, z=0.025) for leg in legs),
        shapes.ribbon(np.array(bare), ROAD_M, z=0.03),
        shapes.ribbon(np.array(stop), 0.5, z=0.04, colour=(232, 232, 226)),
    ]


@dataclass(frozen=True)
class House:
    """Upright, its walls along the axes of the junction frame."""

    centre: tuple[float, float]
    size_m: tuple[float, float, float]
    """Along x, along y, height."""
    colour: tuple[int, int, int]

    @property
    def rectangle(self) -> Rectangle:
        """Seen from above."""
        (x, y), (length, width, _) = self.centre, self.size_m
        return x - length / 2, y - width / 2, x + length / 2, y + width / 2


def corner_houses(plan: Scenario) -> list[House]:
    """Houses close to the near corners hide the cross road from the vehicle until it is there."""
    if plan.event not in ("cross", "light"):
        return []
    rng, houses = keyed_rng(*plan.seed, 6), []
    for side in (-1, 1):
        size = (rng.uniform(24, 34), rng.uniform(22, 30), rng.uniform(8, 12))
        near = (-CURB_M - 2.8 - size[0] / 2, side * (CURB_M + 2.4 + size[1] / 2))
        far = (rng.uniform(26, 34), side * rng.uniform(24, 30))
        houses.append(House(near, size, HOUSES[rng.integers(len(HOUSES))]))
        houses.append(House(far, (18.0, 16.0, rng.uniform(8, 18)), HOUSES[rng.integers(len(HOUSES))]))
    return houses


def _row_of_trees(path: Path, plan: Scenario, rng: np.random.Generator) -> list[Mesh]:
    """Along both sides, not where the junction, its houses or the pole are."""
    trees = []
    for offset in (-ROAD_M, 1.5 * ROAD_M + 1.0):
        line = path.beside(offset)
        for s in np.arange(rng.uniform(0, 12), path.length, 14.0):
            x, y = line[int(s / 0.25)]
            near_junction = plan.event in ("cross", "light") and (-48.0 < x < 20.0)
            near_pole = np.hypot(x - pole_position(plan)[0], y - pole_position(plan)[1]) < 22.0
            if not near_junction and not near_pole and rng.random() < 0.7:
                trees.append(shapes.tree(rng.uniform(5, 9), rng.uniform(1.5, 2.4)).at(x, y))
    return trees


def _parked(plan: Scenario, rng: np.random.Generator) -> list[Mesh]:
    """A few cars beside the approach that never move."""
    cars = []
    for _ in range(int(rng.integers(0, 4))):
        x = -plan.approach_m + rng.uniform(10.0, max(12.0, plan.approach_m - 50.0))
        if x < -52.0 or plan.event == "lead":
            cars.append(shapes.car(colour=(90, 92, 96)).moved(standing(x, -CURB_M - 1.4, 0.0)))
    return cars
