"""Clouds that were saved, compared with the lidar again: no model runs."""

from drivelab_shared.errors import UserError
from opv2v_stage2.clouds.files import read_cloud
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import FrameList
from opv2v_stage2.evaluate.chosen import effective_modality
from opv2v_stage2.evaluate.cloud_metrics import cloud_columns, cloud_path, measured_cloud
from opv2v_stage2.evaluate.frame_metrics import identity
from opv2v_stage2.evaluate.methods import Method
from opv2v_stage2.geometry import LIDAR_HEIGHT_M
from opv2v_stage2.metrics.columns import Value
from opv2v_stage2.trained import TrainedRun


def recomputed(
    trained: TrainedRun, settings: EvaluateSettings, frames: FrameList
) -> tuple[list[Method], dict[tuple[str, str], list[dict[str, Value]]]]:
    """The methods whose clouds are in `pc_cache_dir`, and their rows by method and mode.

    Clouds without a sidecar, as the request's scripts left them, are taken to lie in the frame of the main lidar.

    Raises:
        UserError: a frame has no cloud.
    """
    folder, modality = settings.pc_cache_dir, effective_modality(trained, settings)
    names = [model.partition("=")[0] for model in settings.models] or sorted(
        path.name for path in folder.glob("*") if path.is_dir()
    )
    names = [name for name in names if not settings.model_filter or name in settings.model_filter]
    if not names:
        raise UserError(f"{folder}: pc_cache_dir: expected folders of saved clouds, got none")
    rows: dict[tuple[str, str], list[dict[str, Value]]] = {
        (name, mode): [] for mode in settings.modes for name in names
    }
    for mode in settings.modes:
        for frame in frames.frames:
            if mode == "coop" and not frame.coop_agents:
                continue
            agents = frame.agents if mode == "coop" else (frame.main_agent,)
            recorded = [trained.tree.read(settings.split, frame.key, agent) for agent in agents]
            measured = measured_cloud(recorded)
            for name in names:
                path = cloud_path(folder, name, mode, frame.sequence, frame.frame)
                if not path.exists():
                    raise UserError(f"{path}: pc_cache_dir: expected a saved cloud, got none")
                cloud = read_cloud(path, ground_z=-LIDAR_HEIGHT_M)
                columns = cloud_columns(cloud, measured, recorded, settings, settings.seed)
                rows[name, mode].append(identity(frame, mode) | columns)
    return [Method(name, modality) for name in names], rows
