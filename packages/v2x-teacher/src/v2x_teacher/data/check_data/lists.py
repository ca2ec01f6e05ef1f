"""What the lists say beside the poses: order, clocks, pairs that are not simultaneous, numbers that lead astray."""

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.cooperative.frames import Faults, Frame
from v2x_teacher.data.documents import read_json, shown
from v2x_teacher.data.labels import NUM_ROWS, RATE_HZ
from v2x_teacher.data.recording import Problem

MAX_APART_S = 0.25
"""Between the two clouds of a pair. The official pairs are the nearest ones, at 10 Hz."""
MAX_EXPOSURE_S = 0.25
"""Between the picture and the cloud of one frame."""
STAMP = re.compile(r"[1-9][0-9]{15}")
POINT = re.compile(r"\(\s*([-+0-9.eE]+)\s*,\s*([-+0-9.eE]+)")
UNKNOWN_ROAD = "whether the vehicle is on the road cannot be told"
FOREIGN_M = 10_000.0
"""A map that is further away than this from where the vehicle was is in another world."""


def list_problems(evidence: Evidence) -> Iterator[Problem]:
    """All of them."""
    if evidence.lists is None:
        return
    for side in ("vehicle", "infrastructure"):
        frames = getattr(evidence.lists, side)
        path = evidence.recording.root / f"{side}-side" / "data_info.json"
        yield from _order(path, frames)
        yield from _exposure(path, frames)
    yield from _asynchrony(evidence)
    yield from _neighbours(evidence)
    yield from _row_windows(evidence)
    yield from _places(evidence)


def _order(path: Path, frames: Mapping[str, Frame]) -> Iterator[Problem]:
    """Time labels are sorted by time, but whoever counts rows goes back in time here."""
    faults, last = Faults(path), {}
    for frame in frames.values():
        before = last.get(frame.sequence)
        place = f"sequence {frame.sequence} frame {frame.id}"
        if before is not None and frame.time_us < before:
            faults.add("warning", "expected the rows of a sequence in order of time, got an earlier one", place)
        elif before == frame.time_us and path.parent.name != "vehicle-side":  # which the reader has reported
            faults.add("warning", "expected one frame per time, got another one", place)
        last[frame.sequence] = frame.time_us
    yield from faults.problems()


def _exposure(path: Path, frames: Mapping[str, Frame]) -> Iterator[Problem]:
    faults = Faults(path)
    for frame in frames.values():
        stamp = frame.row.get("image_timestamp")
        if not isinstance(stamp, int | str) or not STAMP.fullmatch(str(stamp)):
            text = "image_timestamp: expected microseconds since 1970, 16 digits, got something else"
            faults.add("warning", text, f"frame {frame.id} {shown(stamp)}")
        elif abs(int(stamp) - frame.time_us) > MAX_EXPOSURE_S * 1e6:
            text = f"image_timestamp: expected within {MAX_EXPOSURE_S:g} s of pointcloud_timestamp, got more"
            faults.add("warning", text, f"frame {frame.id} {(int(stamp) - frame.time_us) * 1e-6:+.2f} s")
    yield from faults.problems()


def _asynchrony(evidence: Evidence) -> Iterator[Problem]:
    faults = Faults(evidence.recording.root / "cooperative" / "data_info.json")
    for pair in evidence.listed:
        if pair.infrastructure_time_us is None:
            continue
        apart = (pair.infrastructure_time_us - pair.time_us) * 1e-6
        if abs(apart) > MAX_APART_S:
            text = f"expected pairs taken within {MAX_APART_S:g} s of each other, got more"
            faults.add("warning", text, f"{pair.vehicle_id} with {pair.infrastructure_id} {apart:+.2f} s")
    yield from faults.problems()


def _neighbours(evidence: Evidence) -> Iterator[Problem]:
    """Frame ids run on from one split into the next: correct, and the reason why nobody may count in them."""
    split_of = {
        int(name): evidence.split_of[sequence]
        for sequence, poses in evidence.recording.poses.items()
        if sequence in evidence.split_of
        for name in poses.ids
        if name.isascii() and name.isdigit()
    }
    torn = [name for name in sorted(split_of) if split_of.get(name + 1, split_of[name]) != split_of[name]]
    if torn:
        text = (
            f"{len(torn)} neighbouring frame ids lie in different splits, first {torn[0]} ({split_of[torn[0]]}) and "
            f"{torn[0] + 1} ({split_of[torn[0] + 1]}): windows by id or row would leak, labels by time do not"
        )
        yield Problem("note", str(evidence.recording.root / "vehicle-side" / "data_info.json"), text)


