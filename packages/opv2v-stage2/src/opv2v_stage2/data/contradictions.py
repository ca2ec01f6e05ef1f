"""Calibrations that contradict the poses beside them, which no reader can put right."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from opv2v_stage2.data.agent_yaml import AgentDocument
from opv2v_stage2.geometry import ue_matrix

ROTATION_TOLERANCE = 1e-3
TRANSLATION_TOLERANCE_M = 0.01


def contradictions(document: AgentDocument) -> Iterator[str]:
    """`key: expected X, got Y` for each camera whose `extrinsic` is not what its `cords` and `lidar_pose` say."""
    for number, camera in document.cameras.items():
        expected = np.linalg.inv(ue_matrix(camera.cords)) @ ue_matrix(document.lidar_pose)
        if not _agree(camera.extrinsic, expected):
            found = _found(camera.extrinsic, expected)
            yield f"camera{number}.extrinsic: expected inv(T(cords)) @ T(lidar_pose), got {found}"


def _agree(found: Float64[np.ndarray, "4 4"], expected: Float64[np.ndarray, "4 4"]) -> bool:
    off = np.abs(found - expected)
    return bool(off[:3, :3].max() <= ROTATION_TOLERANCE and off[:3, 3].max() <= TRANSLATION_TOLERANCE_M)


def _found(extrinsic: Float64[np.ndarray, "4 4"], expected: Float64[np.ndarray, "4 4"]) -> str:
    """What somebody may have written instead."""
    if _agree(extrinsic, np.linalg.inv(expected)):
        return "its inverse, camera to lidar"
    off = np.abs(extrinsic - expected)
    return f"rotations off by {off[:3, :3].max():.2g} and translations by {off[:3, 3].max():.2g} m"
