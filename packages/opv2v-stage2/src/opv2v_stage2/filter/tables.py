"""What filtering changed, as tables."""

from collections.abc import Iterator, Sequence

import numpy as np

from drivelab_shared.origin import counted
from drivelab_shared.results import Row, Table
from opv2v_stage2.clouds.crops import thinned
from opv2v_stage2.config import FilterSettings
from opv2v_stage2.filter.pairs import Pair
from opv2v_stage2.metrics.clouds import THRESHOLDS_M, bev_iou, cloud_errors, height_bands

PERCENT = 100.0
STATES = ("raw", "filtered")
SHOWN_BANDS = range(-3, 31)
"""Metres above the ground that have a row of their own; the rest is at the ends."""


def filter_tables(raw: Sequence[Pair], filtered: Sequence[Pair], settings: FilterSettings) -> list[Table]:
    """Means over all pairs, every pair, and where points are by height."""
    figures = {
        state: {pair.name: _figures(pair, settings) for pair in pairs}
        for state, pairs in zip(STATES, (raw, filtered), strict=True)
    }
    heights = {state: _bands(pairs) for state, pairs in zip(STATES, (raw, filtered), strict=True)}
    tables = [
        Table.create(
            "filter", f"Before and after filtering, {counted(len(raw), 'cloud')}", list(_mean_rows(figures)), []
        ),
        Table.create("heights", "Points by height above the ground", list(_height_rows(heights)), []),
    ]
    if len(raw) > 1:
        tables.append(Table.create("clouds", "Every cloud", list(_pair_rows(figures)), []))
    return tables


def _figures(pair: Pair, settings: FilterSettings) -> dict[str, float]:
    """Of one pair. Points are counted as they are, and compared after both clouds are thinned."""
    figures = {
        "points": float(len(pair.predicted)),
        f"points above {settings.z_max:g} m [%]": _share_above(pair.predicted.heights, settings.z_max),
    }
    if pair.measured is None:
        return figures
    predicted, measured = (thinned(cloud, settings.voxel).points for cloud in (pair.predicted, pair.measured))
    errors = cloud_errors(predicted, measured)
    f_scores = zip(THRESHOLDS_M, errors.f_score, strict=True)
    return figures | {
        "Chamfer, predicted to measured [m]": errors.chamfer_pred_to_gt,
        "Chamfer, measured to predicted [m]": errors.chamfer_gt_to_pred,
        **{f"F-score at {threshold:g} m [%]": PERCENT * score for threshold, score in f_scores},
        "BEV IoU [%]": PERCENT * bev_iou(predicted, measured, settings.bev_range, settings.bev_resolution),
    }


def _share_above(heights: np.ndarray, z_max: float) -> float:
    return PERCENT * float((heights > z_max).mean()) if len(heights) else float("nan")


def _mean_rows(figures: dict[str, dict[str, dict[str, float]]]) -> Iterator[Row]:
    for state, by_pair in figures.items():
        for metric in dict.fromkeys(metric for pair in by_pair.values() for metric in pair):
            values = [pair[metric] for pair in by_pair.values() if metric in pair]
            yield Row(state, metric, float(np.mean(values)), n=len(values))


def _pair_rows(figures: dict[str, dict[str, dict[str, float]]]) -> Iterator[Row]:
    for state, by_pair in figures.items():
        for name, pair in by_pair.items():
            for metric, value in pair.items():
                yield Row(name, metric, value, at=state)


def _bands(pairs: Sequence[Pair]) -> dict[int, int]:
    heights = np.concatenate([pair.predicted.heights for pair in pairs])
    return height_bands(np.clip(heights, SHOWN_BANDS[0], SHOWN_BANDS[-1]))


def _height_rows(heights: dict[str, dict[int, int]]) -> Iterator[Row]:
    for band in sorted(set().union(*heights.values())):
        for state in STATES:
            yield Row(_band_name(band), "predicted points", heights[state].get(band, 0), at=state)


def _band_name(band: int) -> str:
    if band == SHOWN_BANDS[0]:
        return f"below {band + 1} m"
    return f"above {band} m" if band == SHOWN_BANDS[-1] else f"{band} to {band + 1} m"
