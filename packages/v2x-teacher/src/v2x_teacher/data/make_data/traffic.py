"""Drives that cannot be guessed from the vehicle's own motion: what happens next stands in the pictures.

    bend    the road turns, and the driver slows down for it in time
    lead    the car ahead brakes, and its lights say so
    light   a traffic light is red, green, or changes
    cross   others have the right of way at a junction whose corners are built up: only the infrastructure sees them

The driver knows what both cameras see. Car following and braking for a line: Treiber, Hennecke and Helbing, Congested
traffic states in empirical observations and microscopic simulations, 2000 (IDM). Junction frame: metres, origin in the
middle of the junction (or of the bend), x along the vehicle's approach, z up; traffic keeps to the right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from drivelab_shared.seeding import keyed_rng
from v2x_teacher.data.make_data.paths import Path

Event = Literal["bend", "lead", "light", "cross"]
EVENTS: tuple[Event, ...] = ("cross", "light", "cross", "bend", "lead")
"""In turn over the drives: two in five have a junction with cross traffic."""

RATE_HZ = 50
LANE_M = 3.5
ROAD_M = 2 * LANE_M
STOP_LINE_M = 8.0
"""From the middle of the junction."""
ZONE_M = 6.0
"""Half the length of the conflict zone on either road."""
SPEED_MPS = (7.0, 11.5)
LATERAL_MPS2 = 2.2
COMFORT_MPS2 = 2.0
STRONGEST_MPS2 = 6.0
BRAKE_LIGHT_MPS2 = 0.6
"""Deceleration from which on the brake lights are lit."""


@dataclass(frozen=True)
class Body:
    """What another road user looks like."""

    kind: Literal["Car", "Van", "Truck", "Bus"]
    size_m: tuple[float, float, float]
    colour: tuple[int, int, int]


VEHICLE_BODY, VEHICLE_MIDDLE_M = Body("Car", (4.08, 1.85, 1.6), (40, 190, 200)), 1.2
"""The vehicle itself, whose middle is ahead of its reference point."""
FRONT_M = VEHICLE_MIDDLE_M + VEHICLE_BODY.size_m[0] / 2
"""From the reference point to the front bumper."""


@dataclass(frozen=True, eq=False)
class Actor:
    """Another road user over the whole drive."""

    body: Body
    path: Path
    s: Float64[np.ndarray, " times"]
    """Arc length of its middle on the path."""
    braking: np.ndarray

    def pose(self, time_s: float) -> tuple[float, float, float]:
        """x, y and heading of its middle."""
        return _pose(self.path, np.interp(time_s * RATE_HZ, np.arange(len(self.s)), self.s))


@dataclass(frozen=True)
class Scenario:
    """What is fixed before anybody moves."""

    event: Event
    seed: tuple[int, ...]
    seconds: float
    cruise_mps: float
    arrival_s: float
    """When the vehicle would reach the event at its cruising speed."""
    side: int
    """1: cross traffic comes from, or the bend turns to, the left; -1: the right."""
    bend_radius_m: float
    bend_angle: float
    num_crossing: int
    """Vehicles with the right of way; 0 in a part of the `cross` drives."""
    light_switch_s: float
    light_first: Literal["red", "green"]
    lead_distance_m: float
    """0: nobody ahead."""
    lead_brakes_s: float
    lead_slows_to_mps: float
    lead_pause_s: float

    @property
    def approach_m(self) -> float:
        """Distance from the start to the middle of the event."""
        return self.cruise_mps * self.arrival_s + STOP_LINE_M


@dataclass(frozen=True, eq=False)
class Drive:
    """Everything that moved, at 50 Hz."""

    scenario: Scenario
    times_s: Float64[np.ndarray, " times"]
    path: Path
    s: Float64[np.ndarray, " times"]
    """Of the vehicle's reference point."""
    speed_mps: Float64[np.ndarray, " times"]
    actors: tuple[Actor, ...]
    lights: tuple[str, ...]
    """State of the traffic light facing the vehicle: red, red_amber, green, amber or off, per time."""

    def index(self, time_s: float) -> int:
        """The time step at or before a time."""
        return int(np.clip(np.floor(time_s * RATE_HZ + 1e-6), 0, len(self.times_s) - 1))

    def pose(self, time_s: float) -> tuple[float, float, float]:
        """x, y and heading of the vehicle's reference point."""
        return _pose(self.path, np.interp(time_s, self.times_s, self.s))


