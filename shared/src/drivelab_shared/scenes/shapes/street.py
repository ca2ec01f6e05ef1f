"""Everything that stands in or lies on a street."""

from typing import Literal

import numpy as np
from jaxtyping import Float64, Real

from drivelab_shared.scenes.meshes import Colour, Label, Mesh
from drivelab_shared.scenes.shapes.primitives import box, prism

ASPHALT = (84, 85, 88)
PAINT = (236, 236, 228)
GRASS = (104, 124, 76)
CONCRETE = (158, 156, 150)
STEEL = (112, 116, 120)
HOUSING = (26, 28, 28)

ROAD_Z = 0.0
"""Height of the road, on which vehicles stand. Layers lie above one another: equal heights would flicker."""
PAINT_Z = 0.01
GROUND_Z = -0.05

SignalState = Literal["red", "red_amber", "amber", "green", "off"]
_LIT: dict[SignalState, tuple[bool, bool, bool]] = {
    "red": (True, False, False),
    "red_amber": (True, True, False),
    "amber": (False, True, False),
    "green": (False, False, True),
    "off": (False, False, False),
}
_LAMPS = [((255, 48, 40), (70, 14, 14)), ((255, 190, 40), (70, 52, 12)), ((50, 255, 130), (10, 62, 34))]
"""Lit and unlit, from the top."""


def ground(
    centre: tuple[float, float], size: float, colour: Colour = GRASS, z: float = GROUND_Z, tile: float | None = None
) -> Mesh:
    """A square of `size` m; in squares of about `tile` m, so that `mottled` has something to work on."""
    count = 1 if tile is None else max(1, round(size / tile))
    edges = np.linspace(-size / 2, size / 2, count + 1)
    x, y = np.meshgrid(edges + centre[0], edges + centre[1], indexing="ij")
    row, column = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    corner = (row * (count + 1) + column).ravel()
    quads = np.stack([corner, corner + count + 1, corner + count + 2, corner + 1], axis=1)
    vertices = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
    return Mesh.plain(vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), colour, Label.GROUND)


def ribbon(
    polyline: Real[np.ndarray, "points 2"],
    width: float,
    z: float = ROAD_Z,
    colour: Colour = ASPHALT,
    label: Label = Label.ROAD,
) -> Mesh:
    """A flat band along a line: a road, a pavement, a line of paint. As wide in its bends as between them.

    Raises:
        ValueError: fewer than two points that differ.
    """
    line = _distinct(polyline)
    left = _left_of_points(line) * width / 2
    num_points = len(line)
    vertices = np.concatenate([line - left, line + left])
    here = np.arange(num_points - 1)
    right_side = np.stack([here, here + 1, here + 1 + num_points], axis=1)
    left_side = np.stack([here, here + 1 + num_points, here + num_points], axis=1)
    faces = np.stack([right_side, left_side], axis=1).reshape(-1, 3)
    return Mesh.plain(np.column_stack([vertices, np.full(len(vertices), z)]), faces, colour, label)


def dashed(
    polyline: Real[np.ndarray, "points 2"],
    width: float,
    dash: float = 3.0,
    gap: float = 6.0,
    z: float = PAINT_Z,
    colour: Colour = PAINT,
    label: Label = Label.MARKING,
) -> Mesh:
    """Ribbons of `dash` m with `gap` m between them. A zebra crossing is one that is wide, with dash = gap = 0.5.

    Raises:
        ValueError: fewer than two points that differ, or a dash or gap that is not positive.
    """
    if not (dash > 0 and gap > 0):
        raise ValueError(f"dashed: expected dash and gap > 0, got {dash} and {gap}")
    line = _distinct(polyline)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    dashes = []
    for start in np.arange(0, along[-1], dash + gap):
        end = min(start + dash, along[-1])
        at = np.concatenate([[start], along[(along > start) & (along < end)], [end]])
        points = np.stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])], axis=1)
        if end - start > 1e-6:
            dashes.append(ribbon(points, width, z, colour, label))
    return Mesh.joined(dashes)


def pole(height: float = 6.0, radius: float = 0.08, colour: Colour = STEEL) -> Mesh:
    """A post, its foot at the origin."""
    return prism(6, radius, height, colour, Label.POLE)


def mast(height: float = 6.0, arm: float = 5.0, colour: Colour = STEEL) -> Mesh:
    """A post with an arm at its top that reaches `arm` m towards +y, for what hangs above a lane."""
    return Mesh.joined(
        [pole(height, 0.1, colour), box((0.12, arm, 0.12), (0, arm / 2, height - 0.06), colour, Label.POLE)]
    )


def traffic_light(state: SignalState, lamp: float = 0.5) -> Mesh:
    """Three lamps of `lamp` m in a black housing around the origin, red at the top.

    The lamps face -x: turned to the heading of the traffic, the head faces those who arrive.

    Raises:
        ValueError: the state is unknown.
    """
    if state not in _LIT:
        raise ValueError(f"traffic_light: state: expected one of {', '.join(_LIT)}, got {state!r}")
    depth, pitch = 0.25, 1.2 * lamp
    parts = [box((depth, 1.3 * lamp, 3 * pitch + 0.2 * lamp), (0, 0, 0), HOUSING, Label.TRAFFIC_LIGHT)]
    facing = np.array([[0, 0, -1, -depth / 2], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    for row, (lit, (bright, dark)) in enumerate(zip(_LIT[state], _LAMPS, strict=True)):
        disc = prism(8, lamp / 2, 0.03, bright if lit else dark, Label.TRAFFIC_LIGHT, glows=lit)
        parts.append(disc.moved(facing).at(0, 0, (1 - row) * pitch))
    return Mesh.joined(parts)


def overpass(length: float = 40.0, width: float = 12.0, clearance: float = 5.5, colour: Colour = CONCRETE) -> Mesh:
    """A bridge along x with its middle above the origin: deck, parapets, two pairs of pillars."""
    deck, parapet = 1.2, 1.0
    top = clearance + deck
    parts = [box((length, width, deck), (0, 0, clearance + deck / 2), colour, Label.BRIDGE)]
    for side in (-1, 1):
        y = side * (width / 2 - 0.15)
        parts.append(box((length, 0.3, parapet), (0, y, top + parapet / 2), (186, 184, 178), Label.BRIDGE))
        for x in (-length / 3, length / 3):
            parts.append(prism(8, 0.6, clearance, colour, Label.BRIDGE).at(x, side * width / 3))
    return Mesh.joined(parts)


def _distinct(polyline: Real[np.ndarray, "points 2"]) -> Float64[np.ndarray, "distinct 2"]:
    line = np.asarray(polyline, np.float64)
    line = line[np.concatenate([[True], np.linalg.norm(np.diff(line, axis=0), axis=1) > 1e-9])]
    if len(line) < 2:
        raise ValueError(f"polyline: expected at least two points that differ, got {len(line)}")
    return line


def _left_of_points(line: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, "points 2"]:
    """From each point to the left edge of a band of half width 1, mitred in the bends."""
    steps = np.diff(line, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.linalg.norm(steps, axis=1, keepdims=True)
    before, after = np.concatenate([normals[:1], normals]), np.concatenate([normals, normals[-1:]])
    # (a + b) / (1 + a.b) has length 1 / cos(half the bend); hairpins are cut off instead of reaching to infinity.
    return (before + after) / np.maximum(1 + (before * after).sum(axis=1, keepdims=True), 0.3)
