"""What a data set is once it has been read: agents at moments, right-handed and in metres. No files, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

CAMERAS = (0, 1, 2, 3)
"""Front, right rear, left rear, back."""


class FrameKey(NamedTuple):
    """A moment of a scenario."""

    scenario: str
    frame: str
    """A zero-padded string, as the files spell it."""

    def __str__(self) -> str:
        return f"{self.scenario}/{self.frame}"


@dataclass(frozen=True, eq=False)
class CameraView:
    """One picture and where it was taken from."""

    image_path: Path
    intrinsics: Float64[np.ndarray, "3 3"]
    """At the native size, pixels. The edge of the picture is 0: the first pixel has its centre at (0.5, 0.5)."""
    lidar_from_camera: Float64[np.ndarray, "4 4"]
    """OpenCV camera to the agent's right-handed lidar frame."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Vehicles that an agent's lidar has hit."""

    ids: Int64[np.ndarray, " boxes"]
    world_from_box: Float64[np.ndarray, "boxes 4 4"]
    """Right-handed; the origin is the middle of the box, x its front."""
    half_size: Float64[np.ndarray, "boxes 3"]
    """Along x, y and z of the box, metres."""


@dataclass(frozen=True, eq=False)
class AgentFrame:
    """Everything that one vehicle (or roadside unit) recorded at one moment."""

    key: FrameKey
    agent: str
    """Name of its folder; negative for roadside units."""
    world_from_lidar: Float64[np.ndarray, "4 4"]
    """True pose."""
    gps_world_from_lidar: Float64[np.ndarray, "4 4"]
    """What its GNSS says."""
    speed_mps: float
    cameras: Mapping[int, CameraView]
    """By number; a camera that the data set lacks is absent."""
    lidar_path: Path | None
    boxes: Boxes
    truth_path: Path | None
    """Dense depth, which only made-up data have; see `data.truth`."""

    @property
    def is_roadside(self) -> bool:
        """A roadside unit and not a vehicle."""
        return is_roadside(self.agent)


def is_roadside(agent: str) -> bool:
    """Whether a folder's name is that of a roadside unit: its number is negative."""
    return agent.startswith("-")
