"""Frames of one side, and where the vehicle was at each of its own.

A frame belongs to the sequence that its row names. Nothing else says so: ids run on without a gap across sequences and
splits, lists have holes, and `batch_start_id` counts in an older numbering.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from v2x_teacher.data.cooperative.calibration import EXACT, not_a_rotation, rigid_row, rigid_transforms
from v2x_teacher.data.cooperative.tree import Tree
from v2x_teacher.data.documents import read_json, require_id, require_inside, shown
from v2x_teacher.data.recording import Poses, Problem, Severity

Row = Mapping[str, object]
PATHS = (
    "image_path",
    "pointcloud_path",
    "calib_camera_intrinsic_path",
    "calib_lidar_to_camera_path",
    "calib_lidar_to_novatel_path",
    "calib_novatel_to_world_path",
    "calib_virtuallidar_to_camera_path",
    "calib_virtuallidar_to_world_path",
)
OTHER_UNITS = {10: "seconds", 13: "milliseconds", 19: "nanoseconds"}
"""By the digits of a time of our days."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One row of a side's data_info.json."""

    id: str
    sequence: str
    time_us: int
    """Of the point cloud, which is the time of the vehicle's pose."""
    row: Row

    def path(self, field: str) -> str:
        """A path of the row, relative to the side's folder.

        Raises:
            ValueError: there is none.
        """
        value = self.row.get(field)
        if not isinstance(value, str):
            raise ValueError(f"{field}: expected a path, got {shown(value)}")
        return value


class Faults:
    """The same fault in thousands of rows is one line: how often, and where first."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._places: dict[tuple[Severity, str], list[str]] = defaultdict(list)

    def add(self, severity: Severity, message: str, place: str) -> None:
        """One row's fault. The message is the same for all rows that share it."""
        self._places[severity, message].append(place)

    def problems(self) -> list[Problem]:
        """One for each message."""
        found = []
        for (severity, message), places in self._places.items():
            first = ", ".join(places[:5]) + (" ..." if len(places) > 5 else "")
            found.append(Problem(severity, str(self._source), f"{message}: {len(places)} x, {first}"))
        return found


def read_rows(path: Path) -> list[object]:
    """The list in a data_info.json.

    Raises:
        UserError: the file is missing, or no list.
    """
    try:
        rows = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path}: expected this file, got none") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of frames, got {shown(rows)}")
    return rows


def read_frames(
    tree: Tree, side: str, group: str, frame_id: Callable[[Row], object], severity: Severity, problems: list[Problem]
) -> dict[str, Frame]:
    """Frames of a side by id, in the order of its file.

    Args:
        tree: where.
        side: `vehicle-side` or `infrastructure-side`.
        group: the field that names the sequence.
        frame_id: finds the id in a row.
        severity: of a row that cannot be used.
        problems: receives what is wrong.
    """
    path = tree.root / side / "data_info.json"
    faults = Faults(path)
    frames: dict[str, Frame] = {}
    for index, row in enumerate(read_rows(path)):
        try:
            frame = _frame(row, group, frame_id)
        except _BadRowError as fault:
            faults.add("error" if fault.hostile else severity, fault.message, f"row {index} {fault.found}")
            continue
        if frame.id in frames:
            faults.add(severity, "expected one row per frame id, got another one", frame.id)
            continue
        frames[frame.id] = frame
    problems += faults.problems()
    return frames


class _BadRowError(Exception):
    def __init__(self, message: str, found: object, *, hostile: bool = False) -> None:
        super().__init__(message)
        self.message, self.found, self.hostile = message, shown(found), hostile


def _frame(row: object, group: str, frame_id: Callable[[Row], object]) -> Frame:
    if not isinstance(row, Mapping):
        raise _BadRowError("expected rows of named fields, got something else", row)
    for field in PATHS:
        if isinstance(row.get(field), str):
            _require_inside(field, row[field])
    try:
        identity = require_id(frame_id(row))
    except (ValueError, KeyError):
        raise _BadRowError("expected rows with a frame id, got none", dict(row)) from None
    try:
        sequence = require_id(row.get(group))
    except ValueError:
        raise _BadRowError(f"{group}: expected the name of a sequence, got none", row.get(group)) from None
    return Frame(identity, sequence, _microseconds(row.get("pointcloud_timestamp")), row)


