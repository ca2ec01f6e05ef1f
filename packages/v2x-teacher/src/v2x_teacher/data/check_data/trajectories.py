"""What the labels say: which ones no car can drive, which pairs have none, and how they compare with row-wise ones."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.check_data.findings import Grid, named
from v2x_teacher.data.kinematics import constant_velocity
from v2x_teacher.data.labels import MAX_IMPLAUSIBLE, NUM_ROWS, RATE_HZ, TIMES_S, Samples, implausible
from v2x_teacher.data.recording import SPLITS, Problem

EXPECTED_LOSSES = ("the sequence ends within the horizon", f"fewer than {NUM_ROWS} rows left in the list")
"""What every sequence or list must cost at its end; `build_samples` counts it under these names."""
KINDS = {"time": "by time", "rows": "by rows"}


def label_problems(evidence: Evidence) -> Iterator[Problem]:
    """All of them."""
    samples, root = evidence.samples, evidence.recording.root
    yield from _gate(evidence)
    counts = {split: int(samples.mask(split).sum()) for split in SPLITS}
    if not len(samples):
        yield Problem("error", str(root), f"expected labels for {len(evidence.listed)} listed pairs, got none")
    elif missing := [split for split in ("train", "val") if not counts[split]]:
        severity = "error" if "train" in missing else "warning"
        yield Problem(severity, str(root), f"expected labels in every split, got none in {' and '.join(missing)}")
    for reason, count in samples.excluded.items():
        if reason not in EXPECTED_LOSSES:
            text = f"expected labels for all pairs but those at the end of a sequence, got none for {count}: {reason}"
            yield Problem("warning", str(root), text)


def step_speeds(samples: Samples) -> Float[np.ndarray, "samples steps"]:
    """Of every step of every label, if steps are 0.1 s, m/s."""
    return np.linalg.norm(np.diff(samples.truth, axis=1, prepend=np.float32(0.0)), axis=-1) * RATE_HZ


def refused(samples: Samples) -> bool:
    """Whether training stops at these labels."""
    return any(which.sum() > MAX_IMPLAUSIBLE * len(samples) for which in implausible(samples).values())


def impossible(samples: Samples) -> Bool[np.ndarray, " samples"]:
    """Which ones no car can have driven, for whatever reason."""
    return np.any([*implausible(samples).values()], axis=0)


def _gate(evidence: Evidence) -> Iterator[Problem]:
    samples, settings = evidence.samples, evidence.settings.labels
    for what, which in implausible(samples).items():
        rows = np.flatnonzero(which)
        if not len(rows):
            continue
        too_many = len(rows) > MAX_IMPLAUSIBLE * len(samples) and not settings.allow_implausible
        found = f"{len(rows)} of {len(samples)} ({len(rows) / len(samples):.1%}) {that(what)}"
        first = evidence.label_file(samples.pairs[rows[0]])
        others = named([evidence.label_file(samples.pairs[row]).rpartition("/")[2] for row in rows[:11]])
        text = f"expected labels that a car can drive, got {found}: {others}"
        yield Problem("error" if too_many else "warning", first, text)


def that(what: str) -> str:
    """A reason of `implausible`, said of several labels."""
    return what.replace("ends ", "that end ") if what.startswith("ends ") else f"that are {what}"


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(evidence: Evidence) -> dict[str, Grid]:
    """By caption."""
    kinds = {KINDS[kind]: samples for kind, samples in evidence.labels.items() if len(samples)}
    return {
        "Pairs and labels": _split_table(evidence),
        "Label coordinates in the ego frame, metres (x forward, y left)": _coordinates(kinds),
        "What no car can drive": _plausibility(kinds),
        "What doing nothing scores, in the units of common losses": _trivial(kinds),
    }


def _split_table(evidence: Evidence) -> Grid:
    samples, body = evidence.samples, []
    for split in SPLITS:
        pairs = [pair for pair in evidence.listed if pair.split == split]
        chosen = samples.mask(split)
        sequences = {pair.sequence for pair in pairs}
        body.append([split, str(len(sequences)), str(len(pairs)), str(int(chosen.sum()))])
    total = len(evidence.listed)
    for reason, count in samples.excluded.items():
        body.append([f"lost: {reason}", "", f"{count} ({count / total:.0%})", ""])
    return ["split", "sequences", "listed pairs", "with a label"], body


def _coordinates(kinds: dict[str, Samples]) -> Grid:
    body = []
    for kind, samples in kinds.items():
        for axis, name in enumerate("xy"):
            values = samples.truth[..., axis].astype(np.float64)
            cells = np.percentile(values, [0, 1, 25, 50, 75, 99, 100])
            body.append([f"{name}, {kind}", *(f"{value:z.1f}" for value in [*cells, values.std(axis=0).mean()])])
    return ["", "min", "1 %", "25 %", "50 %", "75 %", "99 %", "max", "std per step"], body


def _plausibility(kinds: dict[str, Samples]) -> Grid:
    body = []
    for kind, samples in kinds.items():
        shares = [f"{which.mean():.1%}" for which in implausible(samples).values()]
        fastest = step_speeds(samples).max(axis=1)
        speeds = [f"{value:.1f}" for value in (np.median(fastest), np.percentile(fastest, 99), fastest.max())]
        body.append([kind, str(len(samples)), *shares, *speeds])
    header = ["labels", "samples", "> 40 m/s", "end behind", "fastest step, median m/s", "99 %", "max"]
    return header, body


def _trivial(kinds: dict[str, Samples]) -> Grid:
    body = []
    for kind, samples in kinds.items():
        truth = samples.truth.astype(np.float64)
        guesses = {"stand still": np.zeros((1, 1, 2)), "mean trajectory": truth.mean(axis=0)}
        if (samples.history_s > 0).any():
            times = TIMES_S - (TIMES_S[0] if samples.row_labels else 0.0)
            guesses["constant velocity"] = constant_velocity(samples.ego, times)
        body += [[f"{name}, {kind}", *_losses(guess - truth)] for name, guess in guesses.items()]
    return ["", "mean L2, m", "L2 of the last step, m", "smooth L1, m", "MSE, m2"], body


def _losses(errors: Float[np.ndarray, "samples steps 2"]) -> list[str]:
    distance, size = np.linalg.norm(errors, axis=-1), np.abs(errors)
    smooth = np.where(size < 1, size**2 / 2, size - 0.5).mean()
    return [f"{value:.1f}" for value in (distance.mean(), distance[:, -1].mean(), smooth, (size**2).mean())]


def mean_l2(samples: Samples) -> tuple[float, float]:
    """Of standing still, and of the mean trajectory."""
    truth = samples.truth.astype(np.float64)
    return tuple(float(np.linalg.norm(truth - guess, axis=-1).mean()) for guess in (0.0, truth.mean(axis=0)))
