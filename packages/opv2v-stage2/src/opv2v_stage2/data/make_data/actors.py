"""A vehicle or a roadside unit: what it looks like, and where it is at which time."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64

from drivelab_shared.scenes import Colour, Mesh, shapes, standing
from opv2v_stage2.data.make_data.roads import Road

BODY_HEIGHT_M = 0.03
"""Of a vehicle's origin above the road."""
LIDAR_ABOVE_M, LIDAR_BEHIND_M = 1.9, 0.5
"""Of the lidar, from the origin of its vehicle."""
ROADSIDE_LIDAR_M = 4.3
"""Of a roadside unit's lidar above its foot."""
Kind = Literal["car", "van", "truck", "bus", "mast"]
SHAPES = {"car": shapes.car, "van": shapes.car, "truck": shapes.truck, "bus": shapes.bus}


@dataclass(frozen=True, eq=False)
class Actor:
    """A vehicle, or a roadside unit, over the whole recording."""

    id: int
    """Negative for roadside units."""
    kind: Kind
    size_m: tuple[float, float, float]
    """Length, width and height."""
    colour: Colour
    road: Road
    offset_m: float
    """From the centre line, to the left."""
    is_forward: bool
    """Goes the way that the road counts."""
    s: float
    """Arc length at time 0."""
    speed_mps: float
    tilt_rad: tuple[float, float] = (0.0, 0.0)
    """Roll and pitch, right-handed."""
    lidar_above_m: float = LIDAR_ABOVE_M

    @property
    def is_roadside(self) -> bool:
        """Stands beside the road and is no vehicle."""
        return self.id < 0

    @cached_property
    def mesh(self) -> Mesh:
        """What it looks like: x forward, its origin on the ground below its middle."""
        if self.kind == "mast":
            return shapes.pole(self.size_m[2], self.size_m[0], self.colour)
        return SHAPES[self.kind](*self.size_m, self.colour)

    def along(
        self, times_s: Float64[np.ndarray, "*times"] | float
    ) -> tuple[Float64[np.ndarray, "*times 2"], Float64[np.ndarray, "*times"] | np.float64]:
        """Positions on the ground, and headings."""
        direction = 1 if self.is_forward else -1
        s = self.s + direction * self.speed_mps * np.asarray(times_s, np.float64)
        position, heading = self.road.at(s, self.offset_m)
        return position, heading if self.is_forward else heading + np.pi

    def street_from_body(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Pose of the origin, x forward, y left, z up."""
        (x, y), heading = self.along(time_s)
        return standing(x, y, heading, BODY_HEIGHT_M) @ _tilted(*self.tilt_rad)

    def street_from_lidar(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Pose of the lidar."""
        return self.street_from_body(time_s) @ standing(-LIDAR_BEHIND_M, 0, 0, self.lidar_above_m)

    def body(self, time_s: float) -> Mesh:
        """What others see."""
        return self.mesh.moved(self.street_from_body(time_s) @ standing(0, 0, 0, -BODY_HEIGHT_M))

    def speed_over_ground(self, time_s: float) -> float:
        """m/s, which in a bend differs from `speed_mps` along the centre line."""
        (behind, ahead), _ = self.along(time_s + np.array([-0.05, 0.05]))
        return float(np.linalg.norm(ahead - behind) / 0.1)


def roadside_place(road: Road) -> tuple[float, float]:
    """Arc length and offset of a roadside unit: clear of a crossing, beside the asphalt."""
    return road.length_m / 2 + 16.0, -road.half_width_m - 4.0


def roadside_unit(road: Road) -> Actor:
    """On a mast; faces back along the road."""
    s, offset = roadside_place(road)
    return Actor(
        id=-1,
        kind="mast",
        size_m=(0.12, 0.12, ROADSIDE_LIDAR_M + 0.4),
        colour=(112, 116, 120),
        road=road,
        offset_m=offset,
        is_forward=False,
        s=s,
        speed_mps=0.0,
        lidar_above_m=ROADSIDE_LIDAR_M,
    )


def _tilted(roll_rad: float, pitch_rad: float) -> Float64[np.ndarray, "4 4"]:
    """About x, then about y."""
    cr, sr, cp, sp = np.cos(roll_rad), np.sin(roll_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    return np.array([[cp, sp * sr, sp * cr, 0], [0, cr, -sr, 0], [-sp, cp * sr, cp * cr, 0], [0, 0, 0, 1]])
