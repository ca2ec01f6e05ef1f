"""Who is on the road, and where at which time. All vehicles of a lane keep one speed, so that nobody meets anybody."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drivelab_shared.scenes import Colour
from opv2v_stage2.data.make_data.actors import Actor, Kind, roadside_unit
from opv2v_stage2.data.make_data.plan import WORST_AGENTS, Scenario
from opv2v_stage2.data.make_data.roads import Road

GAP_M = 4.5
"""Between bumpers; a front camera sticks out a little."""
REACH_M = 110.0
"""How far from the middle of the street there is traffic."""
MOTORWAY_MPS = 22.0
WORST_APART_M = 49.47
"""Along the motorway, two lanes apart."""
COLOURS: list[Colour] = [
    (200, 30, 30), (30, 60, 180), (235, 235, 235), (25, 25, 28), (170, 175, 180), (230, 190, 40), (40, 120, 60),
    (190, 95, 30), (90, 30, 90), (120, 190, 200),
]  # fmt: skip
SIZES_M: dict[Kind, tuple[float, float, float]] = {
    "car": (4.5, 1.85, 1.5),
    "van": (5.0, 2.0, 2.0),
    "truck": (8.6, 2.5, 3.3),
    "bus": (11.5, 2.5, 3.1),
}
SHARES: dict[Kind, float] = {"car": 0.62, "van": 0.16, "truck": 0.12, "bus": 0.1}


@dataclass(eq=False)
class Lane:
    """A row of vehicles with the same speed."""

    road: Road
    offset_m: float
    is_forward: bool
    speed_mps: float
    allowed: tuple[float, float]
    """Arc lengths at time 0."""
    taken: list[tuple[float, float]] = field(default_factory=list)
    """Arc length and length of the vehicles in it."""

    def is_free(self, s: float, length_m: float) -> bool:
        """Whether a vehicle of that length fits there."""
        low, high = self.allowed
        gaps = [abs(s - other) - (length_m + other_length) / 2 for other, other_length in self.taken]
        return low <= s <= high and min(gaps, default=np.inf) >= GAP_M


def traffic(scenario: Scenario, roads: Sequence[Road]) -> tuple[tuple[Actor, ...], tuple[Actor, ...]]:
    """Those who record, the first one being the main vehicle, and the others.

    Args:
        scenario: what is asked for.
        roads: the main road, and in a crossing the other one, whose traffic waits.
    """
    rng = scenario.rng(1)
    factory = _Factory(rng)
    lanes = _lanes(scenario, roads, rng)
    agents = _worst_agents(factory, lanes) if scenario.is_worst else _agents(scenario, factory, lanes, rng)
    others = _others(scenario, factory, lanes, rng)
    if scenario.has_roadside:
        agents.append(roadside_unit(roads[0]))
    return tuple(agents), tuple(others)


class _Factory:
    """Makes vehicles of different looks with ids that do not repeat."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._next_id = int(rng.integers(2000, 8000))  # beyond those of WORST_AGENTS

    def vehicle(self, lane: Lane, s: float, kind: Kind, agent_id: int | None = None) -> Actor:
        """Somewhere in a lane, which is taken there from now on."""
        length, width, height = (size * self._rng.uniform(0.94, 1.06) for size in SIZES_M[kind])
        self._next_id += int(self._rng.integers(3, 12))
        lane.taken.append((s, length))
        roll, pitch = np.radians(np.clip(self._rng.normal(0, 0.7, 2), -1.5, 1.5))
        return Actor(
            id=self._next_id if agent_id is None else agent_id,
            kind=kind,
            size_m=(length, width, height),
            colour=COLOURS[self._rng.integers(len(COLOURS))],
            road=lane.road,
            offset_m=lane.offset_m + self._rng.uniform(-0.2, 0.2),
            is_forward=lane.is_forward,
            s=s,
            speed_mps=lane.speed_mps,
            tilt_rad=(float(roll), float(pitch)),
        )

    def kind(self) -> Kind:
        """Mostly cars."""
        return [*SHARES][self._rng.choice(len(SHARES), p=[*SHARES.values()])]


