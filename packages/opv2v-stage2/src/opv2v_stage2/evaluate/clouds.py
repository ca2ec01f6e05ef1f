"""The clouds of an evaluation: compared with the lidar, saved, or read back instead of predicted."""

from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from opv2v_stage2.clouds.cloud import Cloud
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import ListedFrame
from opv2v_stage2.data.pcd import write_pcd
from opv2v_stage2.data.recording import AgentFrame
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.evaluate.cloud_metrics import (
    cloud_columns,
    cloud_frame,
    cloud_path,
    load_cloud,
    measured_cloud,
    predicted_cloud,
    save_cloud,
)
from opv2v_stage2.evaluate.frame_metrics import Moment
from opv2v_stage2.inference import Prediction
from opv2v_stage2.metrics.columns import Value


class CloudRun:
    """What the settings ask of clouds; nothing, where they ask for nothing."""

    def __init__(self, tree: Tree, settings: EvaluateSettings, output: Path) -> None:
        self._tree, self._settings, self._output = tree, settings, output
        self._kept: dict[tuple[str, str, str, str], Cloud] = {}

    def columns(
        self, method: str, mode: str, listed: ListedFrame, moment: Moment, prediction: Prediction
    ) -> dict[str, Value]:
        """The columns of the clouds; saves the cloud where that is asked for."""
        settings = self._settings
        if not (settings.pc_metrics or settings.pc_save_dir or settings.save_representative or settings.pc_cache_dir):
            return {}
        agents = [self._tree.read(settings.split, listed.key, agent) for agent in _agents(listed, mode)]
        cloud = self._cloud(method, mode, listed, moment, prediction, agents[0])
        if settings.pc_save_dir is not None:
            save_cloud(cloud_path(settings.pc_save_dir, method, mode, listed.sequence, listed.frame), cloud)
        if settings.save_representative:
            self._kept[method, mode, listed.sequence, listed.frame] = cloud
        if not (settings.pc_metrics or settings.pc_cache_dir):
            return {}
        return cloud_columns(cloud, measured_cloud(agents), agents, settings, settings.seed)

    def _cloud(
        self, method: str, mode: str, listed: ListedFrame, moment: Moment, prediction: Prediction, main: AgentFrame
    ) -> Cloud:
        if self._settings.pc_cache_dir is None:
            return predicted_cloud(moment, prediction, cloud_frame(main))
        path = cloud_path(self._settings.pc_cache_dir, method, mode, listed.sequence, listed.frame)
        if not path.exists():
            raise UserError(f"{path}: pc_cache_dir: expected a saved cloud, got none")
        return load_cloud(path)

    def save_representatives(self, method: str, mode: str, rows: list[dict[str, Value]]) -> None:
        """Best, median and worst frame by mean depth error, as PCD."""
        if not self._settings.save_representative or not rows:
            return
        order = np.argsort([float(row["depth_mae"]) for row in rows])
        folder = self._output / method / f"{mode}_representatives"
        folder.mkdir(parents=True, exist_ok=True)
        for name, index in {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}.items():
            sequence, frame = str(rows[index]["sequence"]), str(rows[index]["frame"])
            cloud = self._kept[method, mode, sequence, frame]
            mirrored = cloud.points * np.array([1, -1, 1], np.float32)  # PCDs of OPV2V have y to the right
            write_pcd(folder / f"{sequence}_{frame}_{name}.pcd", mirrored, np.zeros(len(mirrored), np.float32))
        self._kept = {key: cloud for key, cloud in self._kept.items() if key[:2] != (method, mode)}


def _agents(listed: ListedFrame, mode: str) -> tuple[str, ...]:
    return listed.agents if mode == "coop" else (listed.main_agent,)
