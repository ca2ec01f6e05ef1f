"""The rig of every agent, the same as in OPV2V: four cameras and a lidar; and what they see at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from drivelab_shared.scenes import Camera, Lidar, Mesh, Scene, Sweep, View
from opv2v_stage2.data.make_data.actors import Actor
from opv2v_stage2.geometry import world_from_camera

NATIVE_WIDTH, NATIVE_FOCAL_PX = 800, 335.639852470912
LIDAR_FROM_CAMERA = world_from_camera(
    # x, y, z, roll, yaw, pitch in the UE frame of the lidar.
    np.array(
        [
            (3.0, 0.0, -0.9, 0.0, 0.0, 0.0),
            (0.5, 0.3, -0.1, 0.0, 100.0, 0.0),
            (0.5, -0.3, -0.1, 0.0, -100.0, 0.0),
            (-1.5, 0.0, -0.4, 0.0, 180.0, 0.0),
        ]
    )
)
"""Front, right rear, left rear, back."""
LIDAR = Lidar(num_beams=64, low_deg=-25.0, high_deg=2.0, azimuth_step_deg=0.5, range_m=120.0, noise_m=0.02, dropout=0.1)
"""CARLA's fires every 0.35 degrees and gets 40 thousand returns; between these houses 0.5 gives as many."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What one agent's sensors deliver at one moment."""

    views: tuple[View, ...]
    """By camera."""
    sweep: Sweep
    seen: tuple[Actor, ...]
    """Those that the lidar has hit, never the agent itself."""


def camera_of(width: int, height: int) -> Camera:
    """The camera at that size; its axis goes through the middle of the picture."""
    focal_px = NATIVE_FOCAL_PX * width / NATIVE_WIDTH
    # The shared camera counts from the centre of the first pixel, OPV2V from its edge.
    return Camera(fx=focal_px, fy=focal_px, cx=width / 2 - 0.5, cy=height / 2 - 0.5, width=width, height=height)


def record(
    scene: Scene,
    bodies: Mapping[Actor, Mesh],
    agent: Actor,
    time_s: float,
    camera: Camera,
    rng: np.random.Generator,
) -> Recording:
    """Pictures and sweep of `agent`, who does not see its own body.

    Args:
        scene: what does not move.
        bodies: what everybody looks like, where they are at that time.
        agent: one of them.
        time_s: 0 is the middle of the recording.
        camera: all four are alike.
        rng: of the lidar's noise.
    """
    others = [actor for actor in bodies if actor is not agent]
    moment = scene.at([bodies[actor] for actor in others])
    street_from_lidar = agent.street_from_lidar(time_s)
    sweep = moment.scan(LIDAR, street_from_lidar, rng)
    views = tuple(moment.view(camera, street_from_lidar @ one) for one in LIDAR_FROM_CAMERA)
    seen = tuple(others[index] for index in np.unique(sweep.body[sweep.body >= 0]))
    return Recording(views, sweep, seen)
