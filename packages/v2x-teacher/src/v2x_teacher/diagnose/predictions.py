"""Do predictions differ between samples, as much as the truth does and in the same way?"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.seeding import keyed_rng
from drivelab_shared.stats import Interval
from v2x_teacher.data.kinematics import prior
from v2x_teacher.diagnose.sample import Part, Sample, Section
from v2x_teacher.figures import Comparison, Figure, figures, mean_of
from v2x_teacher.inputs import step_times
from v2x_teacher.metrics import displacement
from v2x_teacher.scores import Method, Scores

TEACHER, SHUFFLED, MEAN, CTRV, TRUTH = "teacher", "teacher, shuffled pictures", "train mean", "CTRV", "driven"
METRICS = {
    "spread x [of the truth's]": "spread_x",
    "spread y [of the truth's]": "spread_y",
    "ADE [m]": "ade_m",
    "distance to the train mean [m]": "to_mean_m",
}


def measure_predictions(sample: Sample) -> Section:
    """Spread ratio, error, and distance to the mean trajectory of the training split."""
    every = figures((), sample.train_mean.shape[0]) | {"to_mean_m": _distance_to(sample.train_mean)}
    comparisons = {part.split: Comparison([_scores(sample, part)]) for part in sample.parts}
    rows = [row for split, comparison in comparisons.items() for row in _rows(comparison, every, split)]
    comparison = comparisons[sample.held_out.split]

    def of(name: str, method: str) -> float:
        return comparison.interval(every[name], method).value

    has_kinematics = CTRV in comparison.seeds[0].methods
    facts = {
        "spread": (of("spread_x", TEACHER), of("spread_y", TEACHER)),
        "ade_m": of("ade_m", TEACHER),
        "train_ade_m": comparisons[sample.train.split].interval(every["ade_m"], TEACHER).value,
        "train_mean_ade_m": of("ade_m", MEAN),
        "shuffled_ade_m": of("ade_m", SHUFFLED),
        "kinematic_ade_m": of("ade_m", CTRV) if has_kinematics else None,
        "uses_ego": sample.trained.teacher.head.ego is not None,
    }
    sentence = (
        f"On {sample.held_out.split}, predictions are {of('to_mean_m', TEACHER):.2f} m away from the mean trajectory "
        f"of the training split, and the driven ones {of('to_mean_m', TRUTH):.2f} m."
    )
    table = sample.table("predictions", "Predictions: do they differ between samples?", rows, [sentence])

    def show(report: Report) -> None:
        report.text("Intervals are of whole drives drawn anew. Shuffled pictures are those of another sample here.")

    return Section(table, show, facts)


def _scores(sample: Sample, part: Part) -> Scores:
    inputs = sample.trained.inputs
    samples = inputs.samples.at(part.rows)
    methods = {
        TEACHER: Method(part.predicted),
        SHUFFLED: Method(_shuffled(sample, part)),
        MEAN: Method(np.broadcast_to(sample.train_mean, part.truth.shape)),
        TRUTH: Method(part.truth),
    }
    if inputs.knows_motion:
        methods[CTRV] = Method(prior("ctrv", part.ego, step_times(samples)))
    return Scores.of(samples, methods, None, (1.0, 1.0))


def _shuffled(sample: Sample, part: Part) -> Float[np.ndarray, "samples steps 2"]:
    """Every sample with the features of another one of the part."""
    circle = keyed_rng(sample.settings.seed).permutation(len(part.rows))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)
    return sample.predict(sample.trained.teacher.head, part, features=part.features[other])


def _distance_to(mean: Float[np.ndarray, "steps 2"]) -> Figure:
    def distance(scores: Scores, method: str) -> Float[np.ndarray, "samples steps"]:
        return displacement(scores.methods[method].trajectories, mean[None])

    return mean_of(distance)


def _rows(comparison: Comparison, every: dict[str, Figure], split: str) -> Iterator[Row]:
    for method in comparison.seeds[0].methods:
        for metric, name in METRICS.items():
            interval: Interval = comparison.interval(every[name], method)
            yield Row(method, metric, at=split, **vars(interval))
