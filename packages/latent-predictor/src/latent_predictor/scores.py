"""What the judges said, window by window: the raw material of every figure, kept for later comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from drivelab_shared.arrays import read_archive
from drivelab_shared.stats import Draws, Interval, bootstrap, difference, group_draws, ratio

JUDGES = ("a", "b", "c")
"""a: the classifier of the loss, on latents. b: an independent one, on latents. c: on decoded pictures. There is no b
where another VAE than the run's was given."""
NUM_CLASSES = 3


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the tables: a model or a baseline. What a method has no opinion on is absent."""

    classes: dict[str, Int[np.ndarray, "windows horizons"]] = field(default_factory=dict)
    """Lane by judge. A method that names the lane itself (majority, oracle) has it as judge `label`."""
    error: Float[np.ndarray, "windows horizons"] | None = None
    """Mean squared error of the latent."""
    psnr: Float[np.ndarray, "windows horizons"] | None = None
    """Of the decoded picture against the real frame, dB."""
    std: Float[np.ndarray, " horizons"] | None = None
    """Standard deviation over windows, averaged over latent dimensions."""


@dataclass(frozen=True, eq=False)
class Scores:
    """All methods on the same windows."""

    horizons: tuple[int, ...]
    groups: Int[np.ndarray, " windows"]
    """Trajectory of each window."""
    labels: Int[np.ndarray, "windows horizons"]
    methods: dict[str, Method]

    @property
    def num_groups(self) -> int:
        """Trajectories."""
        return int(self.groups.max()) + 1

    @property
    def judges(self) -> list[str]:
        """Those who were asked."""
        return [judge for judge in JUDGES if self.has("predictor", judge)]

    def at(self, horizon: int) -> int:
        """Column of a horizon."""
        return self.horizons.index(horizon)

    def confusion(self, method: str, judge: str, horizon: int) -> Int[np.ndarray, "groups 3 3"]:
        """Windows per trajectory, label and answer; windows without a label are left out."""
        column = self.at(horizon)
        labels, answers = self.labels[:, column], self.answers(method, judge)[:, column]
        counts = np.zeros((self.num_groups, NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
        known = labels >= 0
        np.add.at(counts, (self.groups[known], labels[known], answers[known]), 1)
        return counts

    def answers(self, method: str, judge: str) -> Int[np.ndarray, "windows horizons"]:
        """Lane that the judge reads, or that the method itself names."""
        classes = self.methods[method].classes
        return classes[judge] if judge in classes else classes["label"]

    def has(self, method: str, judge: str) -> bool:
        """Whether the judge has something to say about the method."""
        return judge in self.methods[method].classes or "label" in self.methods[method].classes

    def sums(self, values: Float[np.ndarray, "windows horizons"], horizon: int) -> Float[np.ndarray, "groups 2"]:
        """(sum, number) of a per-window value by trajectory."""
        column = values[:, self.at(horizon)]
        return np.stack([np.bincount(self.groups, column), np.bincount(self.groups)], axis=-1).astype(float)

    def save(self, path: Path) -> None:
        """As an npz without pickles."""
        arrays = {"horizons": np.array(self.horizons), "groups": self.groups, "labels": self.labels}
        for name, method in self.methods.items():
            parts = {f"class_{judge}": classes for judge, classes in method.classes.items()}
            parts |= {"error": method.error, "psnr": method.psnr, "std": method.std}
            arrays |= {f"{name}/{part}": values for part, values in parts.items() if values is not None}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            UserError: it is another file.
        """
        return read_archive(path, "the scores of an evaluation", _from_arrays)


def _from_arrays(arrays: dict[str, np.ndarray]) -> Scores:
    required = ("horizons", "groups", "labels")
    if missing := [name for name in required if name not in arrays]:
        raise ValueError(f"no {missing[0]}")
    horizons, groups, labels = (arrays.pop(name) for name in required)
    parts: dict[str, dict] = {}
    for key, values in arrays.items():
        name, _, part = key.rpartition("/")
        parts.setdefault(name, {"classes": {}})
        if part.startswith("class_"):
            parts[name]["classes"][part.removeprefix("class_")] = values
        else:
            parts[name][part] = values
    methods = {name: Method(**fields) for name, fields in parts.items()}
    return Scores(tuple(int(h) for h in horizons), groups, labels, methods)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of windows on the diagonal, percent. [..., 3, 3] -> [...]."""
    return 100 * np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that occur, percent. Source: Brodersen et al., 2010."""
    occurs = confusion.sum(-1)
    recalls = np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(occurs, 1)
    return 100 * recalls.sum(-1) / (occurs > 0).sum(-1)


