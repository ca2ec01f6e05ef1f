"""From measurements to a cause in words. Every rule that this package knows stands here, and nowhere else.

A rule reads the evidence and answers with a sentence, or with None where it does not apply. They are ordered by what
they cost: labels first, because behind impossible labels nothing else can be judged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from v2x_teacher.data.labels import MAX_IMPLAUSIBLE
from v2x_teacher.tables import COLLAPSED

ALIKE = 0.98
"""Mean cosine between the features of two samples from which on what differs is lost beside what does not."""
NOISE = 1.0
"""Dropout noise over the difference between samples."""
IGNORES_TURNS = 0.2
EXPLODES = 2.0
"""Spread ratios; see `metrics.spread_ratio`."""
NO_BETTER, FAR_FROM_MEAN = 0.98, 1.1
"""ADE over that of the mean trajectory."""
LOOKS = 1.01
"""ADE with the pictures of other samples over the ADE."""
CLIPPED = 0.02
"""Share of the standardised features that are at their limit."""
TENTH_IS_BETTER, TENFOLD_IS_BETTER = 1.25, 3.0
"""How much further another rate has to get in a rehearsal: a low one may have time later, a high one never settles."""
WILD_START = 10.0
"""Largest coordinate before the first step over the largest true one."""
NO_GRADIENT = 1e-6
"""Of the largest gradient among the parts of the head."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the sections of the diagnosis have measured. Of the held-out split, where nothing else is said."""

    impossible: Mapping[str, int]
    """Samples of the whole data set with a trajectory that no car can drive, by what is wrong with it."""
    num_samples: int
    """Of the whole data set."""
    backbone_mode: str
    """Of the frozen backbone; `learns` where it is not frozen."""
    noise_ratio: float
    """What dropout adds to a feature over the spread between samples; both standard deviations."""
    spread: tuple[float, float]
    """Of the predictions over that of the truth, x and y."""
    ade_m: float
    train_ade_m: float
    train_mean_ade_m: float
    """Of the mean trajectory of the training split."""
    shuffled_ade_m: float
    """With the features of another sample."""
    kinematic_ade_m: float | None
    """Of CTRV; None where the data do not know the motion."""
    uses_ego: bool
    cosine: float
    """Mean over pairs of samples, features as the backbone makes them in eval mode; training split."""
    standardises: bool
    clipped: float
    """Share of standardised values at the limit; 0 where nothing is standardised."""
    losing_layer: str
    """Where the spread falls most, in the head."""
    losing_from: float
    losing_to: float
    """Spread before and after it, in shares of the norm."""
    dead_part: str | None
    """Part of the head that no gradient reaches."""
    reach: float
    """How far the bias of an output can move in all steps: the sum of the learning rates; in target units."""
    needed: float
    """How far the mean target is from 0, at the coordinate where it is furthest; in target units."""
    start_m: float
    """Largest predicted coordinate before the first step."""
    truth_m: float
    """Largest true coordinate."""
    head_lr: float
    progress: Mapping[float, float]
    """Fall of the training loss in a short rehearsal, by factor on the learning rate: 0.1, 1, 10."""
    cure: tuple[str, float] | None
    """The change after which a rehearsal of a collapse ended with the largest spread ratio, if with any."""

    @property
    def has_collapsed(self) -> bool:
        """Whether all samples get the same trajectory."""
        return max(self.spread) < COLLAPSED


def impossible_labels(found: Evidence) -> str | None:
    """More than 1 % of all trajectories cannot be driven."""
    what, count = max(found.impossible.items(), key=lambda item: item[1], default=("", 0))
    if count <= MAX_IMPLAUSIBLE * found.num_samples:
        return None
    return (
        f"labels are impossible: {count} of {found.num_samples} samples ({count / found.num_samples:.0%}) {what}; no "
        "recipe can be judged on them: make them by time (`--labels.kind time`), and ask check-data what is wrong"
    )


def backbone_in_train_mode(found: Evidence) -> str | None:
    """Dropout was on when the features of the frozen backbone were made."""
    if found.backbone_mode != "train" or found.noise_ratio < NOISE:
        return None
    return (
        f"dropout noise is {found.noise_ratio:.1f} times the signal, the difference between samples: the backbone is "
        "in train mode; its features must be made in eval mode (`--backbone.mode eval`)"
    )


def collapsed(found: Evidence) -> str | None:
    """Every sample gets the same trajectory."""
    if not found.has_collapsed:
        return None
    said = ["collapsed: every sample gets the same trajectory"]
    if found.cosine > ALIKE and not found.standardises:
        noiseless = ", without their noise," if found.backbone_mode == "train" else ""
        said.append(
            f"the features before the head{noiseless} already agree to {found.cosine:.4f} in cosine: standardise them "
            "(`--head.standardise_features`)"
        )
    said.append(
        f"in the head, the difference between samples is lost in {found.losing_layer}, where the spread falls from "
        f"{found.losing_from:.2g} to {found.losing_to:.2g} of the norm"
    )
    if found.cure is not None:
        change, spread = found.cure
        said.append(f"in a short rehearsal, a spread of {spread:.2f} comes back with {change}")
    return "; ".join(said)


