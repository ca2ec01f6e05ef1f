"""Sun, sky and haze: what makes a colour out of a face and a distance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from drivelab_shared.scenes.meshes import Colour, Mesh


@dataclass(frozen=True, kw_only=True)
class Light:
    """The weather of a scene.

    Raises:
        ValueError: a share is not between 0 and 1, or the visibility is not positive.
    """

    sun_azimuth_deg: float = 235.0
    """Where the sun stands, counted from x towards y."""
    sun_elevation_deg: float = 48.0
    ambient: float = 0.5
    """Share of the light that comes from the whole sky and reaches shadows too."""
    visibility_m: float = 900.0
    """Distance at which haze has taken 63 % of a colour; inf for clear air."""
    has_shadows: bool = False
    """Bodies and buildings cast shadows. A second ray for every sunlit pixel: about twice the time."""
    zenith: Colour = (92, 146, 209)
    horizon: Colour = (205, 218, 230)

    def __post_init__(self) -> None:
        if not 0 <= self.ambient <= 1:
            raise ValueError(f"light: ambient: expected 0 to 1, got {self.ambient}")
        if not self.visibility_m > 0:
            raise ValueError(f"light: visibility_m: expected a number > 0, got {self.visibility_m}")

    @property
    def towards_sun(self) -> Float64[np.ndarray, "3"]:
        """Unit vector."""
        azimuth, elevation = np.radians([self.sun_azimuth_deg, self.sun_elevation_deg])
        return np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])

    def shaded(self, mesh: Mesh) -> Float32[np.ndarray, "faces 3"]:
        """Colours of the faces, 0 to 255, where the sun does not reach."""
        return self._times(mesh, self._from_sky(mesh))

    def sunlit(self, mesh: Mesh) -> Float32[np.ndarray, "faces 3"]:
        """Colours of the faces, 0 to 255, where nothing stands between them and the sun (Lambert)."""
        from_sun = (1 - self.ambient) * np.maximum(mesh.normals @ self.towards_sun, 0)
        return self._times(mesh, self._from_sky(mesh) + from_sun)

    def is_sunny_side(self, mesh: Mesh) -> Bool[np.ndarray, " faces"]:
        """Faces that the sun would light, and that a shadow can therefore darken."""
        return (mesh.normals @ self.towards_sun > 0) & ~mesh.glows

    def _from_sky(self, mesh: Mesh) -> Float64[np.ndarray, " faces"]:
        return self.ambient * (0.8 + 0.2 * mesh.normals[:, 2])  # brighter above than below

    def _times(self, mesh: Mesh, light: Float64[np.ndarray, " faces"]) -> Float32[np.ndarray, "faces 3"]:
        return (mesh.colours * np.where(mesh.glows, 1.0, light)[:, None]).astype(np.float32)

    def sky(self, directions: Float[np.ndarray, "rays 3"]) -> Float32[np.ndarray, "rays 3"]:
        """Colours of the sky, from the horizon (and below it) to the zenith."""
        upward = np.maximum(directions[:, 2], 0) / np.maximum(np.linalg.norm(directions, axis=1), 1e-12)
        horizon, zenith = np.array([self.horizon, self.zenith], np.float32)
        return horizon + np.sqrt(upward).astype(np.float32)[:, None] * (zenith - horizon)

    def through_haze(
        self, colours: Float32[np.ndarray, "rays 3"], ray_distance: Float[np.ndarray, " rays"]
    ) -> Float32[np.ndarray, "rays 3"]:
        """Colours as they look from that distance (m)."""
        kept = np.exp(ray_distance.astype(np.float32) / np.float32(-self.visibility_m))[:, None]
        horizon = np.array(self.horizon, np.float32)
        return horizon + kept * (colours - horizon)
