"""V2X-Seq-SPD: pairs are named by frame ids, labels are in the vehicle's lidar frame and follow road users over time.

Source: AIR-THU/DAIR-V2X-Seq, dataset/v2x-seq-spd/README.md.
"""

from v2x_teacher.data.cooperative.form import Form, Link
from v2x_teacher.data.cooperative.frames import Row
from v2x_teacher.data.documents import require_id

LABELS = "cooperative/label"


def _link(row: Row) -> Link:
    vehicle_id = require_id(row["vehicle_frame"])
    return Link(
        vehicle_id=vehicle_id,
        infrastructure_id=require_id(row["infrastructure_frame"]),
        label=f"{LABELS}/{vehicle_id}.json",
        vehicle_sequence=require_id(row["vehicle_sequence"]),
    )


SPD = Form(
    name="spd",
    archive="V2X-Seq-SPD",
    group="sequence_id",
    split_file="cooperative-split-data-spd.json",
    frame_id=lambda row: row["frame_id"],
    link=_link,
    labels=LABELS,
    labels_in="lidar",
)
