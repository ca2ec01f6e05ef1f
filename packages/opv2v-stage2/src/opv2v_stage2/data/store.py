"""All agents of a split as arrays mapped from disk: small pictures, labels, poses, boxes; dense depth where known.

Made once per content of the data set and settings of the labels. A row is one agent at one moment.
"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from tqdm import tqdm

from drivelab_shared.arrays import map_arrays, write_arrays
from drivelab_shared.digests import key_hash
from drivelab_shared.errors import UserError
from drivelab_shared.settings import flatten
from drivelab_shared.workers import in_processes
from opv2v_stage2.config import LabelSettings, Split
from opv2v_stage2.data.agent_files import AgentFiles, read_agent, read_lidar
from opv2v_stage2.data.depth_labels import depth_labels, shrunk, thinned
from opv2v_stage2.data.recording import CAMERAS, AgentFrame, CameraView, FrameKey
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.data.truth import read_truth

VERSION = 1
"""Part of the key: raise it when the same files become other arrays."""
MOST_BOXES = 32
"""Per agent: the nearest ones."""


@dataclass(frozen=True, eq=False)
class Row:
    """One agent at one moment, as the store keeps it."""

    images: UInt8[np.ndarray, "4 height width 3"]
    """Black where there is no picture."""
    has_image: Bool[np.ndarray, "4"]
    intrinsics: Float32[np.ndarray, "4 3 3"]
    """At the size of the images."""
    rig: Float64[np.ndarray, "4 4 4"]
    """lidar_from_camera."""
    world_from_lidar: Float64[np.ndarray, "4 4"]
    gps_world_from_lidar: Float64[np.ndarray, "4 4"]
    labels_z: Float32[np.ndarray, "4 height width"]
    """Metres, 0 where there is no label."""
    dense_z: Float32[np.ndarray, "4 height width"]
    """Metres, inf in the sky; NaN where nobody knows."""
    box_ids: Int64[np.ndarray, " boxes"]
    """-1 where there is no box."""
    world_from_box: Float64[np.ndarray, "boxes 4 4"]
    half_size: Float32[np.ndarray, "boxes 3"]


@dataclass(frozen=True, eq=False)
class Store:
    """The rows of a split, one array per field of `Row`, and what they are of."""

    split: Split
    keys: tuple[FrameKey, ...]
    agents: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    fingerprint: str
    """Of everything here."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images."""
        return self.arrays["images"].shape[3], self.arrays["images"].shape[2]

    @cached_property
    def has_dense(self) -> bool:
        """Whether dense depth is known."""
        return any(np.isfinite(self.arrays["dense_z"][row]).any() for row in range(min(len(self), 8)))

    @cached_property
    def rows_of(self) -> dict[FrameKey, dict[str, int]]:
        """Row of every agent of a moment, by its name."""
        rows: dict[FrameKey, dict[str, int]] = {}
        for row, (key, agent) in enumerate(zip(self.keys, self.agents, strict=True)):
            rows.setdefault(key, {})[agent] = row
        return rows

    @cached_property
    def positions(self) -> Float64[np.ndarray, "rows 2"]:
        """Of the lidars in the world, metres."""
        return np.array(self.arrays["world_from_lidar"][:, :2, 3])


def open_store(
    tree: Tree,
    split: Split,
    size: tuple[int, int],
    labels: LabelSettings,
    cache_dir: Path,
    depth_root: Path | None = None,
) -> Store:
    """The rows of a split, made below `cache_dir` unless they are there already.

    Args:
        tree: the data set.
        split: which scenarios.
        size: width and height of the small pictures.
        labels: how lidar becomes labels.
        cache_dir: folder that is safe to delete.
        depth_root: labels that somebody has projected already, instead of the lidar.

    Raises:
        UserError: a file is wrong, or the split is empty.
    """
    index = [(key, agent) for key in tree.splits.get(split, ()) for agent in tree.agents(split, key)]
    if not index:
        raise UserError(f"{tree.root}: expected frames in the split {split}, got none")
    key = {
        "version": VERSION,
        "tree": tree.fingerprint,
        "split": split,
        "size": size,
        "labels": flatten(labels),
        "depth_root": depth_root and _listed(depth_root / split),
    }
    fingerprint = key_hash(key)
    folder = cache_dir / f"{split}-{fingerprint[:16]}"
    if not folder.is_dir():
        _make(tree, split, size, labels, depth_root, index, folder)
    keys, agents = zip(*index, strict=True)
    return Store(split, keys, agents, map_arrays(folder), fingerprint)


