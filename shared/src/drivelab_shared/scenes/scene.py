"""A street and what moves in it: what a ray meets, and what a camera sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, UInt8

from drivelab_shared.scenes.camera import Camera
from drivelab_shared.scenes.lidar import Lidar, Sweep
from drivelab_shared.scenes.light import Light
from drivelab_shared.scenes.meshes import Label, Mesh
from drivelab_shared.scenes.tracing import Tracer

SHADOW_LIFT_M = 0.003
"""Shadow rays start this far above the face, lest they meet it: less than the layers of a street are apart."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture and what is known about its pixels, all of it at their centres."""

    rgb: UInt8[np.ndarray, "height width 3"]
    depth_z: Float32[np.ndarray, "height width"]
    """Metres along the axis of the camera, inf in the sky."""
    label: UInt8[np.ndarray, "height width"]
    """What the pixel shows, a `Label`."""
    body: Int32[np.ndarray, "height width"]
    """Which of the movable meshes the pixel shows, -1 for none."""


@dataclass(frozen=True, eq=False)
class Hits:
    """What some rays meet first."""

    distance: Float32[np.ndarray, " rays"]
    """How many times its direction a ray can be followed, inf without a hit."""
    face: Int32[np.ndarray, " rays"]
    """Static faces count first, -1 without a hit."""
    label: UInt8[np.ndarray, " rays"]
    body: Int32[np.ndarray, " rays"]
    """Which of the movable meshes, -1 for none."""


class Scene:
    """What never moves, traced by a structure that is built once, under one light.

    Raises:
        ValueError: there is nothing in it.
    """

    def __init__(self, static: Mesh, light: Light = Light()) -> None:  # noqa: B008 - frozen
        if not len(static.faces):
            raise ValueError("scene: static: expected at least one face, got none")
        self._static = _Part(static, light, np.full(len(static.faces), -1, np.int32))
        self._light = light

    def at(self, movable: Sequence[Mesh]) -> "Moment":
        """The scene with bodies in it. Several sensors of one moment can share it.

        A sensor inside a body sees that body from within: leave the vehicle that carries it out.
        """
        present = [mesh for mesh in movable if len(mesh.faces)]
        if not present:
            return Moment([self._static], self._light)
        body = np.repeat(np.arange(len(movable), dtype=np.int32), [len(mesh.faces) for mesh in movable])
        # A structure for the few faces that move takes 1 ms, one for a whole street five.
        return Moment([self._static, _Part(Mesh.joined(present), self._light, body)], self._light)

    def view(
        self,
        movable: Sequence[Mesh],
        camera: Camera,
        world_from_camera: Float[np.ndarray, "4 4"],
        samples_per_pixel: int = 1,
    ) -> View:
        """What the camera sees; see `Moment.view`."""
        return self.at(movable).view(camera, world_from_camera, samples_per_pixel)

    def scan(
        self,
        movable: Sequence[Mesh],
        lidar: Lidar,
        world_from_lidar: Float[np.ndarray, "4 4"],
        rng: np.random.Generator,
    ) -> Sweep:
        """What the lidar measures; see `Moment.scan`."""
        return self.at(movable).scan(lidar, world_from_lidar, rng)


