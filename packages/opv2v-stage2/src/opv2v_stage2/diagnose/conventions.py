"""What the files say against the conventions of OPV2V, and what the wrong conventions would make of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from opv2v_stage2.data.agent_yaml import AgentDocument
from opv2v_stage2.data.check_data.calibration import GPS_FAR_M, GPS_TURNED_DEG, MAX_TILT_DEG
from opv2v_stage2.data.contradictions import ROTATION_TOLERANCE, TRANSLATION_TOLERANCE_M
from opv2v_stage2.data.projection import project
from opv2v_stage2.data.recording import AgentFrame, CameraView
from opv2v_stage2.data.tree import read_lidar
from opv2v_stage2.data.truth import read_truth
from opv2v_stage2.diagnose.check import Check, at_most, compared, more_than
from opv2v_stage2.diagnose.subject import Case
from opv2v_stage2.geometry import lidar_from_camera, ue_matrix, world_from_body, world_from_camera, wrapped_deg

DATA = "data"
DETERMINANT = 1e-3
AGREEMENT = 0.01
"""Of the logarithm of depth: the noise of the lidar makes 0.002 at 10 m, half a pixel of 200 makes 0.02."""
TIMES_WORSE = 2.0
"""By so much every wrong convention must be worse, or the right one is not known to be right."""
TILTED_DEG = 0.5
"""Of roll or pitch. Where no vehicle is tilted, the order of angles makes no difference."""

Points = Float[np.ndarray, "points 3"]


def file_checks(cases: Sequence[Case]) -> Iterator[Check]:
    """Calibrations, directions and GPS of every agent."""
    pairs = [(case.documents[agent], case.frames[agent]) for case in cases for agent in case.documents]
    documents = [document for document, _ in pairs]
    cameras = [(document, camera) for document in documents for camera in document.cameras.values()]
    off = [
        np.abs(camera.extrinsic - np.linalg.inv(ue_matrix(camera.cords)) @ ue_matrix(document.lidar_pose))
        for document, camera in cameras
    ]
    identity = "extrinsic against inv(T(cords)) @ T(lidar_pose)"
    yield at_most(DATA, f"{identity}, rotation", _largest(one[:3, :3] for one in off), ROTATION_TOLERANCE)
    yield at_most(DATA, f"{identity}, translation", _largest(one[:3, 3] for one in off), TRANSLATION_TOLERANCE_M, "m")

    poses = [world_from_camera(camera.cords) for _, camera in cameras]
    poses += [lidar_from_camera(camera.extrinsic) for _, camera in cameras]
    poses += [world_from_body(document.lidar_pose) for document in documents]
    determinants = [np.linalg.det(pose[:3, :3]) - 1 for pose in poses]
    yield at_most(DATA, "determinants of cameras, rigs and lidars, off 1", _largest(determinants), DETERMINANT)

    down = [world_from_camera(camera.cords)[2, 1] for _, camera in cameras]
    tilt = np.degrees(np.arccos(np.clip(-np.array(down), -1, 1)))
    yield at_most(DATA, "angle between gravity and y (down) of every camera", _largest(tilt), MAX_TILT_DEG, "deg")

    gps = np.array([document.predicted_ego_pos - document.true_ego_pos for document in documents])
    yield at_most(DATA, "GPS off the truth, on the ground", _largest(np.hypot(*gps[:, :2].T)), GPS_FAR_M, "m")
    yield at_most(DATA, "GPS off the truth, yaw", _largest(wrapped_deg(gps[:, 4])), GPS_TURNED_DEG, "deg")
    yield compared(DATA, "the same yaw without wrapping", _largest(gps[:, 4]), "deg")


def _largest(values: object) -> float:
    found = np.abs(np.array(list(values), np.float64))
    return float(found.max()) if found.size else float("nan")


# --- lidar in the camera against dense depth --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read the files: where a camera sees the points of the lidar, and how far away."""

    points: Points
    camera: CameraView
    is_ray: bool = False
    """Depth is taken to be along the ray."""
    shift_px: float = 0.5
    """Between the edge of a pixel, where the intrinsics begin to count, and its centre."""


Convention = Callable[[Reading, AgentDocument, int], Reading]


def _inverted(reading: Reading, document: AgentDocument, number: int) -> Reading:
    rig = lidar_from_camera(np.linalg.inv(document.cameras[number].extrinsic))
    return replace(reading, camera=replace(reading.camera, lidar_from_camera=rig))


