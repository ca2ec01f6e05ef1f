"""Which moments and which agents are reconstructed."""

import numpy as np

from drivelab_shared.errors import UserError, nearest
from opv2v_stage2.config import PredictSettings
from opv2v_stage2.data.recording import AgentFrame, FrameKey
from opv2v_stage2.data.tree import Tree


def chosen_keys(tree: Tree, settings: PredictSettings) -> list[FrameKey]:
    """The moments that are named, or the first ones of the split.

    Raises:
        UserError: the split has none, or lacks one.
    """
    known = {str(key): key for key in tree.splits.get(settings.split, [])}
    if not known:
        raise UserError(f"split: expected one of {', '.join(sorted(tree.splits))}, got {settings.split!r}")
    for name in settings.frames:
        if name not in known:
            expected = f"SCENARIO/FRAME of split {settings.split}"
            raise UserError(f"frames: expected {expected}, got {name!r}{nearest(name, known)}")
    return [known[name] for name in settings.frames] or list(known.values())[: settings.num_frames]


def chosen_frames(tree: Tree, key: FrameKey, settings: PredictSettings) -> dict[str, AgentFrame]:
    """What the main vehicle and its nearest agents recorded, the main one first.

    Raises:
        UserError: there is no such vehicle.
    """
    agents = tree.agents(settings.split, key)
    vehicles = [agent for agent in agents if not agent.startswith("-")]
    main = settings.main_agent or next(iter(vehicles), "none")
    if main not in vehicles:
        raise UserError(f"{key}: main_agent: expected one of its vehicles {', '.join(vehicles)}, got {main!r}")
    frames = {agent: tree.read(settings.split, key, agent) for agent in agents}

    def away_m(agent: str) -> float:
        return float(np.linalg.norm(frames[agent].world_from_lidar[:2, 3] - frames[main].world_from_lidar[:2, 3]))

    nearest_first = [main, *sorted((agent for agent in agents if agent != main), key=away_m)]
    return {agent: frames[agent] for agent in nearest_first[: settings.num_agents or None]}
