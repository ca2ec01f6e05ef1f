"""Tables of an evaluation. Intervals are bootstrapped over scenarios, of which no two splits share one."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from drivelab_shared.results import Row, Table
from drivelab_shared.stats import Draws, Interval, bootstrap, group_draws, ratio
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import hash_v2
from opv2v_stage2.metrics.columns import Value

if TYPE_CHECKING:
    from opv2v_stage2.evaluate import Measured

Rows = Sequence[Mapping[str, Value]]


def geometric(sums: np.ndarray) -> np.ndarray:
    """Exp of a mean logarithm: a multiplicative error, 1 is right."""
    return np.exp(ratio(sums))


MAIN: dict[str, tuple[str, Callable]] = {
    "depth MAE [m]": ("depth_mae", ratio),
    "AbsRel": ("depth_rel", ratio),
    "delta < 1.25": ("depth_delta1", ratio),
    "scale of the cloud, times off": ("scale_eff_log_err", geometric),
    "scale factor, times off": ("scale_to_gt_log_err", geometric),
    "pose_abs [m]": ("pose_abs_m", ratio),
    "between vehicles [m]": ("cross_agent_pose_trans_m", ratio),
    "between vehicles [deg]": ("cross_agent_pose_rot_deg", ratio),
}
DENSE: dict[str, tuple[str, Callable]] = {
    "dense MAE [m]": ("dense_mae", ratio),
    "AbsRel above 4 m": ("high_rel", ratio),
    "floaters [%]": ("floaters_pct", ratio),
    "sky held for valid [%]": ("sky_valid_pct", ratio),
    "complete above 4 m [%]": ("completeness_high_pct", ratio),
    "false ceiling [%]": ("ceiling_pct", ratio),
}
CLOUDS: dict[str, tuple[str, Callable]] = {
    "Chamfer to lidar [m]": ("chamfer_filtered_pred_to_gt", ratio),
    "Chamfer from lidar [m]": ("chamfer_filtered_gt_to_pred", ratio),
    "F at 0.5 m": ("f_score_0.5m", ratio),
    "BEV IoU": ("bev_iou_filtered", ratio),
    "vehicles with points on them": ("box_recall", ratio),
}

NUM_WORST = 5
NAMED = "2021_08_18_19_48_05/000340"
"""Two vehicles on a motorway, far from the origin: the request's worst frame."""
TITLES = {"single": "One vehicle", "coop": "Two vehicles"}
CROSS = {
    "error between vehicles [m]": "cross_agent_pose_trans_m",
    "error between vehicles [deg]": "cross_agent_pose_rot_deg",
}


def evaluation_tables(measured: "Measured", settings: EvaluateSettings) -> list[Table]:
    """One table per mode and subject, then poses between vehicles over GPS noise."""
    tables = []
    for mode, title in TITLES.items():
        if mode not in settings.modes:
            continue
        for name, subject, metrics in (
            ("", "depth, scale and poses", MAIN),
            ("_dense", "against dense truth", DENSE),
            ("_clouds", "clouds against lidar", CLOUDS),
        ):
            rows = [
                row
                for method in measured.methods
                for row in _rows(
                    f"{method.name} ({method.modality})", measured.rows[method.name, mode], metrics, settings
                )
            ]
            if rows:
                tables.append(_table(f"{mode}{name}", f"{title}: {subject}", rows, measured, settings))
    model = next((method.name for method in reversed(measured.methods) if not method.is_baseline), None)
    if model is not None and measured.rows.get((model, "coop")) and measured.poses:
        coop = measured.rows[model, "coop"]
        buckets = _bucket_rows(coop, settings)
        tables.append(_table("buckets", f"{model} by the distance of the vehicles", buckets, measured, settings))
        tables.append(_table("worst", f"Worst frames of {model}, two vehicles", _worst_rows(coop), measured, settings))
    if measured.poses:
        rows = noise_rows(measured.poses, settings)
        tables.append(_table("noise", "Poses between vehicles over the noise of GPS", rows, measured, settings))
    return tables


def _bucket_rows(found: Rows, settings: EvaluateSettings) -> list[Row]:
    names = sorted({str(row["baseline_bucket"]) for row in found}, key=lambda name: float(name[1:].partition(",")[0]))
    rows = []
    for name in names:
        near = [row for row in found if row["baseline_bucket"] == name]
        for metric in ("depth MAE [m]", "scale of the cloud, times off", "between vehicles [m]"):
            column, statistic = MAIN[metric]
            interval = interval_of(near, column, statistic, settings)
            if interval is not None:
                rows.append(_row(f"{name} m, {len(near)} frames", metric, interval))
    return rows


