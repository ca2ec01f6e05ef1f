"""Solids that everything else is made of. All are closed, outside faces counter-clockwise."""

import numpy as np
from jaxtyping import Float64, Int32

from drivelab_shared.scenes.meshes import Colour, Label, Mesh


def box(
    size: tuple[float, float, float],
    centre: tuple[float, float, float],
    colour: Colour,
    label: Label,
    glows: bool = False,
) -> Mesh:
    """A box along the axes, 12 faces."""
    half = np.asarray(size, np.float64) / 2
    low, high = (centre - half)[:2], (centre + half)[:2]
    return frustum((*low, *high), (*low, *high), centre[2] - half[2], centre[2] + half[2], colour, label, glows)


def frustum(
    bottom: tuple[float, float, float, float],
    top: tuple[float, float, float, float],
    bottom_z: float,
    top_z: float,
    colour: Colour,
    label: Label,
    glows: bool = False,
) -> Mesh:
    """A body between two rectangles (low x, low y, high x, high y), 12 faces."""
    rings = [_corners(bottom, bottom_z), _corners(top, top_z)]
    return Mesh.plain(np.concatenate(rings), _prism_faces(4), colour, label, glows)


def prism(num_sides: int, radius: float, length: float, colour: Colour, label: Label, glows: bool = False) -> Mesh:
    """An upright pillar on the ground, 4 num_sides - 4 faces; `radius` is that of its corners."""
    angles = (np.arange(num_sides) + 0.5) * 2 * np.pi / num_sides
    ring = np.stack([radius * np.cos(angles), radius * np.sin(angles), np.zeros(num_sides)], axis=1)
    return Mesh.plain(
        np.concatenate([ring, ring + np.array([0, 0, length])]), _prism_faces(num_sides), colour, label, glows
    )


def ball(radius: float, colour: Colour, label: Label) -> Mesh:
    """An icosahedron around 0, 20 faces."""
    golden = (1 + 5**0.5) / 2
    pairs = np.array([[sign_a, sign_b * golden] for sign_a in (-1, 1) for sign_b in (-1, 1)])
    zeros = np.zeros((4, 1))
    corners = np.concatenate([np.roll(np.concatenate([zeros, pairs], axis=1), shift, axis=1) for shift in range(3)])
    return Mesh.plain(corners * radius / np.hypot(1, golden), _neighbours(corners), colour, label)


def _corners(rectangle: tuple[float, float, float, float], z: float) -> Float64[np.ndarray, "4 3"]:
    low_x, low_y, high_x, high_y = rectangle
    return np.array([[low_x, low_y, z], [high_x, low_y, z], [high_x, high_y, z], [low_x, high_y, z]], np.float64)


def _prism_faces(num_sides: int) -> Int32[np.ndarray, "faces 3"]:
    """A ring of corners seen from above (counter-clockwise), the same ring higher up, and both lids."""
    here = np.arange(num_sides)
    there = (here + 1) % num_sides
    fan = np.stack([np.zeros(num_sides - 2), here[1:-1], here[2:]], axis=1)
    sides = [
        np.stack(ring, axis=1)
        for ring in ((here, there, there + num_sides), (here, there + num_sides, here + num_sides))
    ]
    return np.concatenate([*sides, fan[:, ::-1], fan + num_sides]).astype(np.int32)


def _neighbours(corners: Float64[np.ndarray, "12 3"]) -> Int32[np.ndarray, "20 3"]:
    """All triples of corners that are one edge (2) apart, turned outwards."""
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    near = np.abs(apart - 2) < 1e-6
    triples = [
        (i, j, k) if np.linalg.det(corners[[i, j, k]]) > 0 else (i, k, j)
        for i in range(12)
        for j in range(i)
        for k in range(j)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    return np.array(triples, np.int32)
