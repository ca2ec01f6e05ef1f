"""Where the calibrations put the cameras, and whether that can be."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from drivelab_shared.errors import UserError
from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.pictures import Sizes
from v2x_teacher.data.labels import FORWARD_AXES
from v2x_teacher.data.recording import Calibration, Pair, Problem

FOCAL_WIDTHS = (0.2, 10.0)
"""Focal length over the picture's width: a fisheye of 136 degrees, a lens of 6 degrees."""
MIDDLE = (0.25, 0.75)
"""Of the picture: where the optical axis goes through it."""
ON_VEHICLE_M = 6.0
ABOVE_REFERENCE_M = (-1.0, 5.0)
"""Height of the vehicle's camera over the reference point, which is on the axle, on the roof or between."""
INFRASTRUCTURE_ABOVE_M = (1.0, 40.0)
"""Height of the infrastructure's camera over the same point."""
NEAR_M = 300.0


@dataclass(frozen=True, eq=False)
class View:
    """A camera of a pair, in the frame of its vehicle: x forward, y left, z up."""

    pair: Pair
    calibration: Calibration
    position: Float64[np.ndarray, " 3"]
    direction: Float64[np.ndarray, " 3"]
    """Where it looks."""
    vehicle_px: tuple[float, float] | None
    """The vehicle's reference point in the picture; None behind the camera."""


def camera_problems(evidence: Evidence, sizes: Sizes) -> Iterator[Problem]:
    """All of them."""
    if evidence.is_flat:
        return
    views: dict[str, list[View]] = {"vehicle": [], "infrastructure": []}
    for pair in tqdm(evidence.listed, desc="cameras", leave=False, disable=None):
        for side, found in views.items():
            try:
                found += _view(evidence, pair, side)
            except UserError as error:
                source, _, text = str(error).partition(": ")
                yield Problem("error", source, text)
    for side, found in views.items():
        for view in found:
            yield from _lens(evidence, side, view, sizes)
            yield from (_on_vehicle if side == "vehicle" else _on_pole)(evidence, view)
    yield from _never_seen(evidence, views["infrastructure"], sizes)


def _view(evidence: Evidence, pair: Pair, side: str) -> list[View]:
    calibration = evidence.recording.calibration(pair, side)
    pose = evidence.world_from_vehicle.get(pair.vehicle_id)
    if calibration is None or pose is None:
        return []
    angle = FORWARD_AXES[evidence.axis]
    forward = pose[:3, :3] @ [np.cos(angle), np.sin(angle), 0.0]
    heading = np.arctan2(forward[1], forward[0])
    c, s = np.cos(heading), np.sin(heading)
    ego_from_world = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    camera = calibration.camera_from_world
    position = -camera[:3, :3].T @ camera[:3, 3] - pose[:3, 3]
    x, y, z = calibration.intrinsics @ (camera @ pose[:, 3])[:3]
    pixel = (float(x / z), float(y / z)) if z > 0 else None
    return [View(pair, calibration, ego_from_world @ position, ego_from_world @ camera[2, :3], pixel)]


def _lens(evidence: Evidence, side: str, view: View, sizes: Sizes) -> Iterator[Problem]:
    size = sizes.get(getattr(view.pair, f"{side}_image"))
    if size is None:
        return
    width, height = size
    (fx, _, cx), (_, fy, cy) = view.calibration.intrinsics[:2]
    low, high = MIDDLE
    source = evidence.calibration_file(view.pair, side, "camera_intrinsic")
    if not (low <= cx / width <= high and low <= cy / height <= high):
        text = f"expected the optical axis near the middle of {width} x {height} pixels, got ({cx:.0f}, {cy:.0f})"
        yield Problem("warning", source, f"{text}: is it of pictures of another size?")
    elif not (FOCAL_WIDTHS[0] <= fx / width <= FOCAL_WIDTHS[1] and 0.8 < fx / fy < 1.25):
        text = f"expected a focal length that fits pictures {width} pixels wide, got {fx:.0f} and {fy:.0f}"
        yield Problem("warning", source, text)


def _on_vehicle(evidence: Evidence, view: View) -> Iterator[Problem]:
    source = evidence.calibration_file(view.pair, "vehicle", "lidar_to_camera")
    x, y, z = view.position
    if np.hypot(x, y) > ON_VEHICLE_M or not ABOVE_REFERENCE_M[0] <= z <= ABOVE_REFERENCE_M[1]:
        found = f"{x:.1f} m ahead, {y:.1f} m left and {z:.1f} m above its reference point"
        yield Problem("warning", source, f"expected a camera on the vehicle, got one {found}")
    elif view.direction[0] < 0.5:
        ahead = np.degrees(np.arccos(np.clip(view.direction[0], -1, 1)))
        text = f"expected a camera that looks ahead, got one that looks {ahead:.0f} degrees away from it"
        yield Problem("warning", source, text)


def _on_pole(evidence: Evidence, view: View) -> Iterator[Problem]:
    source = evidence.calibration_file(view.pair, "infrastructure", "virtuallidar_to_world")
    distance, height = float(np.hypot(*view.position[:2])), view.position[2]
    if distance > NEAR_M:
        yield Problem("warning", source, f"expected a camera within {NEAR_M:g} m of the vehicle, got {distance:.0f} m")
    elif not INFRASTRUCTURE_ABOVE_M[0] <= height <= INFRASTRUCTURE_ABOVE_M[1]:
        text = f"expected a camera above the road, got one {height:.1f} m above the vehicle"
        yield Problem("warning", source, text)
    elif view.direction[2] > 0.2:
        yield Problem("warning", source, "expected a camera that looks down at the road, got one that looks up")


def _never_seen(evidence: Evidence, views: list[View], sizes: Sizes) -> Iterator[Problem]:
    """In some drives the camera may watch the cross traffic only, but hardly in all of them."""
    known = [(view, sizes[view.pair.infrastructure_image]) for view in views if view.pair.infrastructure_image in sizes]
    seen = [
        view.vehicle_px is not None and 0 <= view.vehicle_px[0] < width and 0 <= view.vehicle_px[1] < height
        for view, (width, height) in known
    ]
    source = f"{evidence.recording.root}/infrastructure-side/calib"
    if seen and not any(seen):
        text = f"expected the vehicle in some pictures of the infrastructure, got none of {len(seen)}"
        yield Problem("warning", source, text)
    elif seen:
        text = f"the vehicle is in the infrastructure's picture in {np.mean(seen):.0%} of {len(seen)} pairs"
        yield Problem("note", source, text)
