"""What lines a street and reaches above it."""

from dataclasses import replace

import numpy as np

from drivelab_shared.scenes.meshes import Colour, Label, Mesh, mottled, standing
from drivelab_shared.scenes.shapes.primitives import ball, box, prism

FLOOR_HEIGHT_M = 3.2
WINDOW = (58, 72, 88)
BRIGHT_WINDOW = (134, 150, 164)


def building(
    length: float = 16.0,
    width: float = 12.0,
    height: float = 12.0,
    colour: Colour = (184, 160, 136),
    window_spacing: float = 4.0,
) -> Mesh:
    """Walls with rows of windows and a flat roof; the middle of its floor is the origin. 2 faces per window."""
    half = length / 2, width / 2
    edge = tuple(int(0.75 * part) for part in colour)
    parts = [
        box((length, width, height), (0, 0, height / 2), colour, Label.BUILDING),
        box((length + 0.4, width + 0.4, 0.4), (0, 0, height + 0.2), edge, Label.BUILDING),
        *_windows(length, half[1], height, window_spacing, 0.0),
        *_windows(width, half[0], height, window_spacing, np.pi / 2),
    ]
    return Mesh.joined(parts)


def tree(height: float = 8.0, crown_radius: float = 2.2, colour: Colour = (66, 104, 48)) -> Mesh:
    """A trunk and a crown of two low-poly balls, 60 faces; its foot is the origin."""
    crown = Mesh.joined(
        [
            ball(crown_radius, colour, Label.TREE).at(0, 0, height - 1.5 * crown_radius),
            ball(0.75 * crown_radius, colour, Label.TREE).at(0.2 * crown_radius, 0, height - 0.75 * crown_radius),
        ]
    )
    trunk = prism(6, 0.07 * crown_radius + 0.05, height - 1.5 * crown_radius, (92, 70, 52), Label.TREE)
    return Mesh.joined([trunk, mottled(crown, np.random.default_rng(0), 0.2)])


def _windows(wall: float, distance: float, height: float, spacing: float, turn_rad: float) -> list[Mesh]:
    """Windows of two opposite walls that are `distance` away from the middle. Some are brighter than others."""
    columns = max(1, int(wall / spacing))
    floors = max(1, int(height / FLOOR_HEIGHT_M))
    x = (np.arange(columns) - (columns - 1) / 2) * wall / columns
    z = (np.arange(floors) + 0.5) * height / floors
    size_x, size_z = 0.45 * wall / columns, 0.5 * height / floors
    corners = np.array([[-size_x, 0, -size_z], [size_x, 0, -size_z], [size_x, 0, size_z], [-size_x, 0, size_z]]) / 2
    middles = np.stack([np.tile(x, floors), np.full(columns * floors, -distance - 0.02), np.repeat(z, columns)], axis=1)
    starts = 4 * np.arange(len(middles))[:, None, None]
    faces = (starts + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    front = Mesh.plain((middles[:, None] + corners).reshape(-1, 3), faces, WINDOW, Label.BUILDING)
    is_bright = np.repeat((np.arange(len(middles)) * 7) % 5 == 0, 2)[:, None]
    front = replace(front, colours=np.where(is_bright, np.uint8(BRIGHT_WINDOW), front.colours))
    return [front.moved(standing(0, 0, turn_rad)), front.moved(standing(0, 0, turn_rad + np.pi))]
