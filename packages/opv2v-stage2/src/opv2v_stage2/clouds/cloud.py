"""Points that know where they are: in which lidar's frame, and how high the ground lies in it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8

from opv2v_stage2.geometry import LIDAR_HEIGHT_M

AXES = "x forward, y left, z up"
"""Of every cloud in memory; right-handed, metres."""


@dataclass(frozen=True, eq=False)
class CloudFrame:
    """What must be known of a frame before heights, distances and other clouds mean anything."""

    lidar: str = ""
    """Whose lidar is the origin, as SCENARIO/FRAME/AGENT; empty where nobody wrote it down."""
    ground_z: float = -LIDAR_HEIGHT_M
    """Height of the ground."""
    world_from_cloud: Float64[np.ndarray, "4 4"] | None = None
    """Where the frame is in the right-handed world; None where it is not known."""
    is_assumed: bool = False
    """The file did not say what frame it is in."""

    @property
    def scenario(self) -> str:
        """Clouds of one scenario share a world."""
        return self.lidar.partition("/")[0]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points around a lidar."""

    points: Float32[np.ndarray, "points 3"]
    frame: CloudFrame
    colours: UInt8[np.ndarray, "points 3"] | None = None
    agent: Int[np.ndarray, " points"] | None = None
    """Index of the vehicle whose pictures a point comes from."""

    def __len__(self) -> int:
        return len(self.points)

    @property
    def heights(self) -> Float32[np.ndarray, " points"]:
        """Above the ground."""
        return self.points[:, 2] - np.float32(self.frame.ground_z)

    def at(self, rows: Bool[np.ndarray, " points"] | Int[np.ndarray, " rows"]) -> "Cloud":
        """Some of the points."""
        colours = None if self.colours is None else self.colours[rows]
        agent = None if self.agent is None else self.agent[rows]
        return replace(self, points=self.points[rows], colours=colours, agent=agent)

    def moved(self, target_from_cloud: Float[np.ndarray, "4 4"], frame: CloudFrame) -> "Cloud":
        """The same points in another frame."""
        return replace(self, points=moved(self.points, target_from_cloud).astype(np.float32), frame=frame)


def moved(
    points: Float[np.ndarray, "*batch 3"], target_from_source: Float[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "*batch 3"]:
    """Points in another frame, in double precision: worlds are kilometres wide."""
    return np.asarray(points, np.float64) @ target_from_source[:3, :3].T + target_from_source[:3, 3]


def united(clouds: Sequence[Cloud]) -> Cloud:
    """All points of clouds in one frame, the first one's; colours and agents are kept where all have them."""

    def together(name: str) -> np.ndarray | None:
        parts = [getattr(cloud, name) for cloud in clouds]
        return None if any(part is None for part in parts) else np.concatenate(parts)

    points = np.concatenate([cloud.points for cloud in clouds])
    return Cloud(points, clouds[0].frame, together("colours"), together("agent"))
