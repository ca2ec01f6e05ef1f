import sys

import numpy as np
import pytest

from drivelab_shared.scenes import Camera, Mesh, Scene, look_at, shapes, standing, tracing
from drivelab_shared.scenes.bvh import Bvh


@pytest.fixture
def without_embree(monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    tracing._backend.cache_clear()
    yield
    tracing._backend.cache_clear()


def random_triangles(num_faces, rng):
    corners = rng.uniform(-10, 10, (num_faces, 1, 3)) + rng.normal(0, 1.5, (num_faces, 3, 3))
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * num_faces, dtype=np.int32).reshape(-1, 3)


def first_hit_of_one_ray(origin, direction, vertices, faces):
    """The slow way: solve origin + t direction = a + u (b - a) + v (c - a) for every face."""
    best = (np.inf, -1)
    for index, (a, b, c) in enumerate(vertices[faces].astype(float)):
        t, u, v = np.linalg.solve(np.stack([-direction, b - a, c - a], axis=1), origin - a)
        if t >= 0 and u >= 0 and v >= 0 and u + v <= 1:
            best = min(best, (t, index))
    return best


@pytest.mark.parametrize("num_faces", [1, 3, 4, 5, 33])
def test_numpy_tracer_finds_what_solving_for_every_face_finds(num_faces):
    rng = np.random.default_rng(num_faces)
    vertices, faces = random_triangles(num_faces, rng)
    origins = rng.uniform(-12, 12, (60, 3)).astype(np.float32)
    # Half of them aim at a face, so that even a single one is hit.
    directions = rng.normal(size=(60, 3)).astype(np.float32)
    directions[::2] = vertices[faces[rng.integers(num_faces, size=30)]].mean(axis=1) - origins[::2]
    distance, face = Bvh(vertices, faces).nearest(origins, directions)
    expected = [first_hit_of_one_ray(*ray, vertices, faces) for ray in zip(origins, directions, strict=True)]
    np.testing.assert_array_equal(face, [index for _, index in expected])
    np.testing.assert_allclose(distance, [t for t, _ in expected], rtol=1e-5)
    assert (face >= 0).sum() >= 30


def test_numpy_tracer_handles_rays_along_the_axes_and_flat_boxes():
    square = shapes.ground((0, 0), 2, z=0.0)
    origins = np.array([[0.5, 0.2, 3], [0.5, 0.2, -3], [5, 0, 3], [0.5, 0.2, 3]], np.float32)
    directions = np.array([[0, 0, -1], [0, 0, 2], [0, 0, -1], [0, 0, 1]], np.float32)
    distance, face = Bvh(square.vertices.astype(np.float32), square.faces).nearest(origins, directions)
    np.testing.assert_allclose(distance, [3, 1.5, np.inf, np.inf])
    np.testing.assert_array_equal(face >= 0, [True, True, False, False])


def test_embree_and_numpy_agree():
    pytest.importorskip("embreex")
    rng = np.random.default_rng(0)
    vertices, faces = random_triangles(300, rng)
    origins = rng.uniform(-15, 15, (3000, 3)).astype(np.float32)
    directions = rng.normal(size=(3000, 3)).astype(np.float32)
    distance, face = tracing._Embree(vertices, faces).nearest(origins, directions)
    same_distance, same_face = Bvh(vertices, faces).nearest(origins, directions)
    assert (face >= 0).mean() > 0.2
    assert (face != same_face).sum() <= 1  # a ray along an edge
    agree = face == same_face
    np.testing.assert_allclose(distance[agree], same_distance[agree], rtol=1e-4, atol=1e-4)


def test_without_embree_the_same_picture_comes_with_one_warning(without_embree):
    static = Mesh.joined([shapes.ground((0, 0), 100), shapes.building().at(20, 5)])
    bodies, camera = [shapes.car().moved(standing(9, -1, 0.4))], Camera.from_fov(48, 32, 70)
    world_from_camera = look_at((0, 0, 1.5), (10, 0, 1))
    with pytest.warns(UserWarning, match=r"scenes: embreex, part of drivelab-shared\[scenes\], is not installed"):
        scene = Scene(static)
    slow = scene.view(bodies, camera, world_from_camera)  # a second warning would be an error
    sys.modules.pop("embreex.mesh_construction")
    tracing._backend.cache_clear()
    pytest.importorskip("embreex")
    fast = Scene(static).view(bodies, camera, world_from_camera)
    assert (slow.body == fast.body).mean() > 0.998
    assert (slow.rgb == fast.rgb).all(axis=2).mean() > 0.998
    seen = np.isfinite(fast.depth_z) & (slow.body == fast.body) & (slow.label == fast.label)
    assert np.median(np.abs(slow.depth_z[seen] - fast.depth_z[seen])) < 1e-4


def test_rays_start_where_they_are_told_however_far_that_is():
    far = np.array([419849.0, 4730993.0, 50.0])
    wall = shapes.ground((0, 0), 10, z=0.0).at(*far)
    origins = far + np.array([[1, 2, 0.125], [-3, 1, 4.0], [2, -2, 0.001]])
    distance, face = tracing.Tracer(wall.vertices, wall.faces).nearest(origins, np.tile([0.0, 0, -1], (3, 1)))
    np.testing.assert_allclose(distance, [0.125, 4.0, 0.001], atol=1e-5)
    assert (face >= 0).all()