class Moment:
    """A scene with its bodies where they are now. `Scene.at` makes it."""

    def __init__(self, parts: list["_Part"], light: Light) -> None:
        self._parts = parts
        self._light = light
        # The last entry of these two is what face -1 finds: the sky.
        self._labels = np.concatenate([*(part.labels for part in parts), [np.uint8(Label.SKY)]])
        self._bodies = np.concatenate([*(part.bodies for part in parts), [np.int32(-1)]])
        self._sunlit = np.concatenate([part.sunlit for part in parts])
        self._shaded = np.concatenate([part.shaded for part in parts])
        self._is_sunny_side = np.concatenate([part.is_sunny_side for part in parts])
        self._normals = np.concatenate([part.normals for part in parts])

    def nearest(self, origins: Float64[np.ndarray, "*origins 3"], directions: Float[np.ndarray, "rays 3"]) -> Hits:
        """What the rays meet first. `origins` is one point for all rays or one for each."""
        distance, face = self._parts[0].tracer.nearest(origins, directions)
        first = self._parts[0].num_faces
        for part in self._parts[1:]:
            other_distance, other_face = part.tracer.nearest(origins, directions)
            face = np.where(other_distance < distance, other_face + np.int32(first), face)
            distance = np.minimum(distance, other_distance)
            first += part.num_faces
        return Hits(distance, face, self._labels[face], self._bodies[face])

    def view(self, camera: Camera, world_from_camera: Float[np.ndarray, "4 4"], samples_per_pixel: int = 1) -> View:
        """What the camera sees: one colour per pixel, or the mean of 4, 9, ... samples, which smooths the edges.

        The same arguments give the same bytes.

        Raises:
            ValueError: `samples_per_pixel` is not a square.
        """
        side = isqrt(max(samples_per_pixel, 0))
        if side < 1 or side**2 != samples_per_pixel:
            raise ValueError(f"samples_per_pixel: expected 1, 4, 9 or another square, got {samples_per_pixel}")
        shape = (camera.height, camera.width)
        directions, hits = self._seen(camera, world_from_camera)
        if side == 1:
            colours = self._colours(world_from_camera[:3, 3], directions, hits)
        else:
            fine = self._seen(camera.scaled(camera.width * side, camera.height * side), world_from_camera)
            colours = self._colours(world_from_camera[:3, 3], *fine)
            colours = colours.reshape(camera.height, side, camera.width, side, 3).mean(axis=(1, 3))
        return View(
            rgb=(colours + np.float32(0.5)).astype(np.uint8).reshape(*shape, 3),
            depth_z=hits.distance.reshape(shape),  # the rays reach depth_z = 1
            label=hits.label.reshape(shape),
            body=hits.body.reshape(shape),
        )

    def scan(self, lidar: Lidar, world_from_lidar: Float[np.ndarray, "4 4"], rng: np.random.Generator) -> Sweep:
        """One turn of a lidar, from where it stands at this moment: the sweep is not bent by its own motion."""
        directions = lidar.directions
        hits = self.nearest(world_from_lidar[:3, 3].astype(np.float64), directions @ world_from_lidar[:3, :3].T)
        rays, distance = lidar.returned(hits.distance, rng)
        return Sweep(
            points=(directions[rays] * distance[:, None]).astype(np.float32),
            intensity=np.exp(-lidar.attenuation_per_m * distance).astype(np.float32),
            label=hits.label[rays],
            body=hits.body[rays],
        )

    def _seen(
        self, camera: Camera, world_from_camera: Float[np.ndarray, "4 4"]
    ) -> tuple[Float32[np.ndarray, "rays 3"], Hits]:
        directions = camera.rays_world(world_from_camera).reshape(-1, 3).astype(np.float32)
        return directions, self.nearest(world_from_camera[:3, 3].astype(np.float64), directions)

    def _colours(
        self, origin: Float[np.ndarray, "3"], directions: Float32[np.ndarray, "rays 3"], hits: Hits
    ) -> Float32[np.ndarray, "rays 3"]:
        """0 to 255."""
        seen = hits.face >= 0
        colours = np.empty_like(directions)
        colours[~seen] = self._light.sky(directions[~seen])
        directions, face, distance = directions[seen], hits.face[seen], hits.distance[seen]
        own = self._sunlit[face]
        if self._light.has_shadows:
            dark = self._in_shadow(origin + directions * distance[:, None], face)
            own[dark] = self._shaded[face[dark]]
        colours[seen] = self._light.through_haze(own, distance * np.linalg.norm(directions, axis=1))
        return colours

    def _in_shadow(
        self, points: Float64[np.ndarray, "points 3"], face: Int32[np.ndarray, " points"]
    ) -> Bool[np.ndarray, " points"]:
        dark = np.zeros(len(points), np.bool_)
        sunny = np.flatnonzero(self._is_sunny_side[face])
        lifted = points[sunny] + SHADOW_LIFT_M * self._normals[face[sunny]]
        towards_sun = np.broadcast_to(self._light.towards_sun, lifted.shape)
        for part in self._parts:
            dark[sunny] |= part.tracer.nearest(lifted, towards_sun)[1] >= 0
        return dark


class _Part:
    """Some faces: the structure that finds them, and what is looked up about those that it found."""

    def __init__(self, mesh: Mesh, light: Light, bodies: Int32[np.ndarray, " faces"]) -> None:
        self.tracer = Tracer(mesh.vertices, mesh.faces)
        self.num_faces = len(mesh.faces)
        self.labels = mesh.labels
        self.bodies = bodies
        self.normals = mesh.normals
        self.sunlit = light.sunlit(mesh)
        self.shaded = light.shaded(mesh)
        self.is_sunny_side = light.is_sunny_side(mesh)
