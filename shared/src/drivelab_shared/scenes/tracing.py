"""Where a ray meets the first triangle: Embree where it is installed, numpy elsewhere. Nothing else talks to Embree."""

import warnings
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32

from drivelab_shared.scenes.bvh import Bvh


class Tracer:
    """The ray tracing structure of some triangles, built once.

    Embree computes in float32. Coordinates therefore count from the middle of the triangles: what is exact to
    0.1 mm in a street of 1 km stays so however far from zero that street lies.
    """

    def __init__(self, vertices: Float64[np.ndarray, "vertices 3"], faces: Int32[np.ndarray, "faces 3"]) -> None:
        self._middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        self._traced = _backend()((vertices - self._middle).astype(np.float32), faces)

    def nearest(
        self, origins: Float64[np.ndarray, "*origins 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> tuple[Float32[np.ndarray, " rays"], Int32[np.ndarray, " rays"]]:
        """How many times its direction a ray can be followed, inf without a hit, and the face it meets, -1 without.

        `origins` is one point for all rays or one for each.
        """
        directions = np.ascontiguousarray(directions, np.float32)
        local = (origins - self._middle).astype(np.float32)
        return self._traced.nearest(np.ascontiguousarray(np.broadcast_to(local, directions.shape)), directions)


class _Embree:
    def __init__(self, vertices: Float32[np.ndarray, "vertices 3"], faces: Int32[np.ndarray, "faces 3"]) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene(robust=True)  # without it a ray can slip through the edge between two faces
        TriangleMesh(self._scene, vertices, faces)

    def nearest(
        self, origins: Float32[np.ndarray, "rays 3"], directions: Float32[np.ndarray, "rays 3"]
    ) -> tuple[Float32[np.ndarray, " rays"], Int32[np.ndarray, " rays"]]:
        hits = self._scene.run(origins, directions, output=True)
        return np.where(hits["primID"] >= 0, hits["tfar"], np.float32(np.inf)), hits["primID"]


@cache
def _backend() -> type[_Embree] | type[Bvh]:
    """What traces the rays; warns once where it will take long."""
    try:
        import embreex.mesh_construction
        import embreex.rtcore_scene  # noqa: F401
    except ImportError:
        reason = "embreex, part of drivelab-shared[scenes], is not installed (there is none for Linux on ARM)"
        warnings.warn(f"scenes: {reason}: rays are traced a hundred times slower", stacklevel=2)
        return Bvh
    return _Embree
