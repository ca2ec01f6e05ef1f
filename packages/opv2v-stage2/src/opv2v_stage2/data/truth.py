"""Dense depth and labels of made-up pictures: what real data lack. One .npz for each agent and moment.

It holds `depth_cm` (uint16, 0 in the sky, 65535 where nothing is known) and `label` (uint8), both [4, height, width].
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from drivelab_shared.arrays import read_archive
from opv2v_stage2.data.recording import CAMERAS, FrameKey

UNKNOWN_CM = 65535
FURTHEST_M = (UNKNOWN_CM - 1) / 100


@dataclass(frozen=True, eq=False)
class Truth:
    """What the four pictures of one agent show, at their size."""

    depth_z: Float32[np.ndarray, "4 height width"]
    """Metres along the axis of the camera, inf in the sky; NaN in all of a picture that does not exist, and beyond
    655 m."""
    label: UInt8[np.ndarray, "4 height width"]
    """A `drivelab_shared.scenes.Label`; means nothing where the depth is NaN."""

    def __post_init__(self) -> None:
        if self.depth_z.shape != self.label.shape or self.depth_z.shape[:1] != (len(CAMERAS),) or self.label.ndim != 3:
            found = f"{list(self.depth_z.shape)} and {list(self.label.shape)}"
            raise ValueError(f"truth: expected depth and labels [4, height, width], got {found}")


def truth_path(root: Path, split: str, key: FrameKey, agent: str) -> Path:
    """Where the truth of an agent at one moment is, below the root of the data set."""
    return root / "truth" / split / key.scenario / agent / f"{key.frame}.npz"


def write_truth(path: Path, truth: Truth) -> None:
    """Depth is rounded to a centimetre. The same bytes every time."""
    depth_z = np.where(np.isinf(truth.depth_z), 0, truth.depth_z)
    # What is a hair's breadth away is not the sky.
    depth_cm = np.where(depth_z > 0, np.maximum(np.round(depth_z * 100), 1), 0)
    depth_cm[np.isnan(depth_z) | (depth_z > FURTHEST_M)] = UNKNOWN_CM
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, depth_cm=depth_cm.astype(np.uint16), label=truth.label)


def read_truth(path: Path) -> Truth:
    """What `write_truth` has written.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    return read_archive(path, "depth_cm and label of four pictures", _truth)


def _truth(arrays: dict[str, np.ndarray]) -> Truth:
    depth_cm, label = arrays["depth_cm"], arrays["label"]
    if (depth_cm.dtype, label.dtype) != (np.uint16, np.uint8):
        raise ValueError(f"{depth_cm.dtype} and {label.dtype}")
    depth_z = depth_cm.astype(np.float32) / 100
    depth_z[depth_cm == 0] = np.inf
    depth_z[depth_cm == UNKNOWN_CM] = np.nan
    return Truth(depth_z, label)