def _pose(path: Path, s: float) -> tuple[float, float, float]:
    position, heading = path.at(s)
    return float(position[0]), float(position[1]), float(heading)


def scenario(seed: int, index: int, seconds: float) -> Scenario:
    """Drive `index`: a pure function of its arguments."""
    rng = keyed_rng(seed, index)
    event = EVENTS[index % len(EVENTS)]
    cruise = rng.uniform(*SPEED_MPS)
    has_lead = event == "lead" or rng.random() < 0.25
    return Scenario(
        event=event,
        seed=(seed, index),
        seconds=seconds,
        cruise_mps=cruise,
        arrival_s=rng.uniform(0.35, 0.6) * seconds,
        side=1 if rng.random() < 0.5 else -1,
        bend_radius_m=rng.uniform(12.0, 35.0),
        bend_angle=rng.uniform(0.7, np.pi / 2),
        num_crossing=int(rng.integers(1, 4)) if rng.random() < 0.6 else 0,
        light_switch_s=rng.uniform(0.15, 0.85) * seconds,
        light_first="red" if rng.random() < 0.55 else "green",
        lead_distance_m=rng.uniform(14.0, 32.0) if has_lead else 0.0,
        lead_brakes_s=rng.uniform(0.1, 0.6) * seconds if event == "lead" else np.inf,
        lead_slows_to_mps=float(rng.choice([0.0, 0.0, 0.4])) * cruise,
        lead_pause_s=rng.uniform(2.0, 6.0),
    )


def simulate(plan: Scenario, ego_brakes_at_s: float = np.inf) -> Drive:
    """Let everybody drive. From `ego_brakes_at_s` on the vehicle brakes to a stop, whatever happens (for tests)."""
    rng = keyed_rng(*plan.seed, 1)
    times = np.arange(round(plan.seconds * RATE_HZ) + 1) / RATE_HZ
    path = ego_path(plan)
    lights = _lights(plan, times)
    others = [*_crossing(plan, times, rng), *_oncoming(plan, times, rng)]
    lead = _lead(plan, path, times, lights, rng) if plan.lead_distance_m else None
    s, speed = _drive(plan, path, times, lights, others, lead, ego_brakes_at_s)
    actors = (*others, *([lead] if lead else []))
    return Drive(plan, times, path, s, speed, actors, lights)


def ego_path(plan: Scenario) -> Path:
    """The vehicle's lane, which starts `approach_m` before the origin."""
    start, length = (-plan.approach_m, -LANE_M / 2), plan.seconds * SPEED_MPS[1] + plan.approach_m
    if plan.event != "bend":
        return Path.straight(start, 0.0, length)
    bend = plan.bend_radius_m * plan.bend_angle
    return Path.bent(start, 0.0, length, plan.approach_m - bend / 2, bend, plan.side / plan.bend_radius_m)


# --- the others -------------------------------------------------------------------------------------------------------

COLOURS = [(200, 30, 30), (30, 60, 180), (235, 235, 235), (25, 25, 28), (170, 175, 180), (230, 190, 40), (40, 120, 60)]
SIZES = {"Car": (4.5, 1.85, 1.5), "Van": (5.2, 2.0, 2.1), "Truck": (8.0, 2.4, 3.1), "Bus": (11.0, 2.5, 3.2)}


def _body(rng: np.random.Generator, kinds: tuple[str, ...] = ("Car", "Car", "Van", "Truck", "Bus")) -> Body:
    kind = kinds[rng.integers(len(kinds))]
    return Body(kind, SIZES[kind], COLOURS[rng.integers(len(COLOURS))])


