"""What a viewer shows. Everything is in the right-handed lidar frame of the main agent (`main`), in metres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8


@dataclass(frozen=True, eq=False)
class ViewedCamera:
    """Where a picture was taken from."""

    main_from_camera: Float[np.ndarray, "4 4"]
    """OpenCV axes: x right, y down, z forward."""
    tangents: tuple[float, float]
    """Of half the field of view: across, down."""


@dataclass(frozen=True, eq=False)
class ViewedAgent:
    """An agent, where it is believed to be, and what it saw.

    Raises:
        ValueError: a number is not finite.
    """

    name: str
    main_from_lidar: Float[np.ndarray, "4 4"]
    cameras: Sequence[ViewedCamera]
    points: Float32[np.ndarray, "points 3"]
    colours: UInt8[np.ndarray, "points 3"]
    footprint_m: Float32[np.ndarray, " points"]
    """How wide a surface each point stands for: that of its pixel."""

    def __post_init__(self) -> None:
        for name in ("main_from_lidar", "points", "footprint_m"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"agent {self.name}: {name}: expected finite numbers, got others")


@dataclass(frozen=True, eq=False)
class ViewedBox:
    """A true vehicle."""

    main_from_box: Float[np.ndarray, "4 4"]
    """The origin is the middle of the box, x its front."""
    half_size: Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class ViewerScene:
    """One moment, reconstructed.

    Raises:
        ValueError: there is no agent.
    """

    title: str
    subtitle: str
    agents: Sequence[ViewedAgent]
    """The main one first."""
    boxes: Sequence[ViewedBox]
    ground_z: float
    """Heights count from here."""
    overhead: UInt8[np.ndarray, "height width 3"]
    """The picture from above, for browsers that cannot do more."""

    def __post_init__(self) -> None:
        if not self.agents:
            raise ValueError("agents: expected at least one, got none")
