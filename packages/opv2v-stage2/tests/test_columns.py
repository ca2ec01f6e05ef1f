"""The CSVs of an evaluation."""

import math

import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.metrics.columns import COLUMNS, read_rows, write_rows

HEADER = [
    "sequence",
    "frame",
    "main_agent",
    "coop_agents",
    "baseline_distance_m",
    "baseline_bucket",
    "pose_abs_m",
    "pose_rot_deg",
    "pose_ate_m",
    "pose_ate_rot_deg",
    "cross_agent_pose_trans_m",
    "cross_agent_pose_rot_deg",
    "intra_agent_rig_pose_trans_m",
    "intra_agent_rig_pose_rot_deg",
    "depth_rmse",
    "depth_mae",
    "depth_rel",
    "scale_err",
    "scale_log_err",
    "scale_eq_rel_err",
    "scale_ratio_mean",
    "scale_ratio_median",
    "scale_ratio_p90",
    "scale_gt_factor",
    "scale_to_gt_err",
    "scale_to_gt_log_err",
    "scale_to_gt_eq_rel_err",
    "scale_to_gt_ratio_mean",
    "scale_to_gt_ratio_median",
    "scale_to_gt_ratio_p90",
    "chamfer_pred_to_gt",
    "chamfer_gt_to_pred",
    "chamfer_filtered_pred_to_gt",
    "chamfer_filtered_gt_to_pred",
    "bev_iou_raw",
    "bev_iou_filtered",
]

FRAME = {"sequence": "2021_08_18_19_48_05", "frame": "000340", "coop_agents": "1054,1060", "pose_abs_m": 1.5}


def test_the_columns_that_users_read_come_first_and_in_their_order(tmp_path):
    assert list(COLUMNS) == HEADER
    write_rows(tmp_path / "a.csv", [FRAME, FRAME | {"scale_eff": 0.9}])
    assert (tmp_path / "a.csv").read_text().splitlines()[0].split(",") == [*HEADER, "scale_eff"]


def test_frames_come_back_with_their_zeros_and_what_was_not_measured_is_none(tmp_path):
    write_rows(tmp_path / "a.csv", [FRAME | {"depth_mae": math.nan, "scale_eff": 0.1 + 0.2}])
    (row,) = read_rows(tmp_path / "a.csv")
    assert (row["frame"], row["coop_agents"], row["pose_abs_m"]) == ("000340", "1054,1060", 1.5)
    assert math.isnan(row["depth_mae"])
    assert row["scale_eff"] == pytest.approx(0.3)
    assert row["depth_rmse"] is None


def test_the_older_header_is_read(tmp_path):
    missing = ("agent", "baseline", "ate", "rig")
    old = [name for name in HEADER if not any(word in name.split("_") for word in missing) and name != "coop_agents"]
    assert old[:4] == ["sequence", "frame", "pose_abs_m", "pose_rot_deg"]
    (tmp_path / "a.csv").write_text(",".join(old) + "\ns,000001," + ",".join("1" for _ in old[2:]) + "\n")
    (row,) = read_rows(tmp_path / "a.csv")
    assert row["main_agent"] is None
    assert row["bev_iou_filtered"] == 1
    assert set(row) == set(HEADER)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "expected different columns that begin with sequence,frame, got $"),
        ("a,b\n1,2\n", "begin with sequence,frame, got a,b"),
        ("sequence,frame,depth_mae,depth_mae\n", "expected different columns"),
        ("sequence,frame,depth_mae\ns,1\n", "line 2: expected 3 values, got 2"),
        ("sequence,frame,depth_mae\ns,1,0\ns,1,low\n", "line 3: depth_mae: expected a number, got 'low'"),
        ('sequence,frame\n"s,1\n', "expected a CSV of metrics"),
    ],
)
def test_a_broken_csv_is_one_line(tmp_path, text, found):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=found):
        read_rows(tmp_path / "a.csv")


def test_a_csv_that_is_not_there_or_not_text_is_one_line(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"sequence,frame\n\xff\xfe,1\n")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(UserError, match="expected a CSV of metrics"):
            read_rows(tmp_path / name)
