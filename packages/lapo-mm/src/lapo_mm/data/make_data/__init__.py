"""The verb `make-data`: episodes of scripted behaviours, or imported ones, as a dataset in Minari's layout."""

import dataclasses
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import gymnasium
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from drivelab_shared.errors import UserError, nearest
from drivelab_shared.workers import in_processes
from lapo_mm.config import MakeDataSettings
from lapo_mm.data.episodes import DatasetInfo, Episode, References
from lapo_mm.data.importers import import_episodes
from lapo_mm.data.make_data.recipes import RECIPES, environment
from lapo_mm.data.make_data.recording import record, reference_returns
from lapo_mm.data.make_data.summary import Tally
from lapo_mm.data.metadata import dataset_id
from lapo_mm.data.minari_files import write_dataset

Job = tuple[Literal["reference", "episode"], int]


def make_data(settings: MakeDataSettings) -> None:
    """Record or import, write, and print what the folder holds then. A folder that exists is never written to.

    Raises:
        UserError: it exists or has no dataset's name, the extra of an environment is missing, or the source is broken.
    """
    folder = settings.data_dir
    if folder.exists():
        raise UserError(f"{folder}: data_dir: expected a new folder (data are never overwritten), got one that exists")
    try:
        report = _record(settings) if settings.source is None else _import(folder, settings.source)
    except OSError as error:
        found = error.strerror or error
        raise UserError(f"{folder}: data_dir: expected a folder to write to, got {found}") from None
    print(report)


def ensure_data(data_dir: Path) -> None:
    """Make the data that a folder is named after, such as `carracing-mixed-v0`, where there is no such folder.

    Raises:
        UserError: there is none, and the name is not that of a dataset that can be made.
    """
    if data_dir.exists():
        return
    name = re.sub(r"-v\d+$", "", data_dir.name)
    if name not in RECIPES:
        known = [f"{recipe}-v0" for recipe in RECIPES]
        expected = f"a dataset in Minari's layout, or a name that says what to make ({', '.join(known)})"
        raise UserError(f"{data_dir}: data_dir: expected {expected}, got no such folder{nearest(data_dir.name, known)}")
    make_data(MakeDataSettings(data_dir=data_dir, dataset=name))


def _record(settings: MakeDataSettings) -> str:
    recipe, env = RECIPES[settings.dataset], environment(settings.dataset)
    num_references = min(settings.reference_episodes, recipe.max_reference_episodes)
    tally = Tally(recipe.modes)
    done = _work(settings, num_references, settings.num_episodes or recipe.num_episodes)
    references = _references(np.array(list(islice(done, num_references))), settings.seed)
    info = DatasetInfo(
        dataset_id=dataset_id(settings.data_dir),
        env_spec=gymnasium.spec(recipe.env_id).to_json(),
        observation_space=env.observation_space,
        action_space=env.action_space,
        references=references,
        description=recipe.description,
        author="drivelab",
        algorithm_name="scripted, of mixed quality",
    )
    write_dataset(settings.data_dir, info, tally.over(done))
    return tally.text(settings.data_dir, references)


def _work(
    settings: MakeDataSettings, num_references: int, num_episodes: int
) -> Iterator[Episode | tuple[float, float]]:
    """The returns behind the references, then the episodes: together, because processes take long to start."""
    jobs = [("reference", index) for index in range(num_references)]
    jobs += [("episode", index) for index in range(num_episodes)]
    done = in_processes(partial(_do, settings.dataset, settings.seed), jobs, settings.workers)
    return iter(tqdm(done, total=len(jobs), desc="acting", unit="episode", disable=None))


def _do(dataset: str, seed: int, job: Job) -> Episode | tuple[float, float]:
    kind, index = job
    env, behaviour = environment(dataset), RECIPES[dataset].behaviour_class()
    if kind == "episode":
        return record(env, behaviour, seed, index)
    return reference_returns(env.unwrapped, behaviour, seed, index)


def _references(returns: Float[np.ndarray, "episodes 2"], seed: int) -> References:
    random, expert = returns.mean(axis=0)
    error = returns.std(axis=0, ddof=1) / len(returns) ** 0.5
    source = (
        f"means over {len(returns)} episodes, seed {seed}: uniform random actions (standard error {error[0]:.2f}) "
        f"and the scripted expert ({error[1]:.2f})"
    )
    return References(random=float(random), expert=float(expert), source=source)


def _import(folder: Path, source: Path) -> str:
    info, episodes = import_episodes(source)
    tally = Tally()
    write_dataset(folder, dataclasses.replace(info, dataset_id=dataset_id(folder)), tally.over(episodes))
    return tally.text(folder, info.references)