@dataclass(frozen=True)
class RowWindows:
    """45 consecutive rows of the cooperative list, which the request took for 4.4 s."""

    crossing: float
    """Share that runs from one sequence into another."""
    median_s: float
    """Time that the others span."""


def row_windows(evidence: Evidence) -> RowWindows | None:
    """None where the list is too short."""
    pairs = evidence.recording.pairs
    if len(pairs) < NUM_ROWS:
        return None
    _, numbers = np.unique([pair.sequence for pair in pairs], return_inverse=True)
    changes = np.concatenate([[0], np.cumsum(np.diff(numbers) != 0)])
    times = np.array([pair.time_us for pair in pairs]) * 1e-6
    crossing = changes[NUM_ROWS - 1 :] != changes[: len(pairs) - NUM_ROWS + 1]
    spans = np.abs(times[NUM_ROWS - 1 :] - times[: len(pairs) - NUM_ROWS + 1])[~crossing]
    return RowWindows(float(crossing.mean()), float(np.median(spans)) if len(spans) else float("nan"))


def _row_windows(evidence: Evidence) -> Iterator[Problem]:
    windows, pairs = row_windows(evidence), evidence.recording.pairs
    source = str(evidence.recording.root / "cooperative" / "data_info.json")
    if windows is not None:
        text = (
            f"{NUM_ROWS} rows of this list are not {(NUM_ROWS - 1) / RATE_HZ:g} s: {windows.crossing:.0%} of such "
            f"windows run into another sequence, the others span {windows.median_s:.1f} s (median)"
        )
        yield Problem("note", source, text)
    steps: dict[str, list[float]] = defaultdict(list)
    for before, after in itertools.pairwise(pairs):
        if before.sequence == after.sequence:
            steps[before.sequence].append((after.time_us - before.time_us) * 1e-6)
    holes = {name: max(found) for name, found in steps.items() if max(found) > 1.0}
    if holes:
        worst = max(holes, key=holes.__getitem__)
        text = f"neighbouring rows of {len(holes)} sequences are more than 1 s apart, {holes[worst]:.1f} s in {worst}"
        yield Problem("note", source, text)


# --- places -----------------------------------------------------------------------------------------------------------


def _places(evidence: Evidence) -> Iterator[Problem]:
    """Whether it is known where a drive was, and whether its map is in the same coordinates."""
    root = evidence.recording.root
    faults, places = Faults(root / "vehicle-side" / "data_info.json"), {}
    for sequence, poses in evidence.recording.poses.items():
        names = Counter(shown(evidence.lists.vehicle[name].row.get("intersection_loc")) for name in poses.ids)
        if len(names) > 1 or not _is_name(next(iter(names))):
            text = "intersection_loc: expected the name of one junction, got none or several"
            faults.add("note", text, f"sequence {sequence} {', '.join(names)}")
        else:
            places.setdefault(next(iter(names)).strip("'"), poses.world_from_vehicle[:, :2, 3].mean(axis=0))
    yield from faults.problems()
    if (root / "maps").is_dir():
        for name, position in places.items():
            yield from _map(root / "maps" / f"{name}.json", position)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"'[A-Za-z0-9_-]+'", text) is not None


def _map(path: Path, position: np.ndarray) -> Iterator[Problem]:
    try:
        points = np.array(POINT.findall(json.dumps(read_json(path))), dtype=np.float64)
    except FileNotFoundError:
        yield Problem("note", str(path), f"expected a map of this junction, got none: {UNKNOWN_ROAD}")
        return
    except ValueError as error:
        yield Problem("note", str(path), str(error))
        return
    distance = np.linalg.norm(points - position, axis=1).min() if len(points) else float("nan")
    if not distance < FOREIGN_M:
        x, y = points[0] if len(points) else (float("nan"), float("nan"))
        expected = f"a map in the coordinates of the poses ({position[0]:.0f}, {position[1]:.0f})"
        yield Problem("note", str(path), f"expected {expected}, got ({x:.0f}, {y:.0f}): {UNKNOWN_ROAD}")
