"""What an evaluation concludes in words: of a healthy model, of a worse one, and of one that has collapsed."""

import numpy as np

from v2x_teacher.figures import Comparison, figures
from v2x_teacher.scores import Method, Scores
from v2x_teacher.situations import HIDDEN
from v2x_teacher.tables import conclusions


def made_up(error_m, *, constant=False, sequences=5, noise=0.0) -> Scores:
    """A teacher that is off by so many metres, or that says the same for every sample, beside worse rows."""
    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.normal([0.8, 0.1], [0.3, 0.1], (40, 1, 2)) * np.ones((1, 45, 1)), axis=1).astype(np.float32)

    def off_by(metres):
        jitter = 1 + noise * rng.normal(0, 1, (40, 1, 1))
        return Method((truth + metres * jitter * [0.6, 0.8]).astype(np.float32))

    mean = Method(np.broadcast_to(truth.mean(0), truth.shape).astype(np.float32))
    methods = {
        "teacher": mean if constant else off_by(error_m),
        "trained without infrastructure": off_by(1.25),
        "ego MLP": off_by(1.0),
        "shuffled pictures": mean if constant else off_by(2.0),
        "CTRV": off_by(4.0),
        "train mean": mean,
    }
    names = tuple(f"s{index % sequences}" for index in range(40))
    return Scores(tuple(f"{name}/{i:06d}" for i, name in enumerate(names)), names, truth, np.full(40, 8.0), methods)


def concluded(scores, situations=None) -> list[str]:
    comparison = Comparison([scores], 50, 0)
    return conclusions(comparison, figures((2.5, 3.5, 4.5)), list(scores.methods), situations or {})


def test_a_healthy_model_is_compared_and_its_predictions_vary():
    hidden = {HIDDEN: np.arange(40) < 20}
    assert concluded(made_up(1.0), hidden) == [
        "the teacher is off by 1.00 m on average (ADE over 4.5 s)",
        "75 % better than CTRV [75, 75]",
        "0 % better than ego MLP [0, 0], which may be chance",
        "20 % better than trained without infrastructure [20, 20]",
        "50 % better than shuffled pictures [50, 50]",
        f"on {HIDDEN}: 20 % better than trained without infrastructure [20, 20]",
        "predictions vary 1.00 (x) and 1.00 (y) times as much as the truth",
    ]


def test_a_worse_model_is_called_worse():
    assert "100 % worse than ego MLP [-100, -100]" in concluded(made_up(2.0))


def test_a_difference_that_depends_on_the_sequence_may_be_chance():
    assert any(
        "ego MLP" in line and line.endswith(", which may be chance") for line in concluded(made_up(1.0, noise=1))
    )


def test_a_collapse_is_called_one():
    found = concluded(made_up(0.0, constant=True))
    assert "**it has collapsed**: every sample gets the same trajectory" in found
    assert "**it is no better than the mean trajectory of the training split**" in found
    assert not any("vary" in line for line in found)


def test_one_sequence_gives_sentences_without_intervals():
    found = concluded(made_up(1.0, sequences=1), {HIDDEN: np.arange(40) < 1})
    assert not any("nan" in line for line in found)
    assert any(line.startswith("75 % better than CTRV, of which too few sequences") for line in found)
