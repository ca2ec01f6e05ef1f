"""What every method predicted for the same samples: the raw material of every figure, kept for later comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from drivelab_shared.arrays import read_archive
from v2x_teacher.collisions import Traffic
from v2x_teacher.data.labels import Samples
from v2x_teacher.metrics import Errors


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the tables: a model or a baseline."""

    trajectories: Float[np.ndarray, "samples steps 2"]
    """Ego frame at t0, metres."""
    scale: Float[np.ndarray, "samples steps 2"] | None = None
    """Laplace scale, metres; None where the method has no opinion on its own errors."""
    modes: Float[np.ndarray, "samples modes steps 2"] | None = None
    """Of a method that answers with several trajectories."""
    collides: Bool[np.ndarray, "samples steps"] | None = None
    """None where nobody knows who else was there."""


@dataclass(frozen=True, eq=False)
class Scores:
    """All methods on the same samples."""

    ids: tuple[str, ...]
    """`sequence/vehicle frame id`."""
    sequences: tuple[str, ...]
    """Of each sample: what is drawn anew in the bootstrap."""
    truth: Float[np.ndarray, "samples steps 2"]
    """NaN where a step is not known."""
    ego_speed_mps: Float[np.ndarray, " samples"]
    """At t0, of the last 0.5 s."""
    methods: dict[str, Method]
    evaluated: Bool[np.ndarray, "samples steps"] | None = None
    """Where collisions were looked for."""
    _errors: dict[str, Errors] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        samples: Samples,
        methods: Mapping[str, Method],
        traffic: Traffic | None,
        ego_size_m: tuple[float, float],
    ) -> "Scores":
        """Look for collisions of every method, where there are labels of other road users."""
        methods, evaluated = dict(methods), None
        if traffic is not None:
            for name, method in methods.items():
                collides, evaluated = traffic.collides(method.trajectories, ego_size_m)
                methods[name] = replace(method, collides=collides)
        speed = np.linalg.norm(samples.ego[:, :2], axis=1)
        return cls(tuple(samples.ids), samples.sequences, samples.truth, speed, methods, evaluated)

    def __len__(self) -> int:
        return len(self.ids)

    def errors(self, method: str) -> Errors:
        """Of a method against the truth; worked out once."""
        if method not in self._errors:
            self._errors[method] = Errors.of(self.methods[method].trajectories, self.truth)
        return self._errors[method]

    def take(self, chosen: Bool[np.ndarray, " samples"]) -> "Scores":
        """The chosen samples."""
        rows = np.flatnonzero(chosen)

        def some(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        methods = {
            name: Method(some(method.trajectories), some(method.scale), some(method.modes), some(method.collides))
            for name, method in self.methods.items()
        }
        ids, sequences = (tuple(names[row] for row in rows) for names in (self.ids, self.sequences))
        return Scores(ids, sequences, self.truth[rows], self.ego_speed_mps[rows], methods, some(self.evaluated))

    def save(self, path: Path) -> None:
        """As an npz without pickles."""
        arrays = {name: np.array(getattr(self, name)) for name in REQUIRED}
        if self.evaluated is not None:
            arrays["evaluated"] = self.evaluated
        for name, method in self.methods.items():
            for part in METHOD_PARTS:
                if (values := getattr(method, part)) is not None:
                    arrays[f"{name}/{part}"] = values
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote.

        Raises:
            UserError: it is another file.
        """
        return read_archive(path, "the scores of an evaluation", _from_arrays)


REQUIRED = ("ids", "sequences", "truth", "ego_speed_mps")
METHOD_PARTS = ("trajectories", "scale", "modes", "collides")


def _from_arrays(arrays: dict[str, np.ndarray]) -> Scores:
    if missing := [name for name in REQUIRED if name not in arrays]:
        raise ValueError(f"no {missing[0]}")
    ids, sequences, truth, speed = (arrays.pop(name) for name in REQUIRED)
    evaluated = arrays.pop("evaluated", None)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, values in arrays.items():
        name, _, part = key.rpartition("/")
        parts.setdefault(name, {})[part] = values
    methods = {name: Method(**fields) for name, fields in parts.items()}
    scores = Scores(tuple(ids.tolist()), tuple(sequences.tolist()), truth, speed, methods, evaluated)
    _require_consistent(scores)
    return scores


def _require_consistent(scores: Scores) -> None:
    """Every array belongs to the same samples and steps, and is of the right kind.

    Raises:
        ValueError: one is not.
    """
    count = len(scores.ids)
    steps = scores.truth.shape[1:2]
    path = (count, *steps, 2)
    _require("sequences", np.array(scores.sequences), (count,), "U")
    _require("truth", scores.truth, path, "f")
    _require("ego_speed_mps", scores.ego_speed_mps, (count,), "f")
    _require("evaluated", scores.evaluated, (count, *steps), "b")
    for name, method in scores.methods.items():
        _require(f"{name}/trajectories", method.trajectories, path, "f")
        _require(f"{name}/scale", method.scale, path, "f")
        _require(f"{name}/collides", method.collides, (count, *steps), "b")
        if method.modes is not None:
            _require(f"{name}/modes", method.modes, (count, *method.modes.shape[1:2], *steps, 2), "f")


def _require(name: str, values: np.ndarray | None, shape: tuple[int, ...], kind: str) -> None:
    if values is not None and (values.shape != shape or values.dtype.kind != kind):
        raise ValueError(f"{name} of {values.dtype} {values.shape}")