def _not_mirrored(reading: Reading, document: AgentDocument, number: int) -> Reading:
    return replace(reading, points=reading.points * np.array([1, -1, 1], np.float32))


def _ray(reading: Reading, document: AgentDocument, number: int) -> Reading:
    return replace(reading, is_ray=True)


def _half_pixel(reading: Reading, document: AgentDocument, number: int) -> Reading:
    return replace(reading, shift_px=0.0)


def _zyx(reading: Reading, document: AgentDocument, number: int) -> Reading:
    cords, lidar = (_zyx_matrix(pose) for pose in (document.cameras[number].cords, document.lidar_pose))
    rig = lidar_from_camera(np.linalg.inv(cords) @ lidar)
    return replace(reading, camera=replace(reading.camera, lidar_from_camera=rig))


def _zyx_matrix(pose: Float[np.ndarray, "6"]) -> Float64[np.ndarray, "4 4"]:
    """As who takes roll, yaw and pitch for angles about fixed axes, all turning the same way."""
    roll, yaw, pitch = pose[3:]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", [yaw, pitch, roll], degrees=True).as_matrix()
    matrix[:3, 3] = pose[:3]
    return matrix


RIGHT = "as OPV2V has it"
ZYX = "angles in the order 'zyx'"
WRONG: Mapping[str, Convention] = {
    "extrinsic inverted": _inverted,
    "y of the lidar not mirrored": _not_mirrored,
    "distance along the ray taken for z": _ray,
    "half a pixel forgotten": _half_pixel,
    ZYX: _zyx,
}


def projection_checks(cases: Sequence[Case]) -> Iterator[Check]:
    """How far the lidar is from dense depth under the right convention, and under every wrong one.

    Nothing where the data have no dense depth.
    """
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (RIGHT, *WRONG)}
    tilt_deg = 0.0
    for case in cases:
        for agent, frame in case.frames.items():
            if frame.truth_path is None:
                continue
            document = case.documents[agent]
            tilt_deg = max(tilt_deg, float(np.abs(wrapped_deg(document.lidar_pose[[3, 5]])).max()))
            for name, error in _agent_errors(frame, document):
                errors[name].append(error)
    if not errors[RIGHT]:
        return
    medians = {name: _median(found) for name, found in errors.items()}
    name = "lidar against dense depth, median |log ratio|"
    yield at_most(DATA, f"{name}: {RIGHT}", medians[RIGHT], AGREEMENT)
    for wrong in WRONG:
        if wrong == ZYX and tilt_deg < TILTED_DEG:
            yield compared(DATA, f"{name}: {wrong}", medians[wrong], expected="no difference: nobody is tilted")
        else:
            yield more_than(DATA, f"{name}: {wrong}", medians[wrong], TIMES_WORSE * medians[RIGHT])


def _agent_errors(frame: AgentFrame, document: AgentDocument) -> Iterator[tuple[str, Float[np.ndarray, " points"]]]:
    points, _ = read_lidar(frame)
    dense = read_truth(frame.truth_path).depth_z
    for number, camera in frame.cameras.items():
        reading = Reading(points, camera)
        yield RIGHT, _errors(reading, dense[number])
        for name, convention in WRONG.items():
            yield name, _errors(convention(reading, document, number), dense[number])


def _errors(reading: Reading, dense_z: Float[np.ndarray, "height width"]) -> Float[np.ndarray, " points"]:
    """|log(depth of the lidar / depth of the picture)| of the points that are in it.

    Inverse depth is linear across the pixels of a plane, so between them it is interpolated without an error.
    """
    height, width = dense_z.shape
    pixels, depth = project(reading.points, reading.camera, (width, height))
    inside = (
        (depth > 0)
        & np.isfinite(pixels).all(axis=1)
        & (pixels >= 0).all(axis=1)
        & (pixels < (width, height)).all(axis=1)
    )
    if reading.is_ray:
        depth = np.linalg.norm(reading.points - reading.camera.lidar_from_camera[:3, 3], axis=1)
    row, column = (pixels[inside, axis] - reading.shift_px for axis in (1, 0))
    with np.errstate(divide="ignore"):
        inverse = map_coordinates(1 / dense_z.astype(np.float64), [row, column], order=1, mode="nearest")
    known = np.isfinite(inverse) & (inverse > 0)
    return np.abs(np.log(depth[inside][known] * inverse[known]))


def _median(errors: Sequence[Float[np.ndarray, " points"]]) -> float:
    """Infinite where no point is in a picture: nothing could be further off."""
    together = np.concatenate(errors)
    return float(np.median(together)) if len(together) else float("inf")
