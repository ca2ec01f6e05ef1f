"""The bodies of a street, each a `Mesh` of a few dozen to a few hundred faces. Sizes in metres."""

from drivelab_shared.scenes.shapes.primitives import ball, box, frustum, prism
from drivelab_shared.scenes.shapes.street import (
    SignalState,
    dashed,
    ground,
    mast,
    overpass,
    pole,
    ribbon,
    traffic_light,
)
from drivelab_shared.scenes.shapes.surroundings import building, tree
from drivelab_shared.scenes.shapes.vehicles import bus, car, pedestrian, truck

__all__ = [
    "SignalState",
    "ball",
    "box",
    "building",
    "bus",
    "car",
    "dashed",
    "frustum",
    "ground",
    "mast",
    "overpass",
    "pedestrian",
    "pole",
    "prism",
    "ribbon",
    "traffic_light",
    "tree",
    "truck",
]
