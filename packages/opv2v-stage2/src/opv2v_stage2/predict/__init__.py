"""Predict: what one vehicle or several see, as one cloud to look at and to work with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drivelab_shared import engine, runs
from drivelab_shared.files import replace_bytes, replace_text
from drivelab_shared.pictures import Picture
from opv2v_stage2.clouds.cloud import Cloud, CloudFrame
from opv2v_stage2.clouds.files import write_cloud
from opv2v_stage2.clouds.overhead import OverheadBoxes, overhead
from opv2v_stage2.config import PredictSettings
from opv2v_stage2.data.recording import AgentFrame, FrameKey
from opv2v_stage2.geometry import LIDAR_HEIGHT_M
from opv2v_stage2.inference import AgentReconstruction, reconstruct
from opv2v_stage2.predict.poses import agent_errors, poses_document
from opv2v_stage2.predict.scene import true_boxes, viewed_agents
from opv2v_stage2.predict.selection import chosen_frames, chosen_keys
from opv2v_stage2.predict.viewer import ViewedAgent, ViewedBox, ViewerScene, write_viewer
from opv2v_stage2.predict.viser_page import require_viser, write_viser_page
from opv2v_stage2.trained import open_trained

PACKAGE = "opv2v-stage2"
OVERHEAD_M = 60.0
"""The picture from above shows at least this far around the main agent, ..."""
MARGIN_M = 20.0
"""... and this far beyond the other agents."""


def predict(settings: PredictSettings) -> None:
    """Write cloud, page, picture from above and poses of every frame, and print their paths.

    Raises:
        UserError: there is no such run, frame or agent, or the viewer is not installed.
    """
    if settings.viewer == "viser":
        require_viser()
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    trained = open_trained(run, device, settings)
    output = settings.output_dir or run / "predict"
    names = ("stage", "split", "gps_noise_m", "seed", "min_validity")
    facts = {"run": str(run), **{name: getattr(settings, name) for name in names}}
    for key in chosen_keys(trained.tree, settings):
        frames = chosen_frames(trained.tree, key, settings)
        reconstructions = reconstruct(
            trained,
            settings.split,
            key,
            tuple(frames),
            settings.stage,
            gps_noise_m=settings.gps_noise_m,
            seed=settings.seed,
        )
        write_page = write_viser_page if settings.viewer == "viser" else write_viewer
        stem = output / f"{key.scenario}_{key.frame}"
        paths = write_frame(stem, facts, key, reconstructions, frames, write_page)
        print(f"{key}: {_told(reconstructions, frames)}: {', '.join(map(str, paths))}")


def write_frame(
    stem: Path,
    facts: Mapping[str, Any],
    key: FrameKey,
    reconstructions: Sequence[AgentReconstruction],
    frames: Mapping[str, AgentFrame],
    write_page: Callable[[Path, ViewerScene], None] = write_viewer,
) -> list[Path]:
    """Write the files of one moment, named like `stem`, and return their paths.

    Args:
        stem: Folder and beginning of the names.
        facts: How the reconstruction was made: run, stage, min_validity and so on.
        key: The moment.
        reconstructions: The main agent's first.
        frames: What the same agents recorded.
        write_page: Writes the viewer.
    """
    main = reconstructions[0].agent
    viewed = viewed_agents(reconstructions, frames, facts["min_validity"])
    boxes = true_boxes(frames, main)
    cloud = _cloud(viewed, CloudFrame(f"{key}/{main}", -LIDAR_HEIGHT_M, frames[main].world_from_lidar))
    picture = _overhead(cloud, viewed, boxes)
    num_pictures = sum(len(agent.cameras) for agent in viewed)
    subtitle = f"{_told(reconstructions, frames)}; {num_pictures} pictures, {facts['stage']} of {facts['run']}"
    scene = ViewerScene(str(key), subtitle, viewed, boxes, cloud.frame.ground_z, picture)

    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("ply", "html", "png", "json")]
    write_cloud(paths[0], cloud)
    write_page(paths[1], scene)
    replace_bytes(paths[2], Picture(picture[None], str(key), picture.shape[1]).encoded())
    replace_text(paths[3], poses_document(facts, key, reconstructions, frames, viewed))
    return paths


def _cloud(viewed: Sequence[ViewedAgent], frame: CloudFrame) -> Cloud:
    return Cloud(
        points=np.concatenate([agent.points for agent in viewed]),
        frame=frame,
        colours=np.concatenate([agent.colours for agent in viewed]),
        agent=np.repeat(np.arange(len(viewed)), [len(agent.points) for agent in viewed]),
    )


def _overhead(cloud: Cloud, viewed: Sequence[ViewedAgent], boxes: Sequence[ViewedBox]) -> np.ndarray:
    farthest_m = max(float(np.abs(agent.main_from_lidar[:2, 3]).max()) for agent in viewed)
    outlines = OverheadBoxes(
        np.array([box.main_from_box for box in boxes]).reshape(-1, 4, 4),
        np.array([box.half_size for box in boxes]).reshape(-1, 3),
    )
    range_m = max(OVERHEAD_M, farthest_m + MARGIN_M)
    return overhead([cloud], range_m, colour_by="own", boxes=outlines, size_px=900)


def _told(reconstructions: Sequence[AgentReconstruction], frames: Mapping[str, AgentFrame]) -> str:
    """Who is there, and how far from the truth the others were put."""
    main, *others = (one.agent for one in reconstructions)
    if not others:
        return f"{main} alone"
    errors = zip(others, *(error[1:] for error in agent_errors(reconstructions, frames)), strict=True)
    return f"{main} and {', '.join(f'{agent} ({metres:.2f} m, {deg:.1f} deg off)' for agent, metres, deg in errors)}"
