"""Several recipes of one package trained with several seeds: each an ordinary `train` in a process of its own.

A run that is finished is not trained again, and an unfinished one is resumed, so an interrupted sweep goes on where it
was. A recipe's folder says nothing of the data, so every data set needs a `Sweep.folder` of its own.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivelab_shared import runs
from drivelab_shared.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """A row of a table: arguments of `train`."""

    name: str
    arguments: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name that the file system takes; the same arguments share a run across suites."""
        return "_".join(argument.lstrip("-") for argument in self.arguments).replace("/", "-")


@dataclass(frozen=True)
class Sweep:
    """Where the runs of a package are kept, and what all of them share."""

    module: str
    """What `python -m` starts."""
    folder: Path
    common: tuple[str, ...]
    """Arguments of every run."""

    def run_folder(self, recipe: Recipe, seed: int) -> Path:
        """Where the run of a recipe and seed is."""
        return self.folder / f"{recipe.folder}_seed-{seed}"

    def train_all(self, recipes: Sequence[Recipe], seeds: Sequence[int], jobs: int) -> None:
        """Train what is missing, `jobs` at a time. The first run alone fills the cache that all runs share.

        Raises:
            UserError: a training failed; names its log.
        """
        # Recipes with the same arguments are one run.
        unique = {recipe.folder: recipe for recipe in recipes}.values()
        cells = [(recipe, seed) for seed in seeds for recipe in unique]
        self.train(*cells[0])
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda cell: self.train(*cell), cells[1:]))

    def train(self, recipe: Recipe, seed: int) -> None:
        """Train one recipe with one seed, or go on where it stopped.

        Raises:
            UserError: the training failed; names its log. Or the run that is there was trained on other data.
        """
        folder = self.run_folder(recipe, seed)
        manifest = runs.read_manifest(folder) if (folder / "manifest.json").exists() else {"status": "new"}
        status = manifest["status"]
        if status == "finished":
            self._require_same_data(folder, manifest)
            return
        own = ("--seed", str(seed), "--run_dir", str(folder), *(("--resume", str(folder)) if status != "new" else ()))
        command = [sys.executable, "-m", self.module, "train", *recipe.arguments, *self.common, *own]
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with (folder / "train.log").open("a") as log:
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        if status or runs.read_manifest(folder)["status"] != "finished":
            last = (folder / "train.log").read_text().strip().splitlines()[-1:]
            found = f"got exit code {status}: {' '.join(last)}"
            raise UserError(f"{folder / 'train.log'}: expected a finished run, {found}")
        seconds = time.monotonic() - started
        print(f"trained {recipe.name}, seed {seed} in {seconds:.0f} s", file=sys.stderr, flush=True)

    def _require_same_data(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Data sets of the same name lie in two places, perhaps."""
        ours, theirs = _data_dir(self.common), _data_dir(manifest.get("argv", ()))
        if theirs is not None and theirs != ours:
            raise UserError(
                f"{folder}: data_dir: expected a run on {ours}, got one on {theirs}; name another output_dir"
            )


def _data_dir(arguments: Sequence[str]) -> str | None:
    return dict(itertools.pairwise(arguments)).get("--data_dir")
