"""What is measured on."""

from itertools import islice

from drivelab_shared.errors import UserError
from opv2v_stage2.data.recording import AgentFrame
from opv2v_stage2.data.tree import Tree


def some_frames(tree: Tree, count: int) -> list[AgentFrame]:
    """The first vehicles of the data set that have a lidar.

    Raises:
        UserError: there is none, or a file is broken.
    """
    every = (
        tree.read(split, key, agent)
        for split, moments in tree.splits.items()
        for key in moments
        for agent in tree.agents(split, key)
    )
    found = list(islice((frame for frame in every if frame.lidar_path is not None and not frame.is_roadside), count))
    if not found:
        raise UserError(f"{tree.root}: expected vehicles with a lidar to measure on, got none")
    return found
