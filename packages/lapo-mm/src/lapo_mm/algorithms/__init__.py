"""LAPO and its baselines, by the name that the setting `algorithm` has."""

from lapo_mm.algorithms.base import Algorithm
from lapo_mm.algorithms.bc import BehaviourCloning
from lapo_mm.algorithms.iql import Iql
from lapo_mm.algorithms.lapo import Lapo
from lapo_mm.algorithms.td3bc import Td3Bc
from lapo_mm.config import TrainSettings
from lapo_mm.models.shapes import Shapes

ALGORITHMS: dict[str, type[Algorithm]] = {"lapo": Lapo, "bc": BehaviourCloning, "td3bc": Td3Bc, "iql": Iql}

__all__ = ["ALGORITHMS", "Algorithm", "build"]


def build(shapes: Shapes, settings: TrainSettings) -> Algorithm:
    """The algorithm of the settings, freshly initialised from torch's random numbers."""
    return ALGORITHMS[settings.algorithm](shapes, settings)
