"""The same scene in viser's own viewer, as one HTML file that needs no server."""

import contextlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.plots import COLOURS
from opv2v_stage2.predict.viewer import ViewedAgent, ViewedBox, ViewerScene

if TYPE_CHECKING:
    import viser

EXPECTED = "the extra `viser` (pip install 'opv2v-stage2[viser]'), version 1.1 or newer"
FRUSTUM_M = 1.2
BOX_RGB = (230, 0, 126)


def require_viser() -> None:
    """Fail early.

    Raises:
        UserError: viser is not there, or is too old to write pages.
    """
    try:
        import viser
    except ModuleNotFoundError:
        raise UserError(f"viewer: expected {EXPECTED}, got none") from None
    if not hasattr(viser.SceneApi, "as_html"):
        raise UserError(f"viewer: expected {EXPECTED}, got {viser.__version__}")


def write_viser_page(path: Path, scene: ViewerScene) -> None:
    """Write the page. While it is made, a server listens on this machine; nobody needs to connect to it."""
    import viser

    with contextlib.redirect_stdout(io.StringIO()):  # it announces an address that is gone in a moment
        server = viser.ViserServer(host="127.0.0.1", port=0, label=scene.title, verbose=False)
        try:
            replace_text(path, _page(server, scene))
        finally:
            server.stop()


def _page(server: "viser.ViserServer", scene: ViewerScene) -> str:
    _set_first_view(server, scene)
    for number, agent in enumerate(scene.agents):
        _add_agent(server.scene, agent, tuple(bytes.fromhex(COLOURS[number % len(COLOURS)][1:])))
    for number, box in enumerate(scene.boxes):
        _add_box(server.scene, f"/true boxes/{number}", box)
    return server.scene.as_html()


def _set_first_view(server: "viser.ViserServer", scene: ViewerScene) -> None:
    positions = np.stack([agent.main_from_lidar[:3, 3] for agent in scene.agents])
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
    away_m = 32 + 1.7 * float(np.linalg.norm(positions - middle, axis=1).max())
    server.scene.set_up_direction("+z")
    server.initial_camera.look_at = middle
    server.initial_camera.position = middle + away_m * np.array([-0.7, -0.4, 0.6])


def _add_agent(scene: "viser.SceneApi", agent: ViewedAgent, rgb: tuple[int, int, int]) -> None:
    name = f"/{agent.name}"
    size_m = float(np.median(agent.footprint_m)) if len(agent.points) else 0.1
    scene.add_point_cloud(f"{name}/points", agent.points, agent.colours, point_size=size_m, precision="float32")
    wxyz, position = _placed(agent.main_from_lidar)
    scene.add_frame(f"{name}/lidar", axes_length=2.0, axes_radius=0.05, wxyz=wxyz, position=position)
    for number, camera in enumerate(agent.cameras):
        wxyz, position = _placed(camera.main_from_camera)
        across, down = camera.tangents
        scene.add_camera_frustum(
            f"{name}/cameras/{number}",
            fov=2 * math.atan(down),
            aspect=across / down,
            scale=FRUSTUM_M,
            color=rgb,
            wxyz=wxyz,
            position=position,
        )


def _add_box(scene: "viser.SceneApi", name: str, box: ViewedBox) -> None:
    wxyz, position = _placed(box.main_from_box)
    size = tuple(2 * float(half) for half in box.half_size)
    scene.add_box(name, color=BOX_RGB, dimensions=size, wireframe=True, wxyz=wxyz, position=position)


def _placed(
    main_from_body: Float[np.ndarray, "4 4"],
) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "3"]]:
    """The quaternion (w first) and the position."""
    from scipy.spatial.transform import Rotation

    quaternion = Rotation.from_matrix(main_from_body[:3, :3]).as_quat(scalar_first=True)
    return quaternion, main_from_body[:3, 3]