def recall(lane: int):
    """Statistic: share of the windows of one lane that were read as such, percent."""
    return lambda confusion: 100 * confusion[..., lane, lane] / confusion[..., lane, :].sum(-1)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Figures with 95 % intervals from the scores of one or several seeds on the same windows."""

    seeds: Sequence[Scores]
    draws: Draws

    @classmethod
    def of(cls, seeds: Sequence[Scores], num_draws: int = 1000, seed: int = 0) -> "Comparison":
        """Over seeds that were evaluated on the same windows.

        Raises:
            ValueError: the windows differ.
        """
        first = seeds[0]
        if any(not np.array_equal(first.labels, other.labels) for other in seeds):
            raise ValueError("scores: expected the same windows for every seed, got different labels")
        return cls(seeds, group_draws(first.num_groups, len(seeds), num_draws, seed))

    def classes(self, method: str, judge: str, horizon: int, statistic=accuracy) -> Interval:
        """Of the confusion matrices."""
        return bootstrap(self._confusions(method, judge, horizon), statistic, self.draws)

    def classes_difference(
        self, ours: str, theirs: str, judge: str, horizon: int, statistic=accuracy, other: "Comparison | None" = None
    ) -> Interval:
        """`ours` minus `theirs` (of `other`, if given), paired by trajectory."""
        theirs_sums = (other or self)._confusions(theirs, judge, horizon)
        return difference(self._confusions(ours, judge, horizon), theirs_sums, statistic, self.draws)

    def gaming(self, method: str, horizon: int) -> Interval:
        """Points by which judge c is further below its real line than judge a; positive: written for a."""
        pairs = [("a", method), ("a", "real"), ("c", method), ("c", "reconstruction")]
        sums = np.stack([self._confusions(name, judge, horizon) for judge, name in pairs], axis=2)

        def gap(sums: np.ndarray) -> np.ndarray:
            a, a_real, c, c_real = (accuracy(sums[..., index, :, :]) for index in range(4))
            return (a - a_real) - (c - c_real)

        return bootstrap(sums, gap, self.draws)

    def quotient(self, ours: str, theirs: str, judge: str, horizon: int) -> Interval:
        """Accuracy of `ours` over that of `theirs`."""
        sums = np.stack([self._confusions(name, judge, horizon) for name in (ours, theirs)], axis=2)
        return bootstrap(sums, lambda s: accuracy(s[..., 0, :, :]) / accuracy(s[..., 1, :, :]), self.draws)

    def mean(self, method: str, value: str, horizon: int) -> Interval:
        """Mean of a per-window value, `error` or `psnr`."""
        sums = np.stack([scores.sums(getattr(scores.methods[method], value), horizon) for scores in self.seeds])
        return bootstrap(sums, ratio, self.draws)

    def relative_error(self, method: str, to: str, horizon: int) -> Interval:
        """Squared error of one method over that of another."""
        sums = np.stack(
            [
                np.stack([scores.sums(scores.methods[name].error, horizon)[:, 0] for name in (method, to)], axis=-1)
                for scores in self.seeds
            ]
        )
        return bootstrap(sums, ratio, self.draws)

    def std_ratio(self, method: str, horizon: int) -> float:
        """Spread of the predictions over that of the real latents, mean over seeds."""
        column = self.seeds[0].at(horizon)
        spreads = np.array([[s.methods[name].std[column] for name in (method, "real")] for s in self.seeds])
        with np.errstate(invalid="ignore", divide="ignore"):  # a single window has no spread
            return float(ratio(spreads).mean())

    def _confusions(self, method: str, judge: str, horizon: int) -> np.ndarray:
        return np.stack([scores.confusion(method, judge, horizon) for scores in self.seeds])
