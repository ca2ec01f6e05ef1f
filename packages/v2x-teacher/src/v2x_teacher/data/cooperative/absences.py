"""What the lists of a cooperative data set promise and its folders do not have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from v2x_teacher.data.cooperative.sides import CALIBRATIONS, INTRINSICS, SIDES, Sides
from v2x_teacher.data.recording import SPLITS, Pair, Problem
from v2x_teacher.data.splits import Splits


def absences(
    split_path: Path, splits: Splits, sides: Sides, pairs: Sequence[Pair], labels: Mapping[str, str]
) -> list[Problem]:
    """Pairs, labels and cameras that are missing. Pictures and poses are reported where they are read.

    Args:
        split_path: of the split file.
        splits: what it says.
        sides: both sides.
        pairs: all of them.
        labels: cooperative label file, relative to the root, by vehicle frame id.
    """
    learned = [pair for pair in pairs if pair.split]
    return [
        *_unknown_pairs(split_path, splits, {pair.vehicle_id for pair in pairs}),
        *_nothing_to_learn(split_path, learned),
        *_missing_labels(sides, [labels[pair.vehicle_id] for pair in learned]),
        *_missing_calibrations(sides, learned),
    ]


def _unknown_pairs(split_path: Path, splits: Splits, known: set[str]) -> list[Problem]:
    problems = []
    for split in SPLITS:
        listed = [name for name, of in splits.pairs.items() if of == split]
        absent = [name for name in listed if name not in known]
        if absent:
            text = f"cooperative_split.{split}: {len(absent)} of {len(listed)} pairs are not in the data set"
            problems.append(Problem("warning", str(split_path), f"{text}: {_first(absent)}"))
    return problems


def _nothing_to_learn(split_path: Path, learned: Sequence[Pair]) -> list[Problem]:
    if learned:
        return []
    text = "cooperative_split: expected pairs of this data set, got none that can be used"
    return [Problem("error", str(split_path), text)]


def _missing_labels(sides: Sides, labels: Sequence[str]) -> list[Problem]:
    """Some mirrors lack them altogether."""
    missing = [label for label in labels if not sides.tree.has(f"{sides.tree.root}/{label}")]
    if not missing:
        return []
    text = f"expected a label file per pair, got none for {len(missing)} of {len(labels)}"
    source = str(sides.tree.root / sides.form.labels)
    return [Problem("warning", source, f"{text}, collisions are n/a there: {_first(missing)}")]


def _missing_calibrations(sides: Sides, learned: Sequence[Pair]) -> list[Problem]:
    """Only drawings need the cameras, so a missing file costs no sample. Poses have been read already."""
    missing: dict[str, list[str]] = defaultdict(list)
    for side in SIDES:
        names = [name for name in (*CALIBRATIONS[side], INTRINSICS) if name != "novatel_to_world"]
        for frame in filter(None, (sides.frame(pair, side) for pair in learned)):
            for name in names:
                if not sides.has_calibration(side, frame, name):
                    missing[f"{side}-side/calib/{name}"].append(frame.id)
    text = f"expected a file per pair, got none for {{}} of {len(learned)}, which cannot be drawn: {{}}"
    return [
        Problem("warning", f"{sides.tree.root}/{folder}", text.format(len(ids), _first(ids)))
        for folder, ids in missing.items()
    ]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
