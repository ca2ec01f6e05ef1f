"""A data set as it was read: where the vehicle was and when, which pictures belong together, and what is wrong with it.

Nothing here knows a file format; `cooperative` and `flat` read theirs into these classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

Severity = Literal["error", "warning", "note"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Problem:
    """One finding about a data set. Errors make a sample unusable, warnings change what figures mean."""

    severity: Severity
    source: str
    """File, or folder, or frame."""
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.source}: {self.message}"


@dataclass(frozen=True, eq=False)
class Poses:
    """Where the vehicle was in one sequence, in order of time.

    The vehicle frame is the one that the data set writes down; which of its axes points forward is found elsewhere
    (`labels.forward_axis`). World: metres, z up.
    """

    ids: tuple[str, ...]
    """Vehicle frame ids."""
    time_us: Int64[np.ndarray, " frames"]
    """Microseconds since 1970, strictly increasing."""
    world_from_vehicle: Float[np.ndarray, "frames 4 4"]
    """Float64: translations are thousands of metres."""


@dataclass(frozen=True)
class Pair:
    """A vehicle's picture and the infrastructure's picture that was taken at about the same time."""

    vehicle_id: str
    infrastructure_id: str | None
    sequence: str
    split: str
    """train, val, test, or empty where no split lists it."""
    time_us: int
    """Of the vehicle's pose."""
    infrastructure_time_us: int | None
    vehicle_image: Path
    infrastructure_image: Path | None
    """None where the data set has no such picture."""
    prompt: str | None = None
    """Where the data set has one of its own."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera of a pair. Camera frame: x right, y down, z forward."""

    intrinsics: Float[np.ndarray, "3 3"]
    """Pixels of the full picture."""
    camera_from_world: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class Box:
    """Another road user. World frame, metres."""

    kind: str
    track_id: str | None
    """None where the data set does not follow road users over time (DAIR-V2X-C)."""
    world_from_box: Float[np.ndarray, "4 4"]
    """Origin in the centre of the box, x along its length."""
    size_m: tuple[float, float, float]
    """Length, width, height."""
    seen_by: Literal["veh", "inf", "coop"] | None = None
    """Whose sensors found it: the vehicle's, the infrastructure's, both; None where the data do not say."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Everything that the labels, the features and the drawings need of a data set."""

    root: Path
    layout: str
    poses: dict[str, Poses]
    """By sequence. The vehicle's own frames: denser than the pairs."""
    pairs: tuple[Pair, ...]
    """In the order of the cooperative list."""
    problems: tuple[Problem, ...]
    calibration: Callable[[Pair, Literal["vehicle", "infrastructure"]], Calibration | None]
    """Reads the camera of a pair, or None where the layout has none."""
    boxes: Callable[[str, str], Sequence[Box] | None]
    """Other road users at (sequence, vehicle frame id); None where there is no label file."""
    row_trajectories: Float[np.ndarray, "pairs rows 2"] | None = None
    """World positions that come with the pairs instead of poses (the flat folder), one row per step, the first now."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that make samples unusable."""
        return tuple(problem for problem in self.problems if problem.severity == "error")