def _crossing(plan: Scenario, times: np.ndarray, rng: np.random.Generator) -> list[Actor]:
    """Vehicles that go straight across at a steady speed, the first at about the time the vehicle would arrive."""
    if plan.event != "cross" or not plan.num_crossing:
        return []
    heading = -plan.side * np.pi / 2
    reach, speed = 160.0, rng.uniform(6.0, 9.0)
    # Their own right-hand lane.
    path = Path.straight((plan.side * -LANE_M / 2, plan.side * reach), heading, 2 * reach)
    meets, actors = plan.arrival_s + rng.uniform(-0.8, 1.2), []
    for _ in range(plan.num_crossing):
        s = reach + (times - meets) * speed
        actors.append(Actor(_body(rng), path, s, np.zeros(len(times), dtype=bool)))
        meets += rng.uniform(1.8, 3.0) + actors[-1].body.size_m[0] / speed
    return actors


def _oncoming(plan: Scenario, times: np.ndarray, rng: np.random.Generator) -> list[Actor]:
    """Traffic in the other direction: there to be looked at, and of no consequence."""
    own = ego_path(plan)
    points = own.beside(LANE_M)[::-1]
    path = Path(points, own.headings[::-1] + np.pi)
    count = int(rng.integers(0, 3))
    speeds, starts = rng.uniform(6.0, 10.0, count), rng.uniform(0.0, own.length * 0.8, count)
    if plan.event == "light":  # theirs would have to stop too
        return []
    return [
        Actor(_body(rng), path, start + times * speed, np.zeros(len(times), dtype=bool))
        for speed, start in zip(speeds, starts, strict=True)
    ]


def _lead(plan: Scenario, path: Path, times: np.ndarray, lights: tuple[str, ...], rng: np.random.Generator) -> Actor:
    """The car ahead: obeys the light and the bend, and in a `lead` drive brakes once and goes on."""
    body = _body(rng, ("Car", "Car", "Van", "Truck"))
    s, speed = np.zeros(len(times)), np.zeros(len(times))
    s[0], speed[0] = plan.lead_distance_m, plan.cruise_mps
    acceleration = np.zeros(len(times))
    limit = _speed_limit(path)
    for k in range(len(times) - 1):
        wanted = plan.cruise_mps
        if plan.lead_brakes_s <= times[k] < plan.lead_brakes_s + plan.cruise_mps / COMFORT_MPS2 + plan.lead_pause_s:
            wanted = plan.lead_slows_to_mps
        a = _towards(speed[k], min(wanted, limit(s[k], speed[k])))
        if plan.event == "light":
            a = min(a, _for_the_light(plan, s[k] + body.size_m[0] / 2, speed[k], lights[k]))
        acceleration[k] = a
        s[k + 1], speed[k + 1] = _step(s[k], speed[k], a)
    return Actor(body, path, s, (acceleration < -BRAKE_LIGHT_MPS2) | (speed < 0.3))


def _lights(plan: Scenario, times: np.ndarray) -> tuple[str, ...]:
    """One change per drive. Red announces green 1.5 s ahead; green passes through 3 s of amber."""
    if plan.event != "light":
        return ("off",) * len(times)
    switch = plan.light_switch_s
    if plan.light_first == "red":
        return tuple("red" if t < switch - 1.5 else "red_amber" if t < switch else "green" for t in times)
    return tuple("green" if t < switch else "amber" if t < switch + 3.0 else "red" for t in times)


# --- driving ----------------------------------------------------------------------------------------------------------


