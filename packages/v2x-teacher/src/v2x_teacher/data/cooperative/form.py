"""Where V2X-Seq-SPD and DAIR-V2X-C differ, said once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from v2x_teacher.data.cooperative.frames import Row


@dataclass(frozen=True)
class Link:
    """One row of cooperative/data_info.json. Paths are relative to the root."""

    vehicle_id: str
    infrastructure_id: str
    label: str
    vehicle_image: str | None = None
    """None: the one that the side's own list names."""
    infrastructure_image: str | None = None
    vehicle_sequence: str | None = None
    """Where the row says it."""


@dataclass(frozen=True)
class Form:
    """One of the two layouts."""

    name: str
    archive: str
    """What its folder is called, and what its archives' names start with."""
    group: str
    """The field that names the sequence."""
    split_file: str
    frame_id: Callable[[Row], object]
    link: Callable[[Row], Link]
    """Raises ValueError or KeyError where the row is not one of this layout."""
    labels: str
    """Folder of the cooperative labels."""
    labels_in: Literal["lidar", "world"]
    """Their frame: the vehicle's lidar at its own time, or the world."""
