"""Which frames an evaluation is about, and which agents work together in each: a file that two results can share.

Results are comparable only if their lists have the same `hash_v2`.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.seeding import keyed_rng
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.tree import Tree

FINE_EDGES_M = (0.0, 15.0, 30.0, 60.0, 100.0, math.inf)
COARSE_EDGES_M = (0.0, 30.0, 60.0, 100.0, math.inf)
COARSE_NAMES = ("near", "mid", "far", "tail")
SINGLE = "single"
"""The bucket of a frame in which nobody is there to work with."""
NEAREST = "nearest"
"""Partners are the vehicles nearest to the main one; the first ones of a folder are three times as far away."""
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class ListedFrame:
    """A moment and who takes part."""

    sequence: str
    """Scenario."""
    frame: str
    main_agent: str
    coop_agents: tuple[str, ...]
    """Nearest first."""
    baseline_distance_m: float
    """From the main agent to the farthest of the others, along the ground; 0 where there are none."""
    baseline_bucket: str
    """Of that distance, such as `[15,30)`."""

    @property
    def key(self) -> FrameKey:
        """The moment."""
        return FrameKey(self.sequence, self.frame)

    @property
    def agents(self) -> tuple[str, ...]:
        """The main one and the others."""
        return (self.main_agent, *self.coop_agents)


@dataclass(frozen=True)
class FrameList:
    """Frames of one split."""

    split: str
    seed: int
    """Of the sample."""
    pair_policy: str
    """How partners were chosen."""
    bucket_edges_m: tuple[float, ...]
    frames: tuple[ListedFrame, ...]


def make_frame_list(tree: Tree, split: str, *, sample_size: int = 0, seed: int = 0, num_agents: int = 2) -> FrameList:
    """Frames with the first vehicle as the main one and its nearest vehicles as partners.

    Args:
        tree: the data set.
        split: which scenarios.
        sample_size: how many frames, drawn at random; 0 means all.
        seed: of the draw.
        num_agents: how many take part, the main one included. Frames with fewer are listed, too.

    Raises:
        UserError: the split is empty, or a file is broken.
    """
    keys = [key for key in tree.splits.get(split, ()) if _vehicles(tree, split, key)]
    if not keys:
        raise UserError(f"{tree.root}: expected frames with vehicles in the split {split}, got none")
    if 0 < sample_size < len(keys):
        chosen = keyed_rng(seed).choice(len(keys), sample_size, replace=False)
        keys = [keys[index] for index in sorted(chosen)]
    frames = tuple(_listed(tree, split, key, num_agents) for key in keys)
    return FrameList(split, seed, NEAREST, FINE_EDGES_M, frames)


def bucket(distance_m: float, edges_m: Sequence[float] = FINE_EDGES_M) -> str:
    """The interval of a distance, such as `[15,30)`."""
    for low, high in pairwise(edges_m):
        if low <= distance_m < high:
            return f"[{low:g},{high:g})"
    raise ValueError(f"distance_m: expected a number within {list(edges_m)}, got {distance_m}")


def coarse_bucket(distance_m: float) -> str:
    """`near`, `mid`, `far` or `tail`."""
    return COARSE_NAMES[int(np.searchsorted(COARSE_EDGES_M, distance_m, side="right")) - 1]


def hash_v2(frames: Sequence[ListedFrame]) -> str:
    """Of frames and who takes part, whatever their order."""
    lines = {f"{f.sequence}/{f.frame}/main={f.main_agent}/coop={','.join(sorted(f.coop_agents))}" for f in frames}
    return _md5(lines)


def hash_v1(frames: Sequence[ListedFrame]) -> str:
    """Of frames only: it cannot see that other agents take part. Old results carry it."""
    return _md5({f"{frame.sequence}/{frame.frame}" for frame in frames})


def write_frame_list(path: Path, frame_list: FrameList) -> None:
    """Write it as JSON. The last edge, infinity, is the text `inf`."""
    content = asdict(frame_list) | {
        "bucket_edges_m": ["inf" if math.isinf(edge) else edge for edge in frame_list.bucket_edges_m],
        "hash_v1": hash_v1(frame_list.frames),
        "hash_v2": hash_v2(frame_list.frames),
    }
    replace_text(path, json.dumps(content, indent=1) + "\n")


def read_frame_list(path: Path) -> FrameList:
    """Read what `write_frame_list` has written, or somebody else in the same form.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        return _frame_list(_load(path))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(f"{path}: expected a list of frames, got: {found}") from None


