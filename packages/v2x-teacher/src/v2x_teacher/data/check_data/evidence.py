"""What all checks look at: the recording, its labels by time and by rows, and its lists as they were written."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from v2x_teacher.config import CheckDataSettings, LabelSettings
from v2x_teacher.data.cooperative.frames import Frame, read_frames, read_rows
from v2x_teacher.data.cooperative.tree import Tree
from v2x_teacher.data.labels import FORWARD_AXES, Samples, build_samples, forward_cosines
from v2x_teacher.data.open_recording import FORMS, open_recording
from v2x_teacher.data.recording import Pair, Recording


@dataclass(frozen=True, eq=False)
class Lists:
    """The frames of both sides in the order of their files, and where cooperative labels are.

    A `Recording` is ordered by time and leaves out what cannot be used; here one can see what it was made of.
    """

    vehicle: Mapping[str, Frame]
    infrastructure: Mapping[str, Frame]
    labels: Mapping[str, str]
    """File of each vehicle frame, relative to the root."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One data set."""

    settings: CheckDataSettings
    recording: Recording
    lists: Lists | None
    """None: a flat folder has no such lists."""
    cosines: Mapping[str, float]
    """Mean cosine between each axis of the vehicle's frame and the motion; empty for a flat folder."""
    axis: str
    """The one that is taken for forward."""
    labels: Mapping[str, Samples]
    """`time` and `rows`; a flat folder has `rows` only."""

    @property
    def samples(self) -> Samples:
        """What would be learned from with these settings."""
        kind = self.settings.labels.kind
        return self.labels[kind if kind in self.labels else "rows"]

    @property
    def is_flat(self) -> bool:
        """Whether this is the folder of finished trajectories."""
        return self.recording.row_trajectories is not None

    @cached_property
    def listed(self) -> list[Pair]:
        """Pairs that a split lists."""
        return [pair for pair in self.recording.pairs if pair.split]

    @cached_property
    def split_of(self) -> dict[str, str]:
        """Of each sequence that has listed pairs."""
        return {pair.sequence: pair.split for pair in self.listed}

    @cached_property
    def world_from_vehicle(self) -> dict[str, Float64[np.ndarray, "4 4"]]:
        """Pose by vehicle frame id."""
        return {
            name: pose
            for poses in self.recording.poses.values()
            for name, pose in zip(poses.ids, poses.world_from_vehicle, strict=True)
        }

    def pose_file(self, vehicle_id: str) -> str:
        """Where the pose of a vehicle frame stands."""
        return self._calibration_file("vehicle", self.lists.vehicle[vehicle_id], "novatel_to_world")

    def label_file(self, pair: Pair) -> str:
        """Where the label of a pair comes from: its own file in a flat folder, else the pose that it starts at."""
        if self.is_flat:
            return f"{self.recording.root}/ground_truth_trajectories/{pair.vehicle_id}.npy"
        return self.pose_file(pair.vehicle_id)

    def calibration_file(self, pair: Pair, side: str, name: str) -> str:
        """Where one calibration of a pair stands."""
        frames, identity = {
            "vehicle": (self.lists.vehicle, pair.vehicle_id),
            "infrastructure": (self.lists.infrastructure, pair.infrastructure_id),
        }[side]
        return self._calibration_file(side, frames[identity], name)

    def _calibration_file(self, side: str, frame: Frame, name: str) -> str:
        return f"{self.recording.root}/{side}-side/{frame.path(f'calib_{name}_path')}"


def gather(settings: CheckDataSettings) -> Evidence:
    """Read everything but pictures, cameras and road users.

    Raises:
        UserError: a folder, a list of frames or the split file is missing or broken, so nothing can be said.
    """
    chosen = settings.labels
    recording = open_recording(settings.data_dir, settings.layout, settings.split_file, chosen.reference_point)
    if recording.row_trajectories is not None:
        rows = build_samples(recording, dataclasses.replace(chosen, kind="rows"))
        return Evidence(settings, recording, None, {}, "x", {"rows": rows})
    cosines = forward_cosines(recording)
    axis = chosen.forward_axis if chosen.forward_axis != "auto" else clearest(cosines)
    kinds: dict[str, LabelSettings] = {
        kind: dataclasses.replace(chosen, kind=kind, forward_axis=axis) for kind in ("time", "rows")
    }
    labels = {kind: build_samples(recording, of_kind) for kind, of_kind in kinds.items()}
    return Evidence(settings, recording, _read_lists(recording), cosines, axis, labels)


def clearest(cosines: Mapping[str, float]) -> str:
    """The axis closest to the motion; x where nothing moves."""
    return max(FORWARD_AXES, key=lambda axis: np.nan_to_num(cosines[axis], nan=-1.0))


def _read_lists(recording: Recording) -> Lists:
    """The reader has reported already what is wrong with single rows."""
    form = FORMS[recording.layout]
    tree = Tree(recording.root, form.archive)
    sides = [
        read_frames(tree, f"{side}-side", form.group, form.frame_id, "error", [])
        for side in ("vehicle", "infrastructure")
    ]
    labels = {}
    for row in read_rows(recording.root / "cooperative" / "data_info.json"):
        try:
            link = form.link(row)
        except (KeyError, ValueError, TypeError):
            continue
        labels[link.vehicle_id] = link.label
    return Lists(*sides, labels)
