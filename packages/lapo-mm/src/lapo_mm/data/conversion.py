"""From a surveyed dataset to the files of a store: flat arrays, and an index that says what is where."""

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from drivelab_shared.arrays import RowWriter, map_rows
from lapo_mm.data import hdf5
from lapo_mm.data.episodes import Episode
from lapo_mm.data.inspection import inspect
from lapo_mm.data.minari_files import MAIN_FILE, episode_groups
from lapo_mm.data.problems import grouped
from lapo_mm.data.roles import Roles, to_modalities
from lapo_mm.data.splits import Span
from lapo_mm.data.statistics import RETURN_QUANTILES, Statistics, frozen, mean_and_std
from lapo_mm.data.survey import Facts, Survey

INDEX = "index.json"


def convert(found: Survey, folder: Path) -> None:
    """Write beside `folder`, then rename: the folder is complete or not there. Warnings go to stderr."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for line in grouped(problem for problem in found.problems if problem.level == "warning"):
        print(f"warning: {line}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as aside:
        written = Path(aside) / folder.name
        written.mkdir()
        spans, infos = _spans(found.facts), _common_infos(found.facts)
        _write_arrays(found, infos, written)
        index = {
            "episodes": [dataclasses.asdict(span) for span in spans],
            "infos": infos,
            "statistics": _statistics(found, spans, written).to_json(),
            "left_out": [str(problem) for problem in found.errors],
        }
        # Last, because its presence says that the rest is complete.
        (written / INDEX).write_text(json.dumps(index), encoding="utf-8")
        if folder.exists() and not (folder / INDEX).exists():
            shutil.rmtree(folder)
        try:
            os.rename(written, folder)
        except OSError:
            # Another process was faster; its files are the same.
            if not (folder / INDEX).exists():
                raise


def _common_infos(facts: Sequence[Facts]) -> list[str]:
    """Keys that all episodes have with the same shape and dtype."""
    return [key for key, form in facts[0].infos.items() if all(one.infos.get(key) == form for one in facts)]


def _spans(facts: Sequence[Facts]) -> list[Span]:
    spans, first_step = [], 0
    for position, one in enumerate(facts):
        spans.append(Span(one.index, one.split, first_step, first_step + position, one.length, one.return_))
        first_step += one.length
    return spans


def _write_arrays(found: Survey, infos: Sequence[str], folder: Path) -> None:
    steps = sum(facts.length for facts in found.facts)
    frames = steps + len(found.facts)
    forms = {
        "actions": (steps, found.info.action_space.shape, np.float32),
        "rewards": (steps, (), np.float32),
        "terminals": (steps, (), np.bool_),
    }
    for name in found.roles.modalities:
        forms[name] = (frames, found.roles.shape(name), np.uint8 if name == "image" else np.float32)
    for number, key in enumerate(infos):
        # By number: keys are somebody else's text and no names of files.
        forms[f"info_{number}"] = (frames, *found.facts[0].infos[key])
    source = found.folder / MAIN_FILE
    with ExitStack() as stack:
        writers = {name: stack.enter_context(RowWriter(folder / f"{name}.npy", *form)) for name, form in forms.items()}
        groups = episode_groups(stack.enter_context(hdf5.opened(source)))
        for facts in found.facts:
            episode, _ = inspect(groups[facts.index], found.info, str(source), facts.index, found.roles)
            blocks = _blocks(episode, found.roles, infos)
            for name, writer in writers.items():
                writer.write(blocks[name])


def _blocks(episode: Episode, roles: Roles, infos: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        **to_modalities(episode.observations, roles),
        "actions": episode.actions.astype(np.float32),
        "rewards": episode.rewards.astype(np.float32),
        "terminals": episode.terminations,
        **{f"info_{number}": episode.infos[key] for number, key in enumerate(infos)},
    }


def _statistics(found: Survey, spans: Sequence[Span], folder: Path) -> Statistics:
    train = [span for span in spans if span.split == "train"]
    steps = np.concatenate([np.arange(span.length) + span.first_step for span in train])
    frames = np.concatenate([np.arange(span.length + 1) + span.first_frame for span in train])
    of_frames = {}
    for name in found.roles.modalities:
        if name != "image":
            mean, std = mean_and_std(map_rows(folder / f"{name}.npy"), frames)
            of_frames |= {f"{name}_mean": frozen(mean), f"{name}_std": frozen(std)}
    action_mean, action_std = mean_and_std(map_rows(folder / "actions.npy"), steps)
    rewards = map_rows(folder / "rewards.npy")[steps]
    box = found.info.action_space
    return Statistics(
        **of_frames,
        action_mean=frozen(action_mean),
        action_std=frozen(action_std),
        action_low=frozen(box.low),
        action_high=frozen(box.high),
        reward_min=float(rewards.min()),
        reward_max=float(rewards.max()),
        reward_mean=float(rewards.mean(dtype=np.float64)),
        reward_std=float(rewards.std(dtype=np.float64)),
        return_quantiles=frozen(np.quantile([span.return_ for span in train], RETURN_QUANTILES)),
    )
