"""One agent at one moment: everything that its own files say, and everything that is wrong with them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from drivelab_shared.errors import UserError
from opv2v_stage2.data.agent_files import AgentFiles, read_agent, read_lidar
from opv2v_stage2.data.agent_yaml import AgentDocument, read_agent_yaml
from opv2v_stage2.data.check_data.calibration import calibration_problems, gps_problems
from opv2v_stage2.data.check_data.problems import Problem
from opv2v_stage2.data.pictures import is_worth_decoding, read_picture
from opv2v_stage2.data.projection import native_size, project
from opv2v_stage2.data.recording import CAMERAS, AgentFrame, Boxes
from opv2v_stage2.geometry import wrapped_deg

BOX_MARGIN_M = 0.1
"""Lidar noise: hits that far outside of a box are its own."""
FEWEST_POINTS = 1000


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the lidar measured, in numbers."""

    num_points: int
    low_deg: float
    """Elevation above the horizon of the lidar that 1 % of the points are below."""
    high_deg: float
    range_m: float
    """The farthest point."""
    coverage: Float64[np.ndarray, " cameras"]
    """Share of each camera's pixels that have a point, at the native size; NaN without a picture."""
    hits: Int64[np.ndarray, " boxes"]
    """Points of each box."""


@dataclass(frozen=True, eq=False)
class Glance:
    """What is known of an agent at a moment; document, boxes and sweep are None where a file is broken."""

    files: AgentFiles
    problems: tuple[Problem, ...]
    document: AgentDocument | None = None
    boxes: Boxes | None = None
    sweep: Sweep | None = None

    @property
    def is_usable(self) -> bool:
        """Whether training and evaluation can take it."""
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def gps_error(self) -> tuple[float, float]:
        """Metres along the ground, and degrees of yaw."""
        off = self.document.predicted_ego_pos - self.document.true_ego_pos
        return float(np.hypot(*off[:2])), float(np.abs(wrapped_deg(off[3:])[1]))


def glance(files: AgentFiles) -> Glance:
    """Read all files of an agent at a moment."""
    try:
        document = read_agent_yaml(files.yaml_path)
    except UserError as error:
        return Glance(files, (Problem.of("error", error),))
    problems = [*calibration_problems(files, document), *gps_problems(files, document)]
    try:
        frame = read_agent(files)
    except UserError as error:
        return Glance(files, (*problems, Problem.of("error", error)), document)
    problems += _picture_problems(frame)
    try:
        sweep = measured(frame)
    except UserError as error:
        return Glance(files, (*problems, Problem.of("error", error)), document, frame.boxes)
    problems += _sweep_problems(frame, sweep)
    return Glance(files, tuple(problems), document, frame.boxes, sweep)


def measured(frame: AgentFrame) -> Sweep | None:
    """The sweep of an agent in numbers; None where there is none.

    Raises:
        UserError: the file is broken.
    """
    if frame.lidar_path is None:
        return None
    points, _ = read_lidar(frame)
    away = np.linalg.norm(points, axis=1)
    elevation = np.degrees(np.arcsin(points[:, 2] / np.maximum(away, 1e-6)))
    low, high = np.percentile(elevation, [1, 99]) if len(points) else (np.nan, np.nan)
    return Sweep(
        num_points=len(points),
        low_deg=float(low),
        high_deg=float(high),
        range_m=float(away.max(initial=0)),
        coverage=np.array([_coverage(points, frame, number) for number in CAMERAS]),
        hits=hits_of_boxes(points, frame.boxes, frame.world_from_lidar),
    )


def hits_of_boxes(
    points: Float[np.ndarray, "points 3"], boxes: Boxes, world_from_lidar: Float64[np.ndarray, "4 4"]
) -> Int64[np.ndarray, " boxes"]:
    """How many points of the lidar frame lie in each box."""
    hits = np.zeros(len(boxes.ids), np.int64)
    for index, (world_from_box, half_size) in enumerate(zip(boxes.world_from_box, boxes.half_size, strict=True)):
        box_from_lidar = np.linalg.inv(world_from_box) @ world_from_lidar
        in_box = points @ box_from_lidar[:3, :3].T + box_from_lidar[:3, 3]
        hits[index] = (np.abs(in_box) <= half_size + BOX_MARGIN_M).all(axis=1).sum()
    return hits


def _coverage(points: Float[np.ndarray, "points 3"], frame: AgentFrame, number: int) -> float:
    if number not in frame.cameras:
        return np.nan
    size = native_size(frame.cameras[number])
    pixels, depth_z = project(points, frame.cameras[number], size)
    pixels = np.floor(pixels[depth_z > 0])
    columns, rows = pixels[((pixels >= 0) & (pixels < size)).all(axis=1)].astype(np.int64).T
    return len(np.unique(rows * size[0] + columns)) / (size[0] * size[1])


def _picture_problems(frame: AgentFrame) -> list[Problem]:
    """Pictures that cannot be decoded, or show nothing."""
    problems = []
    for camera in frame.cameras.values():
        try:
            spread = read_picture(camera.image_path).std() if is_worth_decoding(camera.image_path) else np.inf
        except UserError as error:
            problems.append(Problem.of("error", error))
            continue
        if spread < 1:
            text = "expected a picture of something, got a single colour"
            problems.append(Problem("warning", str(camera.image_path), text))
    return problems


def _sweep_problems(frame: AgentFrame, sweep: Sweep | None) -> list[Problem]:
    if sweep is None:
        return []
    source, problems = str(frame.lidar_path), []
    if sweep.num_points < FEWEST_POINTS:
        text = f"expected at least {FEWEST_POINTS} points, got {sweep.num_points}"
        problems.append(Problem("warning", source, text))
    if count := int((sweep.hits == 0).sum()):
        text = f"expected a point of the lidar in every box of the YAML, got none in {count} of {len(sweep.hits)}"
        problems.append(Problem("warning", source, text))
    return problems