def _worst_rows(found: Rows) -> list[Row]:
    """The worst by each of two errors, and the frame that the request names, wherever it stands."""
    by_name = {f"{row['sequence']}/{row['frame']}": row for row in found}
    names: list[str] = []
    for column in ("cross_agent_pose_trans_m", "pose_abs_m"):
        names += sorted(by_name, key=lambda name, column=column: -float(by_name[name][column]))[:NUM_WORST]
    names += [NAMED] if NAMED in by_name else []
    metrics = ("between vehicles [m]", "between vehicles [deg]", "pose_abs [m]", "depth MAE [m]")
    return [Row(name, metric, by_name[name][MAIN[metric][0]]) for name in dict.fromkeys(names) for metric in metrics]


def _table(name: str, title: str, rows: Sequence[Row], measured: "Measured", settings: EvaluateSettings) -> Table:
    frames = measured.frames
    title = f"{title} ({frames.split}, {len(frames.frames)} frames {hash_v2(frames.frames)[:8]})"
    said = _conclusions(measured, settings, name) if name in settings.modes else []
    return Table.create(name, title, rows, [measured.seed], said, threads=settings.threads)


def _conclusions(measured: "Measured", settings: EvaluateSettings, mode: str) -> list[str]:
    """What a model's figures come to beside the baselines that matter for them."""
    said = []
    for method in measured.methods:
        if method.is_baseline:
            continue

        def shown(column: str, unit: str = "", name: str = method.name, statistic: Callable = ratio) -> str:
            interval = interval_of(measured.rows[name, mode], column, statistic, settings)
            return "-" if interval is None else interval.shown(unit, 2)

        text = (
            f"{method.name}, {TITLES[mode].lower()}: depth is off by {shown('depth_mae', 'm')} "
            f"({shown('depth_mae', 'm', 'flat_ground')} for flat ground), "
            f"the size of the cloud by a factor of {shown('scale_eff_log_err', statistic=geometric)}"
        )
        if mode == "coop":
            text += (
                f", the other vehicle by {shown('cross_agent_pose_trans_m', 'm')} "
                f"({shown('cross_agent_pose_trans_m', 'm', 'flat_ground')} for GPS with "
                f"{settings.table_noise_m:g} m and degrees of noise)"
            )
        said.append(f"{text}.")
    return said


def noise_rows(poses: Mapping[tuple[str, float], Rows], settings: EvaluateSettings) -> list[Row]:
    """Errors between vehicles by the noise of GPS."""
    rows = []
    for (method, metres), found in poses.items():
        for metric, column in CROSS.items():
            interval = interval_of(found, column, ratio, settings)
            if interval is not None:
                rows.append(_row(method, metric, interval, f"{metres:g} m"))
    return rows


def _rows(name: str, found: Rows, metrics: Mapping[str, tuple[str, Callable]], settings: EvaluateSettings) -> list[Row]:
    rows = []
    for metric, (column, statistic) in metrics.items():
        interval = interval_of(found, column, statistic, settings)
        if interval is not None:
            rows.append(_row(name, metric, interval))
    return rows


def _row(name: str, metric: str, interval: Interval, at: str | None = None) -> Row:
    return Row(name, metric, interval.value, at, interval.low, interval.high, interval.n)


def interval_of(found: Rows, column: str, statistic: Callable, settings: EvaluateSettings) -> Interval | None:
    """Mean over frames with its interval over scenarios; None where the column is defined in no frame."""
    sums = sums_by_scenario([found], column)
    if sums is None:
        return None
    return bootstrap(sums, statistic, _draws(sums, settings))


def sums_by_scenario(runs: Sequence[Rows], column: str) -> np.ndarray | None:
    """[seeds, scenarios, (sum, count)] of a column; None where it is nowhere defined."""
    scenarios = sorted({str(row["sequence"]) for rows in runs for row in rows})
    sums = np.zeros((len(runs), len(scenarios), 2))
    for seed, rows in enumerate(runs):
        for row in rows:
            value = row.get(column)
            if value is not None and math.isfinite(value):
                sums[seed, scenarios.index(str(row["sequence"]))] += (float(value), 1)
    return sums if sums[..., 1].any() else None


def _draws(sums: np.ndarray, settings: EvaluateSettings) -> Draws:
    return group_draws(sums.shape[1], sums.shape[0], settings.num_bootstrap, settings.seed)
