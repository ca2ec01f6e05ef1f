"""What there is to draw of a sample: its pictures, cameras and neighbours, from the data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from v2x_teacher.data.labels import Samples
from v2x_teacher.data.recording import Pair, Recording
from v2x_teacher.drawing.board import Case, Photo
from v2x_teacher.drawing.camera import View
from v2x_teacher.drawing.curves import Curve
from v2x_teacher.drawing.overhead import Footprint
from v2x_teacher.pictures import read_whole_picture

Side = Literal["vehicle", "infrastructure"]
DEFAULT_HEIGHT_M = 0.5
CLOSE_M = 30.0
SAMPLES = 50
SIDES: tuple[Side, ...] = ("vehicle", "infrastructure")
PLAUSIBLE_M = (0.0, 3.0)
"""Of a reference point on a car: wheels to roof."""


@dataclass(frozen=True, eq=False)
class CaseMaker:
    """Makes the cases of one data set."""

    recording: Recording
    samples: Samples
    times_s: Float[np.ndarray, " steps"]
    ego_size_m: tuple[float, float]
    height_m: float
    """Of the reference point above the road."""

    @classmethod
    def of(
        cls, recording: Recording, samples: Samples, times_s: np.ndarray, ego_size_m: tuple[float, float]
    ) -> "CaseMaker":
        """With the height that the labels of other road users tell."""
        return cls(recording, samples, times_s, ego_size_m, reference_height(recording, samples))

    @property
    def truth_name(self) -> str:
        """Row-wise labels are not what was driven."""
        return "label (45 rows)" if self.samples.row_labels else "driven"

    @property
    def how_drawn(self) -> str:
        """For the reader of the drawings."""
        if not any(self.recording.calibration(pair, side) for pair in self.samples.pairs[:1] for side in SIDES):
            return "These pictures have no calibration, so trajectories are drawn from above only."
        return (
            "Trajectories are drawn on level ground at the height of the road "
            f"({self.height_m:.2f} m below the vehicle's reference point), over whatever stands there. Dots are whole "
            "seconds, rings are the end. On the right the same seen from above, with the road users of that moment."
        )

    def case(self, index: int, title: str, subtitle: str, curves: Sequence[Curve]) -> Case:
        """One sample.

        Raises:
            UserError: a picture, a label or a calibration file is broken.
        """
        pair = self.samples.pairs[index]
        return Case(
            title=title,
            subtitle=subtitle,
            curves=curves,
            times_s=self.times_s,
            photos=[_photo(self.recording, pair, side, self.samples.world_from_ego[index]) for side in SIDES],
            footprints=footprints(self.recording, pair, self.samples.world_from_ego[index]),
            ego_size_m=self.ego_size_m,
            ground_z_m=-self.height_m,
        )


def reference_height(recording: Recording, samples: Samples) -> float:
    """Metres from the road up to the vehicle's reference point, as labels of road users within 30 m tell.

    The median over at most 50 samples of how far the bottoms of the boxes lie below it. 0.5 m where there are no such
    labels, or where they say something that no car has.
    """
    bottoms = []
    for index in np.linspace(0, len(samples) - 1, min(SAMPLES, len(samples))).astype(int):
        pair, ego_from_world = samples.pairs[index], np.linalg.inv(samples.world_from_ego[index])
        for box in recording.boxes(pair.sequence, pair.vehicle_id) or ():
            x, y, z = (ego_from_world @ box.world_from_box)[:3, 3]
            if np.hypot(x, y) < CLOSE_M:
                bottoms.append(box.size_m[2] / 2 - z)
    height = float(np.median(bottoms)) if bottoms else DEFAULT_HEIGHT_M
    return height if PLAUSIBLE_M[0] <= height <= PLAUSIBLE_M[1] else DEFAULT_HEIGHT_M


def footprints(recording: Recording, pair: Pair, world_from_ego: Float64[np.ndarray, "4 4"]) -> list[Footprint]:
    """Other road users at the moment of a pair; none where there are no labels."""
    ego_from_world, found = np.linalg.inv(world_from_ego), []
    for box in recording.boxes(pair.sequence, pair.vehicle_id) or ():
        ego_from_box = ego_from_world @ box.world_from_box
        yaw = float(np.arctan2(ego_from_box[1, 0], ego_from_box[0, 0]))
        x, y = map(float, ego_from_box[:2, 3])
        found.append(Footprint(x, y, yaw, *box.size_m[:2], is_unseen=box.seen_by == "inf"))
    return found


def _photo(
    recording: Recording,
    pair: Pair,
    side: Side,
    world_from_ego: Float64[np.ndarray, "4 4"],
) -> Photo:
    path = pair.vehicle_image if side == "vehicle" else pair.infrastructure_image
    name = f"{side} camera"
    if path is None:
        return Photo(name, None, None)
    picture, camera = read_whole_picture(path), recording.calibration(pair, side)
    if camera is None:
        return Photo(name, picture, None)
    return Photo(name, picture, View(picture, camera.intrinsics, camera.camera_from_world @ world_from_ego))
