"""Vehicles and people: x forward, the origin on the ground below the middle of the body."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from drivelab_shared.scenes.meshes import Colour, Label, Mesh
from drivelab_shared.scenes.shapes.primitives import ball, box, frustum, prism

GLASS = (28, 34, 42)
RUBBER = (24, 24, 26)
CHASSIS = (48, 48, 52)
HEAD_LIGHT = (255, 250, 225)
TAIL_LIGHT = (96, 8, 12)
BRAKE_LIGHT = (255, 36, 24)

_Rectangle = tuple[float, float, float, float]


def car(
    length: float = 4.5, width: float = 1.8, height: float = 1.5, colour: Colour = (176, 32, 36), braking: bool = False
) -> Mesh:
    """A saloon of about 300 faces. Its red lights are bright when it brakes, with a third one, and dark otherwise."""
    side = width / 2
    waist, bumper = 0.6 * height, 0.4 * height
    cabin = _cabin(
        (-0.45 * length, -0.96 * side, 0.24 * length, 0.96 * side),
        (-0.34 * length, -0.74 * side, 0.05 * length, 0.74 * side),
        waist,
        height,
        colour,
    )
    ends, shoulders = (-length / 2, -side, length / 2, side), (-0.48 * length, -0.97 * side, 0.44 * length, 0.97 * side)
    parts = [
        frustum(ends, ends, 0.14 * height, bumper, colour, Label.VEHICLE),
        frustum(ends, shoulders, bumper, waist, colour, Label.VEHICLE),
        cabin,
        *_wheels([-0.3 * length, 0.3 * length], width, 0.22 * height),
        *_lights(length, width, 0.42 * height, 0.15 * height, braking),
        _brake_bar(-0.43 * length, 0.7 * height, 0.4 * width, braking),
    ]
    return Mesh.joined(parts)


def truck(
    length: float = 9.0,
    width: float = 2.5,
    height: float = 3.4,
    colour: Colour = (212, 212, 206),
    braking: bool = False,
) -> Mesh:
    """A lorry of about 300 faces: a cab of `colour` before a light grey box."""
    front, side = length / 2, width / 2
    cab, bed = front - 2.0, 0.3 * height
    doors = (cab, -0.95 * side, front, 0.95 * side)
    roof = (cab, -0.9 * side, front - 0.25, 0.9 * side)
    load = front - 2.2 + length / 2
    parts = [
        box((length - 0.3, 0.8 * width, 0.4), (-0.15, 0, bed - 0.2), CHASSIS, Label.VEHICLE),
        frustum(doors, doors, 0.12 * height, 0.45 * height, colour, Label.VEHICLE),
        _cabin(doors, roof, 0.45 * height, 0.8 * height, colour),
        box(
            (load, width, height - bed), (-length / 2 + load / 2, 0, (height + bed) / 2), (222, 222, 216), Label.VEHICLE
        ),
        *_wheels([front - 1.2, -0.2 * length, -0.34 * length], width, 0.48),
        *_lights(length, width, bed - 0.35, 0.3, braking),
        _brake_bar(-length / 2, bed + 0.2, 0.5 * width, braking),
    ]
    return Mesh.joined(parts)


def bus(
    length: float = 12.0, width: float = 2.5, height: float = 3.1, colour: Colour = (36, 96, 168), braking: bool = False
) -> Mesh:
    """A city bus of about 300 faces."""
    half = (-length / 2, -width / 2, length / 2, width / 2)
    num_windows = max(2, round(length / 1.8))
    low, high = 0.42 * height, 0.8 * height
    edges = np.linspace(-length / 2 + 0.3, length / 2 - 0.3, num_windows + 1)
    panes = [
        box((end - start - 0.2, 0.02, high - low), ((start + end) / 2, y, (low + high) / 2), GLASS, Label.VEHICLE)
        for start, end in pairwise(edges)
        for y in (-width / 2, width / 2)
    ]
    parts = [
        frustum(half, half, 0.11 * height, height, colour, Label.VEHICLE),
        *panes,
        box(
            (0.02, 0.9 * width, high - 0.3 * height), (length / 2, 0, 0.5 * (high + 0.3 * height)), GLASS, Label.VEHICLE
        ),
        box((0.02, 0.8 * width, high - low), (-length / 2, 0, (low + high) / 2), GLASS, Label.VEHICLE),
        *_wheels([-0.25 * length, 0.3 * length], width, 0.5),
        *_lights(length, width, 0.17 * height, 0.32, braking),
        _brake_bar(-length / 2, 0.88 * height, 0.5 * width, braking),
    ]
    return Mesh.joined(parts)


def pedestrian(height: float = 1.75, colour: Colour = (60, 80, 150)) -> Mesh:
    """Legs, a body of `colour` and a head, about 50 faces."""
    hip, neck = 0.47 * height, 0.84 * height
    parts = [
        frustum((-0.1, -0.14, 0.1, 0.14), (-0.11, -0.17, 0.11, 0.17), 0, hip, (44, 44, 56), Label.PERSON),
        frustum((-0.12, -0.2, 0.12, 0.2), (-0.12, -0.24, 0.12, 0.24), hip, neck, colour, Label.PERSON),
        ball(0.09 * height, (198, 156, 128), Label.PERSON).at(0, 0, 0.92 * height),
    ]
    return Mesh.joined(parts)


def _cabin(bottom: _Rectangle, top: _Rectangle, bottom_z: float, top_z: float, colour: Colour) -> Mesh:
    """A frustum with a window in each of its four sides."""
    solid = frustum(bottom, top, bottom_z, top_z, colour, Label.VEHICLE)
    ring, roof = solid.vertices[:4], solid.vertices[4:]
    sides = [(ring[i], ring[(i + 1) % 4], roof[(i + 1) % 4], roof[i]) for i in range(4)]
    return Mesh.joined([solid, *(_pane(np.stack(side)) for side in sides)])


def _pane(side: Float64[np.ndarray, "4 3"]) -> Mesh:
    """A window in a side (counter-clockwise from its lower left corner) that stands out by 1 cm."""
    across, up = np.array([0.08, 0.92, 0.92, 0.08]), np.array([0.12, 0.12, 0.86, 0.86])
    weights = np.stack([(1 - across) * (1 - up), across * (1 - up), across * up, (1 - across) * up], axis=1)
    normal = np.cross(side[1] - side[0], side[3] - side[0])
    corners = weights @ side + 0.01 * normal / np.linalg.norm(normal)
    return Mesh.plain(corners, [(0, 1, 2), (0, 2, 3)], GLASS, Label.VEHICLE)


def _wheels(axles_x: Sequence[float], width: float, radius: float) -> list[Mesh]:
    """A pair for every axle, standing on the ground and out of the sides by 2 cm."""
    thickness = 0.14 * width
    lying = np.array([[1, 0, 0, 0], [0, 0, -1, thickness / 2], [0, 1, 0, radius], [0, 0, 0, 1]], np.float64)
    wheel = prism(10, radius, thickness, RUBBER, Label.VEHICLE).moved(lying)
    out = width / 2 - thickness / 2 + 0.02
    return [wheel.at(x, y) for x in axles_x for y in (-out, out)]


def _lights(length: float, width: float, z: float, size: float, braking: bool) -> list[Mesh]:
    """White ones in front, red ones at the back, at the corners and out of the body by 2 cm."""
    red = BRAKE_LIGHT if braking else TAIL_LIGHT
    wide = 0.24 * width
    out = width / 2 - wide / 2
    return [
        box((0.08, wide, size), (x, y, z + size / 2), colour, Label.VEHICLE, glows=True)
        for x, colour in ((length / 2 - 0.02, HEAD_LIGHT), (-length / 2 + 0.02, red))
        for y in (-out, out)
    ]


def _brake_bar(x: float, z: float, width: float, braking: bool) -> Mesh:
    """The third brake light, which cannot be seen unless it is lit."""
    colour = BRAKE_LIGHT if braking else CHASSIS
    return box((0.08, width, 0.08), (x, 0, z), colour, Label.VEHICLE, glows=braking)