def _lanes(scenario: Scenario, roads: Sequence[Road], rng: np.random.Generator) -> list[Lane]:
    """The lanes of the main road, and those that wait at the crossing."""
    main = roads[0]
    middle = main.length_m / 2
    lanes = []
    for is_forward in (True, False):
        for number in range(main.num_lanes):
            speed = MOTORWAY_MPS if scenario.kind == "motorway" else rng.uniform(4.0, 10.0)
            offset = -main.lane_offset(number) if is_forward else main.lane_offset(number)
            lanes.append(Lane(main, offset, is_forward, speed, (middle - REACH_M, middle + REACH_M)))
    for road in roads[1:]:
        stop, centre = main.half_width_m + 7.0, road.length_m / 2
        lanes.append(Lane(road, -road.lane_offset(0), True, 0.0, (centre - 50.0, centre - stop)))
        lanes.append(Lane(road, road.lane_offset(0), False, 0.0, (centre + stop, centre + 50.0)))
    return lanes


def _worst_agents(factory: _Factory, lanes: Sequence[Lane]) -> list[Actor]:
    """1045 ahead in the outer lane, 1054 behind it in the inner one."""
    middle = lanes[0].road.length_m / 2
    places = ((lanes[2], middle + WORST_APART_M / 2), (lanes[0], middle - WORST_APART_M / 2))
    return [factory.vehicle(lane, s, "car", id_) for id_, (lane, s) in zip(WORST_AGENTS, places, strict=True)]


def _agents(scenario: Scenario, factory: _Factory, lanes: Sequence[Lane], rng: np.random.Generator) -> list[Actor]:
    """The main vehicle near the middle, the second one as far from it as planned, the third anywhere near."""
    first_lane = lanes[rng.integers(lanes[0].road.num_lanes)]
    agents = [factory.vehicle(first_lane, first_lane.road.length_m / 2 + rng.uniform(-30, 10), "car")]
    while len(agents) < scenario.num_agents:
        wanted_m = scenario.distance_m if len(agents) == 1 else rng.uniform(7.0, 50.0)
        lane, s = _place(agents[0], wanted_m, lanes, rng)
        agents.append(factory.vehicle(lane, s, "car"))
    return agents


def _place(first: Actor, wanted_m: float, lanes: Sequence[Lane], rng: np.random.Generator) -> tuple[Lane, float]:
    """A free place whose distance from the first vehicle, at time 0, is as close to the wanted one as it gets.

    Lanes are tried in random order until one is good to a metre.
    """
    centre = first.street_from_body(0.0)[:2, 3]
    best = (np.inf, lanes[0], 0.0)
    for index in rng.permutation(len(lanes)):
        lane = lanes[index]
        s = np.arange(lane.allowed[0], lane.allowed[1], 0.5)
        apart_m = np.linalg.norm(lane.road.at(s, lane.offset_m)[0] - centre, axis=1)
        miss_m = np.abs(apart_m - wanted_m) + rng.uniform(0, 0.5, len(s))  # ahead or behind, as it comes
        free = [(miss_m[i], lane, float(s[i])) for i in np.argsort(miss_m)[:40] if lane.is_free(s[i], 5.0)]
        best = min([best, *free[:1]], key=lambda entry: entry[0])
        if best[0] < 1.5:
            break
    return best[1], best[2]


def _others(scenario: Scenario, factory: _Factory, lanes: Sequence[Lane], rng: np.random.Generator) -> list[Actor]:
    """Traffic, and parked cars beside the main road."""
    moving = [(lane, factory.kind()) for lane in lanes for _ in range(int(rng.integers(1, 5)))]
    parked = [] if scenario.kind == "motorway" else [(lane, "car") for lane in _kerbs(scenario, lanes[0].road) * 7]
    actors = []
    for lane, kind in [*moving, *parked]:
        s = rng.uniform(*lane.allowed)
        if lane.is_free(s, 1.06 * SIZES_M[kind][0]):
            actors.append(factory.vehicle(lane, s, kind))
    return actors


def _kerbs(scenario: Scenario, road: Road) -> list[Lane]:
    """Rows of parked cars on both sides, before and behind a crossing."""
    middle = road.length_m / 2
    stretches = [(middle - 70, middle + 70)]
    if scenario.kind == "crossing":
        stretches = [(middle - 70, middle - 18), (middle + 18, middle + 70)]
    offset = road.edge_m + road.shoulder_m / 2
    return [Lane(road, side * offset, side < 0, 0.0, stretch) for side in (-1, 1) for stretch in stretches]
