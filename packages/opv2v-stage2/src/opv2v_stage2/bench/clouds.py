"""Clouds: nearest neighbours by a tree against all distances, and cells seen from above against a set of tuples."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from drivelab_shared.results import Row, Table
from drivelab_shared.seeding import keyed_rng
from drivelab_shared.timing import Work, interleave, timed
from opv2v_stage2.bench.inputs import some_frames
from opv2v_stage2.config import BenchSettings
from opv2v_stage2.data.agent_files import read_lidar
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.metrics.clouds import bev_iou, nearest_distances

NUM_POINTS = 8000
"""Of each cloud where all distances are computed, too: their number is the square of it."""
RANGE_M, CELL_M = 120.0, 0.5
BLOCK = 500
NOISE_M = 0.3
ALL, TREE, WHOLE = "all distances", "k-d tree (ours)", "k-d tree, whole clouds"
TUPLES, GRID = "set of cells", "occupied grid (ours)"
Points = Float[np.ndarray, "points 3"]
Nearest = Callable[[Points, Points], Float64[np.ndarray, " points"]]


def bench_clouds(tree: Tree, settings: BenchSettings, scratch: Path) -> list[Table]:
    """Pairs of clouds per CPU-second: Chamfer distance both ways, and BEV IoU."""
    truth = np.concatenate([read_lidar(frame)[0] for frame in some_frames(tree, 2)]).astype(np.float64)
    rng = keyed_rng(settings.seed)
    predicted = truth + NOISE_M * rng.normal(size=truth.shape)
    few = [cloud[rng.choice(len(cloud), min(NUM_POINTS, len(cloud)), replace=False)] for cloud in (predicted, truth)]
    works = {
        ALL: _pairs(lambda: chamfer(all_distances, *few), 1),
        TREE: _pairs(lambda: chamfer(nearest_distances, *few), 10),
        WHOLE: _pairs(lambda: chamfer(nearest_distances, predicted, truth), 1),
        TUPLES: _pairs(lambda: iou_of_tuples(predicted, truth), 1),
        GRID: _pairs(lambda: bev_iou(predicted, truth, RANGE_M, CELL_M), 10),
    }
    timings = interleave("clouds", works, settings.repeats)
    rows = [Row(name, "CPU time of a pair [ms]", **vars(timings.milliseconds(name))) for name in works]
    gains = {name: timings.times(name, plain) for name, plain in ((TREE, ALL), (GRID, TUPLES))}
    rows += [Row(name, f"times {plain}", **vars(gains[name])) for name, plain in ((TREE, ALL), (GRID, TUPLES))]
    conclusions = [
        f"Of {len(few[0])} points each, Chamfer distances both ways are {gains[TREE].shown('times', 0)} as fast by a "
        f"tree as from all distances; of the {len(truth)} points of two sweeps, they take "
        f"{timings.milliseconds(WHOLE).shown('ms', 0)}.",
        f"Of the same two, BEV IoU is {gains[GRID].shown('times', 0)} as fast on a grid as with a set of cells.",
        "The tree is scipy's, on one thread.",
    ]
    title = f"Comparing clouds, {settings.repeats} times in turns"
    return [Table.create("clouds", title, rows, [settings.seed], conclusions, threads=settings.threads)]


def chamfer(nearest: Nearest, predicted: Points, truth: Points) -> tuple[float, float]:
    """Mean distances of each to the other."""
    return float(nearest(predicted, truth).mean()), float(nearest(truth, predicted).mean())


def all_distances(points: Points, others: Points) -> Float64[np.ndarray, " points"]:
    """To the nearest of the others, from the distances to all of them, block by block."""
    squared = (others**2).sum(1)
    blocks = [points[start : start + BLOCK] for start in range(0, len(points), BLOCK)]
    nearest = [(squared - 2 * block @ others.T).min(1) + (block**2).sum(1) for block in blocks]
    return np.sqrt(np.concatenate(nearest).clip(min=0))


def iou_of_tuples(predicted: Points, truth: Points) -> float:
    """BEV IoU by sets of cells."""
    ours, theirs = (
        {(int((x + RANGE_M) // CELL_M), int((y + RANGE_M) // CELL_M)) for x, y, _ in cloud if _is_near(x, y)}
        for cloud in (predicted, truth)
    )
    return len(ours & theirs) / len(ours | theirs)


def _is_near(x: float, y: float) -> bool:
    return -RANGE_M <= x < RANGE_M and -RANGE_M <= y < RANGE_M


def _pairs(compare: Callable[[], object], times: int) -> Work:
    def run() -> int:
        for _ in range(times):
            compare()
        return times

    return timed(run)
