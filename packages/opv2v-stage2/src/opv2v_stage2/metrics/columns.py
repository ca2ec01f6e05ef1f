"""The CSVs of an evaluation: the columns that the request's users already read, in their order, then ours."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text

TEXTS = ("sequence", "frame", "main_agent", "coop_agents", "baseline_bucket")
"""What is no number: ids keep their zeros. More agents than one are separated by commas."""
COLUMNS = (
    *("sequence", "frame", "main_agent", "coop_agents", "baseline_distance_m", "baseline_bucket"),
    *("pose_abs_m", "pose_rot_deg", "pose_ate_m", "pose_ate_rot_deg"),
    *("cross_agent_pose_trans_m", "cross_agent_pose_rot_deg"),
    *("intra_agent_rig_pose_trans_m", "intra_agent_rig_pose_rot_deg"),
    *("depth_rmse", "depth_mae", "depth_rel"),
    *("scale_err", "scale_log_err", "scale_eq_rel_err", "scale_ratio_mean", "scale_ratio_median", "scale_ratio_p90"),
    *("scale_gt_factor", "scale_to_gt_err", "scale_to_gt_log_err", "scale_to_gt_eq_rel_err"),
    *("scale_to_gt_ratio_mean", "scale_to_gt_ratio_median", "scale_to_gt_ratio_p90"),
    *("chamfer_pred_to_gt", "chamfer_gt_to_pred", "chamfer_filtered_pred_to_gt", "chamfer_filtered_gt_to_pred"),
    *("bev_iou_raw", "bev_iou_filtered"),
)
"""The literal ones. Other columns of a row come after them, in the order in which rows first have them."""

Value = str | float | None
Row = Mapping[str, Value]
"""One frame. None was not measured, NaN was and is not defined."""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per frame; whole or not at all."""
    header = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(row.get(name)) for name in header] for row in rows)
    replace_text(path, text.getvalue())


def _cell(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"


def read_rows(path: Path) -> list[dict[str, Value]]:
    """The frames of a CSV of ours, or of the request's, old ones without agents included: what lacks is None.

    Raises:
        UserError: it is no such file; names the line and the column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"{path}: expected a CSV of metrics, got {problem}") from problem
    header = lines[0] if lines else []
    if header[:2] != ["sequence", "frame"] or len(set(header)) < len(header):
        found = ",".join(header)
        raise UserError(f"{path}: expected different columns that begin with sequence,frame, got {found:.60}")
    return [dict.fromkeys(COLUMNS) | _row(path, number, header, line) for number, line in enumerate(lines[1:], 2)]


def _row(path: Path, number: int, header: list[str], line: list[str]) -> dict[str, Value]:
    if len(line) != len(header):
        raise UserError(f"{path}: line {number}: expected {len(header)} values, got {len(line)}")
    row: dict[str, Value] = {}
    for name, cell in zip(header, line, strict=True):
        try:
            row[name] = cell if name in TEXTS else float(cell) if cell else None
        except ValueError:
            raise UserError(f"{path}: line {number}: {name}: expected a number, got {cell!r:.40}") from None
    return row
