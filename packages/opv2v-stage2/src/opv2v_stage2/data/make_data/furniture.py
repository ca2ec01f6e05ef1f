"""What stands beside a road and can be told from its neighbours. x along the road, the road towards +y; metres."""

from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from drivelab_shared.scenes import Colour, Label, Mesh, shapes, standing
from opv2v_stage2.data.make_data.roads import Road

BRIGHT: tuple[Colour, ...] = (
    (206, 48, 44), (34, 84, 170), (240, 190, 30), (38, 130, 74), (226, 120, 36), (236, 236, 230), (120, 60, 140),
    (40, 160, 170),
)  # fmt: skip
WALLS: tuple[Colour, ...] = (
    (184, 160, 136), (150, 96, 80), (204, 198, 186), (120, 128, 140), (214, 182, 120), (168, 70, 58), (140, 156, 132),
    (226, 214, 196), (96, 104, 116), (190, 132, 100),
)  # fmt: skip

LEAVES: tuple[Colour, ...] = ((66, 104, 48), (92, 122, 50), (52, 88, 60), (150, 120, 46))
TREE_SIZES = ((5.5, 1.5), (6.5, 2.3), (7.5, 1.8), (8.5, 2.5), (10.0, 2.1))
"""Heights and radii of the crowns."""


def pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    """One of them, a little darker or brighter."""
    colour = np.array(colours[rng.integers(len(colours))]) * rng.uniform(0.85, 1.1)
    red, green, blue = (int(part) for part in np.clip(colour, 0, 255))
    return red, green, blue


def house(length: float, width: float, height: float, is_low: bool, rng: np.random.Generator) -> Mesh:
    """A building: a hipped roof on a low one, something on a flat one, often a shop sign at its front."""
    colour = pick(WALLS, rng)
    parts = [shapes.building(length, width, height, colour, rng.uniform(2.6, 4.6))]
    if is_low:
        eaves = (-length / 2 - 0.5, -width / 2 - 0.5, length / 2 + 0.5, width / 2 + 0.5)
        ridge = (-length / 4, -0.3, length / 4, 0.3)
        roof = pick(((140, 62, 48), (84, 82, 86), (112, 88, 70)), rng)
        parts.append(shapes.frustum(eaves, ridge, height + 0.3, height + 0.35 * width, roof, Label.BUILDING))
    else:
        size = rng.uniform(2, 4), rng.uniform(2, 4), rng.uniform(1.5, 4)
        at = rng.uniform(-length / 4, length / 4), 0.0, height + size[2] / 2
        parts.append(shapes.box(size, at, pick(WALLS, rng), Label.BUILDING))
    if rng.random() < 0.6:
        size, x = (length * rng.uniform(0.3, 0.8), 0.5, 0.9), rng.uniform(-0.1, 0.1) * length
        parts.append(shapes.box(size, (x, width / 2 + 0.25, 3.1), pick(BRIGHT, rng), Label.BUILDING))
    return Mesh.joined(parts)