def _load(path: Path) -> Mapping:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
            content = json.loads(file.read())
    except OSError as error:
        raise ValueError(error.strerror) from None
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    return content


def _frame_list(content: Mapping) -> FrameList:
    edges = tuple(float(edge) for edge in content.get("bucket_edges_m", FINE_EDGES_M))
    if len(edges) < 2 or any(not low < high for low, high in pairwise(edges)):
        raise ValueError(f"bucket_edges_m {list(edges)}, which do not rise")
    frames = tuple(_frame(index, entry, edges) for index, entry in enumerate(content["frames"]))
    if not frames:
        raise ValueError("no frames")
    return FrameList(
        split=_text(content["split"]),
        seed=int(content.get("seed", 0)),
        pair_policy=_text(content.get("pair_policy", "unknown")),
        bucket_edges_m=edges,
        frames=frames,
    )


def _frame(index: int, entry: Mapping, edges: Sequence[float]) -> ListedFrame:
    if not isinstance(entry["frame"], str):
        raise ValueError(f"frames.{index}: frame {entry['frame']!r:.40}, which has lost its zeros; expected a text")
    main_agent = _text(entry["main_agent"])
    coop_agents = tuple(_text(agent) for agent in entry["coop_agents"])
    if isinstance(entry["coop_agents"], str) or len({main_agent, *coop_agents}) != 1 + len(coop_agents):
        raise ValueError(f"frames.{index}: main_agent and coop_agents that are not all different")
    distance = float(entry.get("baseline_distance_m", 0.0))
    if not 0 <= distance < math.inf:
        raise ValueError(f"frames.{index}: baseline_distance_m {distance}")
    known = SINGLE if not coop_agents else bucket(distance, edges)
    return ListedFrame(
        sequence=_text(entry["sequence"]),
        frame=_text(entry["frame"]),
        main_agent=main_agent,
        coop_agents=coop_agents,
        baseline_distance_m=distance,
        baseline_bucket=_text(entry.get("baseline_bucket", known)),
    )


def _text(value: object) -> str:
    """A name; agents may be numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise ValueError(f"{value!r:.40}, which is no name")
    return str(value)


def _listed(tree: Tree, split: str, key: FrameKey, num_agents: int) -> ListedFrame:
    main, *others = _vehicles(tree, split, key)
    partners = sorted(_distances(tree, split, key, main, others).items(), key=lambda item: item[1])[: num_agents - 1]
    distance = max((distance for _, distance in partners), default=0.0)
    return ListedFrame(
        sequence=key.scenario,
        frame=key.frame,
        main_agent=main,
        coop_agents=tuple(agent for agent, _ in partners),
        baseline_distance_m=distance,
        baseline_bucket=bucket(distance) if partners else SINGLE,
    )


def _distances(tree: Tree, split: str, key: FrameKey, main: str, others: Sequence[str]) -> dict[str, float]:
    """Of each of the others from the main one along the ground, metres."""
    if not others:
        return {}
    places = {agent: tree.read(split, key, agent).world_from_lidar[:2, 3] for agent in (main, *others)}
    return {agent: float(np.linalg.norm(places[agent] - places[main])) for agent in others}


def _vehicles(tree: Tree, split: str, key: FrameKey) -> list[str]:
    return [agent for agent in tree.agents(split, key) if not agent.startswith("-")]


def _md5(lines: set[str]) -> str:
    return hashlib.md5("\n".join(sorted(lines)).encode(), usedforsecurity=False).hexdigest()
