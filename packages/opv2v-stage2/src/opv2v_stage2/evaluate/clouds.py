"""The clouds of an evaluation: compared with the lidar, and saved."""

from pathlib import Path

import numpy as np

from opv2v_stage2.clouds.files import read_cloud
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.data.frame_list import ListedFrame
from opv2v_stage2.data.pcd import write_pcd
from opv2v_stage2.data.recording import AgentFrame
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.evaluate.cloud_metrics import (
    Measured,
    cloud_columns,
    cloud_frame,
    cloud_path,
    measured_cloud,
    predicted_cloud,
    save_cloud,
)
from opv2v_stage2.evaluate.frame_metrics import Moment
from opv2v_stage2.inference import Prediction
from opv2v_stage2.metrics.columns import Value


class CloudRun:
    """What the settings ask of clouds; nothing, where they ask for nothing."""

    def __init__(self, tree: Tree, settings: EvaluateSettings, output: Path, scratch: Path) -> None:
        self._tree, self._settings, self._output = tree, settings, output
        self._last: tuple[tuple[ListedFrame, str], Measured] | None = None
        # Which frames are best and worst is known last; until then clouds lie on disk, not in memory.
        self._folder = settings.pc_save_dir or (scratch if settings.save_representative else None)

    def columns(
        self, method: str, mode: str, listed: ListedFrame, moment: Moment, prediction: Prediction
    ) -> dict[str, Value]:
        """The columns of the clouds; saves the cloud where that is asked for."""
        settings = self._settings
        if not (settings.pc_metrics or self._folder):
            return {}
        agents = listed.agents if mode == "coop" else (listed.main_agent,)
        recorded = [self._tree.read(settings.split, listed.key, agent) for agent in agents]
        cloud = predicted_cloud(moment, prediction, cloud_frame(recorded[0]))
        if self._folder is not None:
            save_cloud(cloud_path(self._folder, method, mode, listed.sequence, listed.frame), cloud)
        if not settings.pc_metrics:
            return {}
        return cloud_columns(cloud, self._measured(listed, mode, recorded), recorded, settings, settings.seed)

    def _measured(self, listed: ListedFrame, mode: str, recorded: list[AgentFrame]) -> Measured:
        """The lidar of a moment, read once for all methods."""
        if self._last is None or self._last[0] != (listed, mode):
            self._last = (listed, mode), measured_cloud(recorded)
        return self._last[1]

    def save_representatives(self, method: str, mode: str, rows: list[dict[str, Value]]) -> None:
        """Best, median and worst frame by mean depth error, as PCD."""
        if not self._settings.save_representative or not rows or self._settings.pc_cache_dir is not None:
            return
        order = np.argsort([float(row["depth_mae"]) for row in rows])
        folder = self._output / method / f"{mode}_representatives"
        folder.mkdir(parents=True, exist_ok=True)
        for name, index in {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}.items():
            sequence, frame = str(rows[index]["sequence"]), str(rows[index]["frame"])
            cloud = read_cloud(cloud_path(self._folder, method, mode, sequence, frame))
            mirrored = cloud.points * np.array([1, -1, 1], np.float32)  # PCDs of OPV2V have y to the right
            write_pcd(folder / f"{sequence}_{frame}_{name}.pcd", mirrored, np.zeros(len(mirrored), np.float32))
