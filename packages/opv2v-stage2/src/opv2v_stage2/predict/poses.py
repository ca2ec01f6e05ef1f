"""poses.json: where the agents and their cameras are believed to be, and where they truly are."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from opv2v_stage2.data.recording import AgentFrame, FrameKey
from opv2v_stage2.inference import AgentReconstruction
from opv2v_stage2.metrics.pose import relative_errors
from opv2v_stage2.predict.scene import REACH_M
from opv2v_stage2.predict.viewer import ViewedAgent

FORMAT = "opv2v-stage2-poses-1"
CONVENTIONS = {
    "frames": "4x4 in rows, metres; main: the right-handed lidar frame of main_agent, x forward, y left, z up",
    "main_from_lidar": "points of the agent's lidar frame to main, as the model has it",
    "main_from_lidar_true": "the same, as the data set has it",
    "main_from_camera": "points of the camera's frame (x right, y down, z forward) to main, by number of the camera",
    "error_m, error_deg": "distance and angle between the two poses; those of main are 0 by definition",
    "points": "how many are in the cloud",
    "left_out": f"pixels without one: less likely to be valid than min_validity, or over {REACH_M:g} m from the camera",
}
DIGITS = 6


def poses_document(
    facts: Mapping[str, Any],
    key: FrameKey,
    reconstructions: Sequence[AgentReconstruction],
    frames: Mapping[str, AgentFrame],
    viewed: Sequence[ViewedAgent],
) -> str:
    """The document; `facts` are how the reconstruction was made."""
    main = reconstructions[0].agent
    head = {"format": FORMAT, **facts, "scenario": key.scenario, "frame": key.frame, "main_agent": main}
    agents = []
    errors = zip(*agent_errors(reconstructions, frames), strict=True)
    for one, shown, (error_m, error_deg) in zip(reconstructions, viewed, errors, strict=True):
        truth = np.linalg.inv(frames[main].world_from_lidar) @ frames[one.agent].world_from_lidar
        cameras = {number: one.main_from_lidar @ one.lidar_from_camera[number] for number in frames[one.agent].cameras}
        agents.append(
            {
                "agent": one.agent,
                "main_from_lidar": _rows(one.main_from_lidar),
                "main_from_lidar_true": _rows(truth),
                "error_m": round(float(error_m), DIGITS),
                "error_deg": round(float(error_deg), DIGITS),
                "main_from_camera": {str(number): _rows(pose) for number, pose in cameras.items()},
                "points": len(shown.points),
                "left_out": len(cameras) * one.validity[0].size - len(shown.points),
            }
        )
    return json.dumps(head | {"conventions": CONVENTIONS, "agents": agents}, indent=1, allow_nan=False) + "\n"


def agent_errors(
    reconstructions: Sequence[AgentReconstruction], frames: Mapping[str, AgentFrame]
) -> tuple[Float64[np.ndarray, " agents"], Float64[np.ndarray, " agents"]]:
    """Metres and degrees by which each agent, seen from the main one, is off."""
    predicted = np.stack([one.main_from_lidar for one in reconstructions])
    return relative_errors(predicted, np.stack([frames[one.agent].world_from_lidar for one in reconstructions]))


def _rows(pose: Float[np.ndarray, "4 4"]) -> list[list[float]]:
    return np.round(pose.astype(np.float64), DIGITS).tolist()
