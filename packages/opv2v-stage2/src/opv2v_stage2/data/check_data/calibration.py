"""Poses and calibrations of one agent: whether they agree with one another and with the conventions of OPV2V."""

from collections.abc import Iterator

import numpy as np

from opv2v_stage2.data.agent_files import AgentFiles
from opv2v_stage2.data.agent_yaml import AgentDocument
from opv2v_stage2.data.check_data.problems import Problem
from opv2v_stage2.data.contradictions import contradictions
from opv2v_stage2.geometry import world_from_camera, wrapped_deg

UPRIGHT_COSINE = 0.8
"""Of the angle between a camera's up and the world's; less is more than a steep road."""
MAX_TILT_DEG = 30.0
GPS_FAR_M = 5.0
GPS_TURNED_DEG = 10.0


def calibration_problems(files: AgentFiles, document: AgentDocument) -> Iterator[Problem]:
    """Calibrations that contradict the poses, and cameras without a calibration."""
    source = str(files.yaml_path)
    roll, pitch = wrapped_deg(document.lidar_pose[[3, 5]])
    if max(abs(roll), abs(pitch)) > MAX_TILT_DEG:
        found = f"roll {roll:.0f} and pitch {pitch:.0f} degrees"
        text = f"lidar_pose: expected x, y, z, roll, yaw, pitch of a vehicle that stands on its wheels, got {found}"
        yield Problem("warning", source, text)
    for number in files.cameras:
        if number not in document.cameras:
            yield Problem("warning", source, f"camera{number}: expected a calibration of the picture, got none")
    for text in contradictions(document):
        yield Problem("error", source, text)
    for number, camera in document.cameras.items():
        up = world_from_camera(camera.cords)[2, :3]
        if -up[1] < UPRIGHT_COSINE:
            angle = np.degrees(np.arccos(np.clip(-up[1], -1, 1)))
            text = f"camera{number}.cords: expected a camera that stands upright, got one tilted by {angle:.0f} degrees"
            yield Problem("warning", source, text)


def gps_problems(files: AgentFiles, document: AgentDocument) -> Iterator[Problem]:
    """GNSS far from the truth, and angles whose difference has to be wrapped."""
    source = str(files.yaml_path)
    off = document.predicted_ego_pos - document.true_ego_pos
    metres, degrees = float(np.hypot(*off[:2])), float(abs(wrapped_deg(off[3:])[1]))
    if metres > GPS_FAR_M or degrees > GPS_TURNED_DEG:
        expected = f"a pose within {GPS_FAR_M:g} m and {GPS_TURNED_DEG:g} degrees of the true one"
        text = f"predicted_ego_pos: expected {expected}, got {metres:.1f} m and {degrees:.0f}"
        yield Problem("warning", source, text)
    if abs(off[4]) > 180:
        text = f"predicted_ego_pos: its yaw is {off[4]:.1f} degrees from the true one as written, a turn too many"
        yield Problem("note", source, text)