def _make(
    tree: Tree,
    split: Split,
    size: tuple[int, int],
    labels: LabelSettings,
    depth_root: Path | None,
    index: Sequence[tuple[FrameKey, str]],
    folder: Path,
) -> None:
    files = [tree.files[split][key][agent] for key, agent in index]
    read = partial(read_row, split, size, labels, depth_root)
    rows = tqdm(in_processes(read, files), total=len(files), desc=f"{split} pictures", unit="agent", disable=None)
    write_arrays(folder, ({name: value[None] for name, value in vars(row).items()} for row in rows), len(files))


def read_row(
    split: Split, size: tuple[int, int], labels: LabelSettings, depth_root: Path | None, files: AgentFiles
) -> Row:
    """One agent at one moment, from its files; see `open_store`."""
    frame = read_agent(files)
    key, agent = frame.key, frame.agent
    points, _ = read_lidar(frame)
    dense = None if frame.truth_path is None else read_truth(frame.truth_path).depth_z
    seed = int.from_bytes(hashlib.sha256(f"{key}/{agent}".encode()).digest()[:4], "little")
    width, height = size
    images = np.zeros((len(CAMERAS), height, width, 3), np.uint8)
    labels_z = np.zeros((len(CAMERAS), height, width), np.float32)
    dense_z = np.full((len(CAMERAS), height, width), np.nan, np.float32)
    intrinsics, rig = np.tile(np.eye(3, dtype=np.float32), (4, 1, 1)), np.tile(np.eye(4), (4, 1, 1))
    for number, camera in frame.cameras.items():
        images[number], native = _small_picture(camera.image_path, size)
        intrinsics[number] = np.diag([width / native[0], height / native[1], 1]) @ camera.intrinsics
        rig[number] = camera.lidar_from_camera
        given = depth_root and _given_labels(depth_root, split, key, agent, number)
        labels_z[number] = _labels(given, points, camera, size, labels, (seed, number))
        if dense is not None:
            dense_z[number] = cv2.resize(dense[number], size, interpolation=cv2.INTER_NEAREST_EXACT)
    return Row(
        images=images,
        has_image=np.isin(CAMERAS, list(frame.cameras)),
        intrinsics=intrinsics,
        rig=rig,
        world_from_lidar=frame.world_from_lidar,
        gps_world_from_lidar=frame.gps_world_from_lidar,
        labels_z=labels_z,
        dense_z=dense_z,
        **_nearest_boxes(frame),
    )


def _small_picture(path: Path, size: tuple[int, int]) -> tuple[UInt8[np.ndarray, "height width 3"], tuple[int, int]]:
    """RGB at that size, and the native width and height."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path}: expected a picture, got something else")
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small[..., ::-1], (picture.shape[1], picture.shape[0])


def _listed(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every map."""
    maps = sorted(folder.rglob("*.npy"))
    return [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in maps]


def _given_labels(depth_root: Path, split: Split, key: FrameKey, agent: str, camera: int) -> Path:
    return depth_root / split / key.scenario / agent / f"{key.frame}_camera{camera}_depth.npy"


def _labels(
    given: Path | None,
    points: np.ndarray,
    camera: CameraView,
    size: tuple[int, int],
    settings: LabelSettings,
    key: tuple[int, ...],
) -> Float32[np.ndarray, "height width"]:
    if given is None:
        return depth_labels(points, camera, size, settings, key)
    try:
        depth_z = np.lib.format.open_memmap(given, mode="r")  # refuses pickles, and sizes that the file does not have
        if depth_z.ndim != 2 or depth_z.dtype.kind != "f":
            raise ValueError(f"{depth_z.dtype} {list(depth_z.shape)}")
    except (OSError, ValueError, EOFError) as problem:
        raise UserError(f"{given}: expected a depth map, float [height, width], got {problem}") from problem
    return thinned(shrunk(np.nan_to_num(depth_z, posinf=0), size), settings.coverage, key)


def _nearest_boxes(frame: AgentFrame) -> dict[str, np.ndarray]:
    boxes = frame.boxes
    away = np.linalg.norm(boxes.world_from_box[:, :2, 3] - frame.world_from_lidar[:2, 3], axis=1)
    nearest = np.argsort(away, kind="stable")[:MOST_BOXES]
    if len(away) > MOST_BOXES:
        print(f"{frame.key} {frame.agent}: {len(away)} boxes, the nearest {MOST_BOXES} are used", file=sys.stderr)
    ids = np.full(MOST_BOXES, -1, np.int64)
    poses, half_size = np.tile(np.eye(4), (MOST_BOXES, 1, 1)), np.ones((MOST_BOXES, 3), np.float32)
    ids[: len(nearest)] = boxes.ids[nearest]
    poses[: len(nearest)] = boxes.world_from_box[nearest]
    half_size[: len(nearest)] = boxes.half_size[nearest]
    return {"box_ids": ids, "world_from_box": poses, "half_size": half_size}
