"""A point-cloud viewer in one HTML file: our own WebGL 1, no network, no library. `page/` holds its parts."""

import base64
import hashlib
import html
from importlib.resources import files
from pathlib import Path
from string import Template

from drivelab_shared.files import replace_text
from drivelab_shared.pictures import Picture
from opv2v_stage2.predict.viewer.contents import ViewedAgent, ViewedBox, ViewedCamera, ViewerScene
from opv2v_stage2.predict.viewer.packing import packed_scene

__all__ = ["ViewedAgent", "ViewedBox", "ViewedCamera", "ViewerScene", "viewer_page", "write_viewer"]

SCRIPTS = (
    "matrices",
    "decoding",
    "orbit",
    "gestures",
    "outlines",
    "picking",
    "renderer",
    "annotations",
    "panel",
    "main",
)


def write_viewer(path: Path, scene: ViewerScene) -> None:
    """Write a page that shows the scene in any browser, and a picture from above in one without WebGL."""
    replace_text(path, viewer_page(scene))


def viewer_page(scene: ViewerScene) -> str:
    """The page. Its policy runs this one script and loads nothing, should a name ever get past the escaping."""
    script = "(() => {\n'use strict';\n" + "\n".join(_part(f"{name}.js") for name in SCRIPTS) + "})();\n"
    overhead = Picture(scene.overhead[None], "", scene.overhead.shape[1]).encoded()
    return Template(_part("page.html")).substitute(
        title=html.escape(scene.title),
        subtitle=html.escape(scene.subtitle),
        style=_part("page.css"),
        overhead=base64.b64encode(overhead).decode(),
        scene=packed_scene(scene),
        script=script,
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
