"""Opens a data set, whichever of the three layouts it has."""

from pathlib import Path
from typing import Literal

from drivelab_shared.errors import UserError
from v2x_teacher.config import Layout
from v2x_teacher.data.cooperative import read_cooperative
from v2x_teacher.data.cooperative.dair import DAIR
from v2x_teacher.data.cooperative.frames import read_rows
from v2x_teacher.data.cooperative.spd import SPD
from v2x_teacher.data.documents import shown
from v2x_teacher.data.flat import read_flat
from v2x_teacher.data.recording import Recording

FORMS = {form.name: form for form in (SPD, DAIR)}


def open_recording(
    data_dir: Path,
    layout: Layout = "auto",
    split_file: Path | None = None,
    reference_point: Literal["novatel", "lidar"] = "novatel",
) -> Recording:
    """The data set in this folder, with everything that is wrong with it as `Recording.problems`.

    Args:
        data_dir: its root, or the folder that contains `V2X-Seq-SPD` or `cooperative-vehicle-infrastructure`.
        layout: `auto` recognises it by its folders and fields.
        split_file: the official one is looked for in data_dir and its parent.
        reference_point: which point of the vehicle `Poses` describe.

    Raises:
        UserError: nothing can be read: no such folder, no list of frames, or one that is broken.
    """
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: data_dir: expected a folder, got {'a file' if data_dir.exists() else 'none'}")
    root, found = _recognised(data_dir, layout)
    if layout not in ("auto", found):
        raise UserError(f"{root}: layout: expected {found!r}, which this folder has, got {layout!r}")
    if found == "flat" and split_file is not None:
        raise UserError(f"{root}: split_file: expected none, because a flat folder has its own lists, got {split_file}")
    if found == "flat":
        return read_flat(root)
    folders = list(dict.fromkeys([data_dir, root, root.absolute().parent, data_dir.absolute().parent]))
    return read_cooperative(FORMS[found], root, folders, split_file, reference_point)


def _recognised(data_dir: Path, layout: Layout) -> tuple[Path, str]:
    """The root and its layout."""
    below = [data_dir / form.archive for form in FORMS.values() if layout in ("auto", form.name)]
    roots = [root for root in (data_dir, *below) if (root / "vehicle-side").is_dir()]
    if not roots and (data_dir / "split").is_dir() and (data_dir / "vehicle_images").is_dir():
        return data_dir, "flat"
    if not roots:
        raise UserError(
            f"{data_dir}: data_dir: expected vehicle-side, infrastructure-side and cooperative, in it or in "
            f"{' or '.join(form.archive for form in FORMS.values())} below it, or split and vehicle_images (flat), "
            f"got {_names(data_dir)}"
        )
    if len(roots) > 1:
        raise UserError(f"{data_dir}: layout: expected one of spd and dair, got both data sets there and {layout!r}")
    return roots[0], _layout(roots[0])


def _layout(root: Path) -> str:
    path = root / "vehicle-side" / "data_info.json"
    rows = read_rows(path)
    if not rows:
        raise UserError(f"{path}: expected a list of frames, got an empty one")
    fields = set(rows[0]) if isinstance(rows[0], dict) else set()
    for form in FORMS.values():
        if form.group in fields:
            return form.name
    expected = " or ".join(f"{form.group} ({form.archive})" for form in FORMS.values())
    raise UserError(f"{path}: expected rows with {expected}, got {shown(rows[0])}")


def _names(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:6]) + (" ..." if len(names) > 6 else "")) or "an empty folder"