def out_of_reach(found: Evidence) -> str | None:
    """Only the biases still move, and the sum of the learning rates is too short a way to the mean trajectory."""
    is_behind = found.ade_m > FAR_FROM_MEAN * found.train_mean_ade_m
    if not found.has_collapsed or not is_behind or found.reach >= found.needed:
        return None
    return (
        f"out of reach: its one trajectory is not even the mean of the training split (ADE {found.ade_m:.2f} m, "
        f"{found.train_mean_ade_m:.2f} m for the mean); an output's bias moves by {found.reach:.2g} in all steps, the "
        f"sum of the learning rates, and the mean target is {found.needed:.2g} away: standardise the targets "
        "(`--head.targets standardised`)"
    )


def dead_layer(found: Evidence) -> str | None:
    """A part of the head no longer learns."""
    if found.dead_part is None:
        return None
    return f"no gradient reaches {found.dead_part}: what comes after it is saturated, and nothing before it can learn"


def ignores_turns(found: Evidence) -> str | None:
    """Predictions differ along the road only."""
    x, y = found.spread
    if found.has_collapsed or y >= IGNORES_TURNS or x < IGNORES_TURNS:
        return None
    return (
        f"reads the speed and ignores turns: predictions vary {x:.2f} times as much as the truth along x, {y:.2f} "
        "times along y; standardised features are what brought turns back wherever this was measured"
    )


def explodes(found: Evidence) -> str | None:
    """Predictions differ much more than the truth does."""
    if max(found.spread) <= EXPLODES:
        return None
    return (
        f"explodes: predictions vary {found.spread[0]:.1f} (x) and {found.spread[1]:.1f} (y) times as much as the "
        "truth: inputs are far outside what was trained on; dimensions that hardly vary need the standardiser's floor"
    )


def outside_the_training_range(found: Evidence) -> str | None:
    """Many features of the held-out split are further out than five standard deviations of the training split."""
    if found.clipped <= CLIPPED:
        return None
    return (
        f"features leave the training range: {found.clipped:.0%} of them are at the standardiser's limit of 5 standard "
        "deviations: other cameras, other weather, or another backbone than the one that was trained with"
    )


def no_better_than_the_mean(found: Evidence) -> str | None:
    """One trajectory for everybody does as well."""
    if found.has_collapsed or found.ade_m <= NO_BETTER * found.train_mean_ade_m:
        return None
    return (
        f"no better than the mean trajectory: ADE {found.ade_m:.2f} m, and {found.train_mean_ade_m:.2f} m for the mean "
        "of the training split; predictions differ, but not in the way the truth does"
    )


def blind_to_motion(found: Evidence) -> str | None:
    """Four numbers about the vehicle say more than the pictures, and the head does not get them."""
    if found.uses_ego or found.kinematic_ade_m is None or found.ade_m <= found.kinematic_ade_m:
        return None
    return (
        f"blind to its own motion: CTRV, which sees no picture, is off by {found.kinematic_ade_m:.2f} m and this model "
        f"by {found.ade_m:.2f} m: give the head the motion (`--head.use_ego --head.prior ctrv`)"
    )


def blind_to_pictures(found: Evidence) -> str | None:
    """The pictures of another sample do as well."""
    if found.has_collapsed or found.shuffled_ade_m > LOOKS * found.ade_m:
        return None
    return (
        f"does not look: with the pictures of other samples the ADE is {found.shuffled_ade_m:.2f} m, with the right "
        f"ones {found.ade_m:.2f} m"
    )


def wild_start(found: Evidence) -> str | None:
    """Before the first step the predictions are nowhere near the truth."""
    if found.start_m <= WILD_START * found.truth_m:
        return None
    return (
        f"starts far out: before the first step predictions reach {found.start_m:,.0f} m, and the truth "
        f"{found.truth_m:,.0f} m; a smaller initialisation (`--head.init zero`) starts from the prior"
    )


def learning_rate(found: Evidence) -> str | None:
    """Another learning rate gets much further in a rehearsal."""
    own, lower, higher = (found.progress[factor] for factor in (1.0, 0.1, 10.0))
    if lower > TENTH_IS_BETTER * max(own, 0.0) and lower > 0:
        return (
            f"learning rate too high: in a short rehearsal a tenth of it ({found.head_lr / 10:g}) lowers the loss "
            f"{_times(lower, own)}"
        )
    if higher > TENFOLD_IS_BETTER * max(own, 0.0) and higher > 0:
        return (
            f"learning rate low: in a short rehearsal ten times as much ({found.head_lr * 10:g}) lowers the loss "
            f"{_times(higher, own)}"
        )
    return None


def _times(other: float, own: float) -> str:
    return f"by {other / own:.1f} times as much" if own > 0 else "and the one of this run does not"


RULES: tuple[Callable[[Evidence], str | None], ...] = (
    impossible_labels,
    backbone_in_train_mode,
    collapsed,
    out_of_reach,
    dead_layer,
    explodes,
    outside_the_training_range,
    no_better_than_the_mean,
    ignores_turns,
    blind_to_motion,
    blind_to_pictures,
    wild_start,
    learning_rate,
)


def causes(found: Evidence) -> dict[str, str]:
    """Sentences by the name of the rule that found them; `healthy` where none did."""
    sentences = {rule.__name__: sentence for rule in RULES if (sentence := rule(found)) is not None}
    return sentences or {"healthy": _healthy(found)}


def _healthy(found: Evidence) -> str:
    x, y = found.spread
    return (
        f"healthy: predictions vary {x:.2f} (x) and {y:.2f} (y) times as much as the truth, and the ADE is "
        f"{found.ade_m:.2f} m ({found.train_ade_m:.2f} m on the training split), that of the mean trajectory "
        f"{found.train_mean_ade_m:.2f} m"
    )
