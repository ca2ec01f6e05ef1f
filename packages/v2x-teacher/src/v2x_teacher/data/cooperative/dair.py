"""DAIR-V2X-C: pairs are named by paths, labels are in the world and know no tracks.

Source: AIR-THU/DAIR-V2X, data/README.md.
"""

from pathlib import PurePosixPath

from v2x_teacher.data.cooperative.form import Form, Link
from v2x_teacher.data.cooperative.frames import Row
from v2x_teacher.data.documents import require_id, require_inside

LABELS = "cooperative/label_world"


def _stem(row: Row, field: str) -> str:
    try:
        return require_id(PurePosixPath(require_inside(row[field])).stem)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _link(row: Row) -> Link:
    ids = {side: _stem(row, f"{side}_pointcloud_path") for side in ("vehicle", "infrastructure")}
    for side, found in ids.items():
        image = _stem(row, f"{side}_image_path")
        if image != found:
            raise ValueError(f"{side}_image_path: expected the frame of the point cloud, {found}, got {image}")
    return Link(
        vehicle_id=ids["vehicle"],
        infrastructure_id=ids["infrastructure"],
        label=require_inside(row.get("cooperative_label_path", f"{LABELS}/{ids['vehicle']}.json")),
        vehicle_image=str(row["vehicle_image_path"]),
        infrastructure_image=str(row["infrastructure_image_path"]),
    )


DAIR = Form(
    name="dair",
    archive="cooperative-vehicle-infrastructure",
    group="batch_id",
    split_file="cooperative-split-data.json",
    frame_id=lambda row: _stem(row, "pointcloud_path"),
    link=_link,
    labels=LABELS,
    labels_in="world",
)
