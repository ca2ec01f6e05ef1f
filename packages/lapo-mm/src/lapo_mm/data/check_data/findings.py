"""What check-data has to say, before it is printed and written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lapo_mm.data.check_data import tables
from lapo_mm.data.check_data.glances import SOON, Glance
from lapo_mm.data.check_data.suspicions import suspicions
from lapo_mm.data.check_data.tables import Grid
from lapo_mm.data.check_data.usefulness import ALL, Usefulness, usefulness
from lapo_mm.data.inspection import LOSSY
from lapo_mm.data.problems import Problem, grouped
from lapo_mm.data.survey import Facts, Survey

_MATTERS = 0.05
"""Share of the variance that counts as more than nothing."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What is printed and written alike."""

    folder: str
    errors: list[str]
    warnings: list[str]
    conclusions: list[str]
    tables: dict[str, Grid]
    """By caption."""
    glances: list[Glance]
    """Of the usable episodes; empty where there are not enough of them to say more than what is wrong."""


def find(found: Survey, glances: list[Glance]) -> Findings:
    """Everything about a surveyed dataset.

    Args:
        found: the dataset.
        glances: of its usable episodes.
    """
    warnings, errors = [problem for problem in found.problems if problem.level == "warning"], grouped(found.errors)
    if {glance.facts.split for glance in glances} != {"train", "val"}:
        return Findings(str(found.folder), errors, grouped(warnings), [], {}, [])
    warnings += suspicions(found, glances)
    useful = usefulness(glances)
    conclusions = [*_what_it_is(found), *_ends(found.facts), *_lossy(warnings), *_usefulness(useful)]
    grids = _tables(found, glances, useful)
    return Findings(str(found.folder), errors, grouped(warnings), conclusions, grids, glances)


def _tables(found: Survey, glances: Sequence[Glance], useful: Usefulness) -> dict[str, Grid]:
    return {
        "Episodes": tables.episodes_table(glances),
        "Returns of episodes": tables.returns_table(glances, found.info.references),
        "Values": tables.values_table(glances, found.roles, found.info),
        "What a quick probe explains on validation episodes [% of the variance]": tables.usefulness_table(useful),
    }


def _what_it_is(found: Survey) -> Iterator[str]:
    steps = sum(facts.length for facts in found.facts)
    yield f"{found.info.dataset_id}: {len(found.facts)} usable episodes of {found.num_episodes}, {steps} steps"
    yield f"modalities: {found.roles}"
    if found.info.env_spec is None:
        yield "environment: unknown, so a policy can be judged by fitted Q evaluation only"
    references = found.info.references
    if references is None:
        yield "score: no references, so returns are not normalised"
    else:
        ends = f"0 is a return of {references.random:.2f}, 100 of {references.expert:.2f}"
        yield f"score: {ends} ({references.source})"


def _ends(facts: Sequence[Facts]) -> Iterator[str]:
    if not any(one.terminated for one in facts):
        yield "ends: no episode terminates, so the value of every last observation counts"


def _lossy(warnings: Sequence[Problem]) -> Iterator[str]:
    for name in sorted({problem.text.partition(":")[0] for problem in warnings if problem.text.endswith(LOSSY)}):
        yield f"{name}: JPEG has lost what sharp edges said, by up to 227 of 255 grey levels"


def _usefulness(useful: Usefulness) -> Iterator[str]:
    """Whether the state alone would do, in words."""
    if "state" not in useful or ALL not in useful:
        return
    alone, together = (useful[name][f"next {SOON} rewards"].value for name in ("state", ALL))
    if np.isfinite([alone, together]).all():
        shares = f"{100 * alone:z.0f} % of the next {SOON} rewards, all modalities together {100 * together:z.0f} %"
        blind = "a policy that sees only the state is blind to the rest"
        enough = "this probe finds nothing in the others that the state does not say"
        yield f"usefulness: the state alone explains {shares}: {blind if together - alone > _MATTERS else enough}"
