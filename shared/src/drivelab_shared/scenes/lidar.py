"""A spinning lidar. Lidar frame: x forward, y left, z up; azimuth counts from x towards y."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8


@dataclass(frozen=True, kw_only=True)
class Lidar:
    """Beams at equal angles from `low_deg` to `high_deg`, all fired at equal steps around the vertical axis.

    Raises:
        ValueError: a number is out of range; the message names it.
    """

    num_beams: int = 64
    low_deg: float = -25.0
    high_deg: float = 2.0
    azimuth_step_deg: float = 0.36
    """Rounded so that the steps of a turn are equal."""
    range_m: float = 120.0
    noise_m: float = 0.02
    """Standard deviation along the ray."""
    dropout: float = 0.1
    """Share of the returns that is lost: no return does not mean that nothing is there."""
    attenuation_per_m: float = 0.004
    """The intensity is exp(-attenuation_per_m * distance), as in CARLA; the material plays no part."""

    def __post_init__(self) -> None:
        checks = [
            ("num_beams", self.num_beams >= 1, "a number >= 1"),
            ("low_deg", -90 <= self.low_deg <= self.high_deg <= 90, "-90 <= low_deg <= high_deg <= 90"),
            ("azimuth_step_deg", 0 < self.azimuth_step_deg <= 360, "above 0, up to 360"),
            ("range_m", self.range_m > 0, "a number > 0"),
            ("noise_m", self.noise_m >= 0, "a number >= 0"),
            ("dropout", 0 <= self.dropout <= 1, "0 to 1"),
            ("attenuation_per_m", self.attenuation_per_m >= 0, "a number >= 0"),
        ]
        for name, is_valid, expected in checks:
            if not is_valid:
                raise ValueError(f"lidar: {name}: expected {expected}, got {getattr(self, name)}")

    @property
    def directions(self) -> Float64[np.ndarray, "rays 3"]:
        """Unit vectors in the lidar frame: all beams from low to high, one azimuth after the other."""
        return _directions(self.num_beams, self.low_deg, self.high_deg, round(360 / self.azimuth_step_deg))

    def returned(
        self, ray_distance: Float32[np.ndarray, " rays"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " returns"], Float64[np.ndarray, " returns"]]:
        """Which rays come back and the distances measured with them (m), given what they meet, inf for nothing."""
        # Drawn for every ray: what one ray meets does not change the luck of another.
        noise, luck = rng.normal(0, self.noise_m, len(ray_distance)), rng.random(len(ray_distance))
        rays = np.flatnonzero((ray_distance <= self.range_m) & (luck >= self.dropout))
        return rays, np.maximum(ray_distance[rays] + noise[rays], 0)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The returns of one turn."""

    points: Float32[np.ndarray, "returns 3"]
    """Lidar frame, m."""
    intensity: Float32[np.ndarray, " returns"]
    """0 to 1."""
    label: UInt8[np.ndarray, " returns"]
    """What was hit, a `Label`."""
    body: Int32[np.ndarray, " returns"]
    """Which of the movable meshes was hit, -1 for none."""


@lru_cache(maxsize=4)
def _directions(num_beams: int, low_deg: float, high_deg: float, num_azimuths: int) -> np.ndarray:
    elevation = np.tile(np.radians(np.linspace(low_deg, high_deg, num_beams)), num_azimuths)
    azimuth = np.repeat(np.arange(num_azimuths) * 2 * np.pi / num_azimuths, num_beams)
    flat = np.cos(elevation)
    directions = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)
    directions.flags.writeable = False
    return directions