def _require_inside(field: str, path: str) -> None:
    try:
        require_inside(path)
    except ValueError:
        message = f"{field}: expected a path inside the data set, got one that leads out of it"
        raise _BadRowError(message, path, hostile=True) from None


def _microseconds(value: object) -> int:
    text = str(value) if isinstance(value, int | str) else ""
    if len(text) == 16 and text.isascii() and text.isdigit() and text[0] != "0":
        return int(text)
    digits = text.split(".")[0] if not isinstance(value, float) else f"{value:.0f}"
    unit = OTHER_UNITS.get(len(digits)) if digits.isascii() and digits.isdigit() else None
    expected = "pointcloud_timestamp: expected microseconds since 1970, 16 digits"
    raise _BadRowError(f"{expected}, got {unit or 'something else'}", value)


def read_poses(
    tree: Tree, frames: Mapping[str, Frame], reference_point: str, problems: list[Problem]
) -> dict[str, Poses]:
    """The vehicle's poses by sequence, ordered by time, from one small file per frame.

    Frames without a valid pose are left out and reported.
    """
    files = ["novatel_to_world", "lidar_to_novatel"] if reference_point == "lidar" else ["novatel_to_world"]
    matrices: dict[str, np.ndarray] = {}
    for name in files:
        found = _transforms(tree, frames, name, problems)
        matrices = {key: matrices[key] @ found[key] for key in found if key in matrices} if matrices else found
    sequences: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames.values():
        if frame.id in matrices:
            sequences[frame.sequence].append(frame)
    return {name: _ordered(name, sequences[name], matrices, tree, problems) for name in sorted(sequences)}


def _transforms(
    tree: Tree, frames: Mapping[str, Frame], name: str, problems: list[Problem]
) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """One calibration of every frame. Read one by one, checked all at once."""
    rows, read = [], []
    for frame in frames.values():
        source = str(tree.root / "vehicle-side" / "data_info.json")
        try:
            source = tree.path(f"vehicle-side/{frame.path(f'calib_{name}_path')}")
            rows.append(rigid_row(read_json(source)))
            read.append((frame.id, source))
        except FileNotFoundError:
            problems.append(Problem("error", source, f"expected this file for frame {frame.id}, got none"))
        except ValueError as error:
            problems.append(Problem("error", source, f"frame {frame.id}: {error}"))
    matrices, valid, off = rigid_transforms(rows)
    for index in np.flatnonzero(~valid):
        problems.append(Problem("error", read[index][1], not_a_rotation(off[index])))
    repaired = np.flatnonzero(valid & (off > EXACT))
    if len(repaired):
        text = (
            f"{name}: {len(repaired)} rotations are not quite orthonormal (off by up to {off[repaired].max():.2g}); "
            "the nearest ones are used"
        )
        problems.append(Problem("note", str(tree.root / "vehicle-side"), text))
    return {read[index][0]: matrices[index] for index in np.flatnonzero(valid)}


def _ordered(
    name: str, frames: list[Frame], matrices: Mapping[str, np.ndarray], tree: Tree, problems: list[Problem]
) -> Poses:
    kept: list[Frame] = []
    faults = Faults(tree.root / "vehicle-side" / "data_info.json")
    for frame in sorted(frames, key=lambda frame: frame.time_us):
        if kept and kept[-1].time_us == frame.time_us:
            text = f"sequence {name}: expected one frame per time, got another one"
            faults.add("error", text, f"{frame.id} beside {kept[-1].id}")
        else:
            kept.append(frame)
    problems += faults.problems()
    return Poses(
        ids=tuple(frame.id for frame in kept),
        time_us=np.array([frame.time_us for frame in kept], dtype=np.int64),
        world_from_vehicle=np.stack([matrices[frame.id] for frame in kept]),
    )
