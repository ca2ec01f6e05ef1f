"""Streets drawn by tracing rays: pictures with dense depth, and lidar sweeps. Knows no dataset format.

World frame: metres, x and y on the ground, z up, right-handed. Bodies and lidars: x forward, y left, z up. Cameras: x
right, y down, z forward. Needs `drivelab-shared[scenes]`, and runs without it, slowly.

    from drivelab_shared.scenes import Camera, Scene, look_at, shapes, standing

    scene = Scene(shapes.ground((0, 0), 200))
    bodies = [shapes.car(braking=True).moved(standing(12, 0, heading_rad=0))]
    view = scene.view(bodies, Camera.from_fov(256, 144, horizontal_fov_deg=70), look_at((0, 0, 1.5), (12, 0, 1)))
    view.rgb, view.depth_z, view.label, view.body
"""

from drivelab_shared.scenes import shapes
from drivelab_shared.scenes.camera import Camera, look_at
from drivelab_shared.scenes.lidar import Lidar, Sweep
from drivelab_shared.scenes.light import Light
from drivelab_shared.scenes.meshes import Colour, Label, Mesh, mottled, standing
from drivelab_shared.scenes.scene import Hits, Moment, Scene, View

__all__ = [
    "Camera",
    "Colour",
    "Hits",
    "Label",
    "Lidar",
    "Light",
    "Mesh",
    "Moment",
    "Scene",
    "Sweep",
    "View",
    "look_at",
    "mottled",
    "shapes",
    "standing",
]
