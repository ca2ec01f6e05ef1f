"""Reads V2X-Seq-SPD and DAIR-V2X-C: two sides, the vehicle's and the infrastructure's, and a list of pairs.

What differs between the two is a `Form`; `spd` and `dair` are the two there are. A pair with an error keeps its place
in the list, but belongs to no split: it is not learned from, and row-wise labels, which count places, stay what they
are.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from v2x_teacher.data.cooperative.absences import absences
from v2x_teacher.data.cooperative.calibration import offset
from v2x_teacher.data.cooperative.form import Form, Link
from v2x_teacher.data.cooperative.frames import Faults, Frame, read_frames, read_poses, read_rows
from v2x_teacher.data.cooperative.sides import Side, Sides
from v2x_teacher.data.cooperative.tree import Tree
from v2x_teacher.data.documents import shown
from v2x_teacher.data.recording import Pair, Problem, Recording, Severity
from v2x_teacher.data.splits import Splits, find_split_file, read_splits


def read_cooperative(
    form: Form, root: Path, folders: list[Path], split_file: Path | None, reference_point: str
) -> Recording:
    """Everything but what single pairs ask for later: cameras and boxes.

    Args:
        form: the layout.
        root: of the data set.
        folders: where the split file may be.
        split_file: the split file, if it was named.
        reference_point: `novatel` or `lidar`.

    Raises:
        UserError: a list of frames, or the split file, is missing or broken.
    """
    split_path = find_split_file(form.split_file, folders, split_file)
    splits, problems = read_splits(split_path)
    tree = Tree(root, form.archive)
    vehicle = read_frames(tree, "vehicle-side", form.group, form.frame_id, "error", problems)
    infrastructure = read_frames(tree, "infrastructure-side", form.group, form.frame_id, "warning", problems)
    poses = read_poses(tree, vehicle, reference_point, problems)
    sides = Sides(form, tree, vehicle, infrastructure, poses, reference_point)
    links = _links(form, root, problems)
    pairs = tuple(_pairs(sides, links, splits, problems))
    labels = {link.vehicle_id: link.label for link in links}
    problems += absences(split_path, splits, sides, pairs, labels)
    return Recording(
        root=root,
        layout=form.name,
        poses=poses,
        pairs=pairs,
        problems=tuple(problems),
        calibration=sides.calibration,
        boxes=partial(sides.boxes, labels),
    )


def _links(form: Form, root: Path, problems: list[Problem]) -> list[Link]:
    path = root / "cooperative" / "data_info.json"
    faults, links = Faults(path), []
    for index, row in enumerate(read_rows(path)):
        try:
            if not isinstance(row, Mapping):
                raise ValueError(f"expected named fields, got {shown(row)}")
            links.append(form.link(row))
        except KeyError as error:
            faults.add("error", f"{error.args[0]}: expected this field, got none", f"row {index}")
            continue
        except ValueError as error:
            faults.add("error", str(error), f"row {index}")
            continue
        try:
            # It moves the infrastructure's boxes, never the vehicle's own path, so it is only looked at.
            offset(row.get("system_error_offset"))
        except ValueError as error:
            faults.add("warning", f"system_error_offset: {error}", links[-1].vehicle_id)
    problems += faults.problems()
    return links


def _pairs(sides: Sides, links: Sequence[Link], splits: Splits, problems: list[Problem]) -> list[Pair]:
    """One per link whose vehicle frame is known: without it there is neither sequence nor time."""
    faults = Faults(sides.tree.root / "cooperative" / "data_info.json")
    pairs: list[Pair] = []
    seen: set[str] = set()
    for link in links:
        frame = sides.vehicle.get(link.vehicle_id)
        if frame is None:
            faults.add("error", "expected frames of vehicle-side/data_info.json, got another id", link.vehicle_id)
            continue
        split = _split(link, frame, splits, faults)
        if frame.id in seen:
            faults.add("warning", "expected one pair per vehicle frame, got another one, which is left out", frame.id)
            split = ""
        seen.add(frame.id)
        pairs.append(_pair(sides, link, frame, split, faults, problems))
    problems += faults.problems()
    return pairs


def _split(link: Link, frame: Frame, splits: Splits, faults: Faults) -> str:
    """The split of a pair, empty where no list has it or where the lists do not agree."""
    split = splits.pairs.get(frame.id, "")
    if not split:
        return ""
    wrong = []
    of_sequence = splits.batches.get(frame.sequence, "no split")
    if of_sequence != split:
        expected = f"pairs of sequence {frame.sequence} in {of_sequence}, as batch_split says"
        wrong.append(f"expected {expected}, got them in cooperative_split {split}: a leak")
    of_infrastructure = splits.infrastructure.get(link.infrastructure_id, split)
    if of_infrastructure != split:
        expected = f"the pairs of infrastructure_split {of_infrastructure} in {of_infrastructure}"
        wrong.append(f"expected {expected}, got them in cooperative_split {split}: a leak")
    if link.vehicle_sequence not in (None, frame.sequence):
        wrong.append("vehicle_sequence: expected the sequence_id of the vehicle's frame, got another one")
    for message in wrong:
        faults.add("error", message, frame.id)
    return "" if wrong else split


def _pair(sides: Sides, link: Link, frame: Frame, split: str, faults: Faults, problems: list[Problem]) -> Pair:
    other = sides.infrastructure.get(link.infrastructure_id)
    found: dict[Side, Path | None] = {"vehicle": None, "infrastructure": None}
    wrong: list[Problem] = []
    try:
        found["vehicle"] = sides.picture("vehicle", frame, link.vehicle_image)
    except (FileNotFoundError, ValueError) as error:
        wrong.append(_problem("error", error))
    try:
        found["infrastructure"] = sides.picture("infrastructure", other, link.infrastructure_image)
    except (FileNotFoundError, ValueError) as error:
        wrong.append(_problem("warning", error))
    if split:
        problems += wrong
        if other is None:
            text = "expected frames of infrastructure-side/data_info.json, got another id"
            faults.add("warning", text, link.infrastructure_id)
    return Pair(
        vehicle_id=frame.id,
        infrastructure_id=link.infrastructure_id,
        sequence=frame.sequence,
        split=split if found["vehicle"] else "",
        time_us=frame.time_us,
        infrastructure_time_us=other.time_us if other else None,
        # Without one: where it should be. Nobody opens the pictures of pairs that belong to no split.
        vehicle_image=found["vehicle"] or sides.tree.root / "vehicle-side" / "image" / f"{frame.id}.jpg",
        infrastructure_image=found["infrastructure"],
    )


def _problem(severity: Severity, error: Exception) -> Problem:
    source, _, message = str(error).partition(": ")
    return Problem(severity, source, message)
