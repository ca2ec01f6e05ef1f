"""Pictures of a diagnosis: what floats, where the lidar is in the pictures, how high points are, cars from above."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from drivelab_shared.plots import Line, line_plot
from drivelab_shared.report import Report
from opv2v_stage2.clouds.cloud import CloudFrame
from opv2v_stage2.clouds.overhead import OverheadBoxes, overhead
from opv2v_stage2.data.check_data.pictures import draw_points
from opv2v_stage2.data.recording import CAMERAS
from opv2v_stage2.data.tree import read_lidar
from opv2v_stage2.diagnose.floating import band_shares, floater_map, is_valid, true_cloud
from opv2v_stage2.diagnose.subject import Case
from opv2v_stage2.evaluate.cloud_metrics import predicted_cloud
from opv2v_stage2.evaluate.page import CAMERAS as CAMERA_NAMES
from opv2v_stage2.evaluate.page import FARTHEST_M, MAGENTA, coloured
from opv2v_stage2.inference import PER_AGENT
from opv2v_stage2.predict.scene import true_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERHEAD_M = 60.0
MARGIN_M = 15.0
SIZE_PX = 480


def show_case(report: Report, case: Case, floating_pct: float) -> None:
    """A section about one moment."""
    listed, source = case.listed, "dense truth" if case.moment.has_dense else "lidar"
    report.heading(f"{listed.sequence}/{listed.frame}")
    caption = (
        f"Vehicle {listed.main_agent}. Depth from 0 (red) to {FARTHEST_M:g} m (blue), grey: not valid or not known. "
        f"Magenta: points in the sky, or more than 1 m before all that is there, by the {source}; {floating_pct:.1f} % "
        "of the points of all vehicles."
    )
    report.strip(floater_rows(case), CAMERA_NAMES, caption)
    if case.frames[listed.main_agent].cameras:
        report.picture(
            lidar_board(case), f"The lidar of vehicle {listed.main_agent} in its pictures, red near, blue far"
        )
    others = ", ".join(listed.coop_agents) or "nobody"
    caption = (
        f"From above: predicted on the left, true on the right; vehicle {listed.main_agent} in blue, {others} in "
        "orange. Outlines are the vehicles that the lidars have hit."
    )
    report.picture(above(case), caption)


def floater_rows(case: Case) -> list[tuple[str, UInt8[np.ndarray, "views height width 3"]]]:
    """Of the main vehicle: picture, depth, truth, and what floats."""
    own, moment = slice(0, PER_AGENT), case.moment
    images = np.asarray(moment.store.arrays["images"][moment.sample.rows[0]])
    depth = case.prediction.depth_z[own]
    truth = (moment.dense_z if moment.has_dense else moment.labels_z)[own]
    known = np.isfinite(truth) & (truth > 0)
    marked = images // 2
    marked[floater_map(case)[0][own]] = MAGENTA
    return [
        ("picture", images),
        ("predicted", coloured(depth, is_valid(case)[own])),
        ("true" if moment.has_dense else "lidar labels", coloured(np.where(known, truth, 0), known)),
        ("floats", marked),
    ]


def lidar_board(case: Case) -> UInt8[np.ndarray, "height width 3"]:
    """The main vehicle's pictures side by side, two and two; white where there is none."""
    frame = case.frames[case.listed.main_agent]
    points, _ = read_lidar(frame)
    drawn = {number: draw_points(points, camera) for number, camera in frame.cameras.items()}
    blank = np.full_like(next(iter(drawn.values())), 255)
    pictures = [drawn.get(number, blank) for number in CAMERAS]
    return np.concatenate([np.concatenate(pictures[start : start + 2], axis=1) for start in (0, 2)])


def above(case: Case) -> UInt8[np.ndarray, "height width 3"]:
    """All vehicles' points, predicted and true, with boxes."""
    boxes = true_boxes(case.frames, case.listed.main_agent)
    outlines = OverheadBoxes(
        np.array([box.main_from_box for box in boxes]).reshape(-1, 4, 4),
        np.array([box.half_size for box in boxes]).reshape(-1, 3),
    )
    range_m = max(OVERHEAD_M, case.moment.sample.distance_m + MARGIN_M)
    clouds = [predicted_cloud(case.moment, case.prediction, CloudFrame()), true_cloud(case)]
    return np.concatenate(
        [overhead([cloud], range_m, colour_by="agent", boxes=outlines, size_px=SIZE_PX) for cloud in clouds], axis=1
    )


def height_plot(heights: Mapping[str, Float[np.ndarray, " points"]]) -> "Figure":
    """Share of the points by height."""
    shares = {name: band_shares(found) for name, found in heights.items()}
    lines: Sequence[Line] = [
        Line(name, [band + 0.5 for band in found], list(found.values()), is_baseline=name == "true")
        for name, found in shares.items()
    ]
    return line_plot(lines, "height above the ground [m]", "share of the points, per metre [%]")
