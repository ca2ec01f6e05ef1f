"""Triangles with a flat colour each: all that is ever drawn. Metres, z up, right-handed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, Real, UInt8

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


class Label(IntEnum):
    """What a face, and so a pixel or a lidar return, belongs to."""

    SKY = 0
    GROUND = 1
    ROAD = 2
    MARKING = 3
    BUILDING = 4
    TREE = 5
    POLE = 6
    TRAFFIC_LIGHT = 7
    BRIDGE = 8
    VEHICLE = 9
    PERSON = 10


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles, counter-clockwise for who looks at their outside; the inside is lit as if it were the outside.

    Raises:
        ValueError: the arrays disagree about the number of faces, or a face names a vertex that is not there.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int32[np.ndarray, "faces 3"]
    colours: UInt8[np.ndarray, "faces 3"]
    labels: UInt8[np.ndarray, " faces"]
    glows: Bool[np.ndarray, " faces"]
    """Faces that shine by themselves: no light or shadow changes their colour."""

    def __post_init__(self) -> None:
        if {len(self.colours), len(self.labels), len(self.glows)} != {len(self.faces)}:
            found = f"{len(self.colours)} colours, {len(self.labels)} labels, {len(self.glows)} glows"
            raise ValueError(f"mesh: expected one entry for each of the {len(self.faces)} faces, got {found}")
        # The ray tracer is compiled code that would read past the end.
        if self.faces.size and not 0 <= self.faces.min() <= self.faces.max() < len(self.vertices):
            found = f"{self.faces.min()} to {self.faces.max()}"
            raise ValueError(f"mesh: faces: expected indices of {len(self.vertices)} vertices, got {found}")

    @classmethod
    def plain(
        cls,
        vertices: Real[np.ndarray, "vertices 3"] | Sequence[Sequence[float]],
        faces: Int[np.ndarray, "faces 3"] | Sequence[Sequence[int]],
        colour: Colour,
        label: Label,
        glows: bool = False,
    ) -> "Mesh":
        """A mesh of one colour and one label."""
        faces = np.asarray(faces, np.int32).reshape(-1, 3)
        return cls(
            np.asarray(vertices, np.float64).reshape(-1, 3),
            faces,
            np.full((len(faces), 3), colour, np.uint8),
            np.full(len(faces), label, np.uint8),
            np.full(len(faces), glows),
        )

    @classmethod
    def joined(cls, meshes: Sequence["Mesh"]) -> "Mesh":
        """All faces in one mesh, in order; none of an empty list."""
        meshes = [*meshes] or [cls.plain([], [], (0, 0, 0), Label.SKY)]
        first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
        return cls(
            np.concatenate([mesh.vertices for mesh in meshes]),
            np.concatenate([mesh.faces + np.int32(start) for mesh, start in zip(meshes, first, strict=True)]),
            np.concatenate([mesh.colours for mesh in meshes]),
            np.concatenate([mesh.labels for mesh in meshes]),
            np.concatenate([mesh.glows for mesh in meshes]),
        )

    def moved(self, world_from_mesh: Float[np.ndarray, "4 4"]) -> "Mesh":
        """The mesh somewhere else.

        Raises:
            ValueError: the transform mirrors, which would turn every face inside out.
        """
        rotation = world_from_mesh[:3, :3]
        if np.linalg.det(rotation) <= 0:
            raise ValueError(
                f"world_from_mesh: expected a right-handed frame, got determinant {np.linalg.det(rotation)}"
            )
        return replace(self, vertices=self.vertices @ rotation.T + world_from_mesh[:3, 3])

    def at(self, x: float, y: float, z: float = 0.0) -> "Mesh":
        """The mesh, not turned."""
        return replace(self, vertices=self.vertices + np.array([x, y, z], np.float64))

    @cached_property
    def normals(self) -> Float64[np.ndarray, "faces 3"]:
        """Unit vectors that point to the outside; 0 for a face without area."""
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def standing(x: float, y: float, heading_rad: float, z: float = 0.0) -> Float64[np.ndarray, "4 4"]:
    """`world_from_body` of a body that stands upright; the heading counts from x towards y."""
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], np.float64)


def mottled(mesh: Mesh, rng: np.random.Generator, amount: float) -> Mesh:
    """The mesh with every face a little darker or brighter, by up to the share `amount`."""
    factors = rng.uniform(1 - amount, 1 + amount, (len(mesh.faces), 1))
    return replace(mesh, colours=np.clip(np.round(mesh.colours * factors), 0, 255).astype(np.uint8))