def _drive(
    plan: Scenario,
    path: Path,
    times: np.ndarray,
    lights: tuple[str, ...],
    others: list[Actor],
    lead: Actor | None,
    brakes_at_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Arc length and speed of the vehicle over time."""
    s, speed = np.zeros(len(times)), np.zeros(len(times))
    speed[0] = plan.cruise_mps
    limit = _speed_limit(path)
    crossing = [actor for actor in others if plan.event == "cross" and abs(np.sin(actor.path.headings[0])) > 0.5]
    for k in range(len(times) - 1):
        a = _towards(speed[k], min(plan.cruise_mps, limit(s[k], speed[k])))
        if lead is not None:
            gap = lead.s[k] - lead.body.size_m[0] / 2 - s[k] - FRONT_M
            closing = speed[k] - (lead.s[k + 1] - lead.s[k]) * RATE_HZ
            a = min(a, _following(speed[k], plan.cruise_mps, gap, closing))
        if plan.event == "light":
            a = min(a, _for_the_light(plan, s[k] + FRONT_M, speed[k], lights[k]))
        if crossing:
            a = min(a, _for_others(plan, s[k] + FRONT_M, speed[k], crossing, k))
        if times[k] >= brakes_at_s:
            a = -STRONGEST_MPS2
        s[k + 1], speed[k + 1] = _step(s[k], speed[k], a)
    return s, speed


def _step(s: float, speed: float, a: float) -> tuple[float, float]:
    a = float(np.clip(a, -STRONGEST_MPS2, COMFORT_MPS2))
    after = max(speed + a / RATE_HZ, 0.0)
    return s + (speed + after) / 2 / RATE_HZ, after


def _towards(speed: float, wanted: float) -> float:
    """Acceleration towards a wanted speed: gently up, comfortably down."""
    return float(np.clip(1.2 * (wanted - speed), -1.5 * COMFORT_MPS2, 1.6))


def _following(speed: float, cruise: float, gap: float, closing: float) -> float:
    """IDM."""
    wanted = 2.0 + max(0.0, speed * 1.2 + speed * closing / (2 * np.sqrt(1.6 * COMFORT_MPS2)))
    return 1.6 * (1 - (speed / cruise) ** 4 - (wanted / max(gap, 0.1)) ** 2)


def _for_line(distance: float, speed: float) -> float:
    """Acceleration that ends half a metre before the line: none while there is room, then what it takes."""
    needed = speed**2 / (2 * max(distance - 0.5, 0.1))
    return -needed if needed > 0.8 * COMFORT_MPS2 or distance < 1.5 else np.inf


def _for_the_light(plan: Scenario, front: float, speed: float, light: str) -> float:
    """Stop at red; at amber if that is comfortable."""
    distance = plan.approach_m - STOP_LINE_M - front
    needed = speed**2 / (2 * max(distance, 0.1))
    must_stop = light in ("red", "red_amber") or (light == "amber" and needed < 3.0)
    return _for_line(distance, speed) if distance > -0.5 and must_stop and needed < STRONGEST_MPS2 else np.inf


def _for_others(plan: Scenario, front: float, speed: float, crossing: list[Actor], k: int) -> float:
    """Give way to whoever will be in the junction before the vehicle has left it."""
    distance = plan.approach_m - STOP_LINE_M - front
    if distance < -0.5 or speed**2 / (2 * max(distance, 0.1)) > STRONGEST_MPS2:
        return np.inf
    arrives = distance / max(speed, 2.0)
    for actor in crossing:
        pace = (actor.s[k + 1] - actor.s[k]) * RATE_HZ
        half = actor.path.length / 2
        enters = (half - ZONE_M - actor.body.size_m[0] / 2 - actor.s[k]) / pace
        leaves = (half + ZONE_M + actor.body.size_m[0] / 2 - actor.s[k]) / pace
        if leaves > max(arrives - 0.5, 0.0) and enters < arrives + 3.5:
            return _for_line(distance, speed)
    return np.inf


def _speed_limit(path: Path) -> Callable[[float, float], float]:
    """Largest speed that still lets the vehicle slow down comfortably for what the road does next."""
    kappa = np.maximum(np.abs(path.curvature()), 1e-6)
    allowed = np.minimum(np.sqrt(LATERAL_MPS2 / kappa), SPEED_MPS[1] + 5)
    for i in range(len(allowed) - 2, -1, -1):
        allowed[i] = min(allowed[i], np.sqrt(allowed[i + 1] ** 2 + 2 * 0.7 * COMFORT_MPS2 * 0.25))
    # The driver looks 0.8 s ahead, which is how much the speed lags behind what is wanted.
    return lambda s, speed: float(allowed[min(int((s + 0.8 * speed) / 0.25), len(allowed) - 1)])
