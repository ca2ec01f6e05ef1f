"""Prompts that give the answer away: the place, and with it the usual path, or what the driver will do."""

import re
from collections.abc import Iterator

from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.recording import Problem

COORDINATE = re.compile(r"(?<![\w.])[-+]?\d{4,}(?:\.\d+)?(?![\w])")
"""More than three digits before the decimal point: no distance that a driver could see."""
JUNCTION = re.compile(r"yizhuang\d+", re.IGNORECASE)
MANOEUVRE = re.compile(r"\b(turn(s|ing)? (left|right)|go(es|ing)? straight|left turn|right turn)\b", re.IGNORECASE)


def prompt_problems(evidence: Evidence) -> Iterator[Problem]:
    """All of them."""
    for pair in evidence.listed:
        if pair.prompt is None:
            continue
        source = f"{evidence.recording.root}/text_prompts/{pair.vehicle_id}.txt"
        for pattern, what in (
            (COORDINATE, "expected a prompt without global coordinates, which name the junction"),
            (JUNCTION, "expected a prompt without the name of the junction"),
            (MANOEUVRE, "expected a prompt without the manoeuvre, which is known afterwards only"),
        ):
            if found := pattern.search(pair.prompt):
                yield Problem("warning", source, f"{what}, got {found.group()!r}")