def lamp(rng: np.random.Generator) -> Mesh:
    """A street lamp that reaches over the road."""
    return shapes.mast(rng.uniform(6.0, 8.5), rng.uniform(1.5, 3.0))


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign, towards those who arrive."""
    height, size = rng.uniform(2.2, 3.2), rng.uniform(0.6, 1.1)
    board = shapes.box((0.06, size, size), (0, 0, height + size / 2), pick(BRIGHT, rng), Label.POLE)
    return Mesh.joined([shapes.pole(height + 0.2, 0.06), board])


def billboard(rng: np.random.Generator) -> Mesh:
    """A large board with a smaller field in it on two posts."""
    width, height, foot = rng.uniform(2.5, 4.5), rng.uniform(1.8, 3.0), rng.uniform(1.0, 2.2)
    middle = foot + height / 2
    parts = [
        shapes.pole(foot + 0.2, 0.09).at(0, -width / 3),
        shapes.pole(foot + 0.2, 0.09).at(0, width / 3),
        shapes.box((0.16, width, height), (0, 0, middle), pick(BRIGHT, rng), Label.POLE),
        shapes.box((0.2, 0.5 * width, 0.5 * height), (0, 0, middle), pick(BRIGHT, rng), Label.POLE),
    ]
    return Mesh.joined(parts).moved(standing(0, 0, rng.uniform(-0.5, 0.5)))


def kiosk(rng: np.random.Generator) -> Mesh:
    """A hut with a lid of another colour."""
    size = rng.uniform(1.6, 2.6), rng.uniform(1.4, 2.0), rng.uniform(2.2, 2.8)
    lid = (size[0] + 0.5, size[1] + 0.5, 0.3)
    return Mesh.joined(
        [
            shapes.box(size, (0, 0, size[2] / 2), pick(BRIGHT, rng), Label.BUILDING),
            shapes.box(lid, (0, 0, size[2] + 0.15), pick(BRIGHT, rng), Label.BUILDING),
        ]
    )


def pillar(rng: np.random.Generator) -> Mesh:
    """An advertising column."""
    height = rng.uniform(2.4, 3.6)
    body = shapes.prism(8, rng.uniform(0.5, 0.8), height, pick(BRIGHT, rng), Label.POLE)
    return Mesh.joined([body, shapes.prism(8, 0.9, 0.3, pick(WALLS, rng), Label.POLE).at(0, 0, height)])


def hedge(rng: np.random.Generator) -> Mesh:
    """A few metres of it."""
    size = rng.uniform(3, 7), 1.0, rng.uniform(0.7, 1.4)
    return shapes.box(size, (0, 0, size[2] / 2), (70, 104, 52), Label.TREE)


def tree(rng: np.random.Generator) -> Mesh:
    """Of one of a few sizes and seasons."""
    height, radius = TREE_SIZES[rng.integers(len(TREE_SIZES))]
    grown = _tree(height, radius, LEAVES[rng.integers(len(LEAVES))])
    return grown.moved(standing(0, 0, rng.uniform(-np.pi, np.pi)))


@cache
def _tree(height: float, radius: float, colour: Colour) -> Mesh:
    """There are many of them, and their crowns take long to make."""
    return shapes.tree(height, radius, colour)


def gantry(half_span_m: float, rng: np.random.Generator) -> Mesh:
    """A bridge of signs across a motorway."""
    top = rng.uniform(6.3, 7.2)
    parts = [shapes.pole(top, 0.2).at(0, side * half_span_m) for side in (-1, 1)]
    parts.append(shapes.box((0.4, 2 * half_span_m, 0.5), (0, 0, top), (128, 132, 136), Label.POLE))
    for y in np.linspace(-0.7, 0.7, 4) * half_span_m:
        if rng.random() < 0.8:
            size = (0.2, rng.uniform(2.5, 4.0), rng.uniform(1.6, 2.4))
            parts.append(shapes.box(size, (0.3, y, top + 0.2), pick(((24, 74, 150), (20, 110, 70)), rng), Label.POLE))
    return Mesh.joined(parts)


def wall(
    line: Float64[np.ndarray, "points 2"], thickness: float, low_z: float, high_z: float, colours: tuple[Colour, ...],
    label: Label, rng: np.random.Generator,
) -> Mesh:  # fmt: skip
    """Upright panels along a line, each of one of the colours."""
    panels = []
    for start, end in pairwise(line):
        (dx, dy), (x, y) = end - start, (start + end) / 2
        size = (float(np.hypot(dx, dy)), thickness, high_z - low_z)
        panel = shapes.box(size, (0, 0, (low_z + high_z) / 2), pick(colours, rng), label)
        panels.append(panel.moved(standing(x, y, float(np.arctan2(dy, dx)))))
    return Mesh.joined(panels)


def bridge(road: Road, s: float, rng: np.random.Generator) -> Mesh:
    """A road above another one, between two ramps."""
    clearance, width = rng.uniform(5.2, 6.5), rng.uniform(8, 13)
    length, ramp = bridge_length(road), 24.0
    colour = pick(((158, 156, 150), (140, 136, 130), (176, 168, 154)), rng)
    parts = [shapes.overpass(length, width, clearance, colour)]
    for side in (-1, 1):
        size, middle = (ramp, width + 0.6, clearance + 1.2), side * (length + ramp) / 2
        parts.append(shapes.box(size, (middle, 0, size[2] / 2), (116, 122, 92), Label.GROUND))
    (x, y), heading = road.at(s)
    return Mesh.joined(parts).moved(standing(x, y, float(heading) + np.pi / 2))


def bridge_length(road: Road) -> float:
    """So that its pillars, a third of it from the middle, stand beside the asphalt."""
    return 3 * (road.half_width_m + 1.6)
