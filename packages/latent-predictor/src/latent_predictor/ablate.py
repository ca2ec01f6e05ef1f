"""Ablate: train several recipes on the same data, judge them on the same windows, compare them in pairs.

Every training run is an ordinary `train` in a process of its own, kept below `output_dir/runs`. A run that is finished
is not trained again, and an unfinished one is resumed, so an interrupted suite goes on where it was.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drivelab_shared import results, runs
from drivelab_shared.errors import UserError
from latent_predictor.config import AblateSettings
from latent_predictor.data.make_data import ensure_data
from latent_predictor.scores import Comparison, Scores

LAMBDAS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0)
ORIGINAL = "original"


@dataclass(frozen=True)
class Recipe:
    """A row of the table: arguments of `train`."""

    name: str
    arguments: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name that the file system takes; the same arguments share a run across suites."""
        return "_".join(argument.lstrip("-") for argument in self.arguments).replace("/", "-")


def recipes(settings: AblateSettings) -> dict[str, list[Recipe]]:
    """The suites."""
    best = ("--config", settings.budget, *(("--epochs", str(settings.epochs)) if settings.epochs else ()))
    original = ("--config", settings.budget, "--config", ORIGINAL)  # the same VAE and judges as the best recipe
    sweeps = [
        (f"{name}, lambda {x:g}", config, x)
        for name, config in (("original", original), ("best", best))
        for x in LAMBDAS
    ]
    without = {
        "whitening": ("--no-whiten_latents",),
        "action standardisation": ("--no-standardise_actions",),
        "action embedding": ("--action_embedding", "0"),
        "FiLM": ("--action_conditioning", "concat"),
        "open loop": ("--forced_steps", "24", "--open_loop_steps", "0"),
        "input noise": ("--input_noise_std", "0"),
        "classifier noise": ("--classifier_noise", "0"),
    }
    return {
        "recipes": [
            Recipe("best", (*best, "--lambda_cls", "0.5")),
            Recipe("best without actions", (*best, "--lambda_cls", "0.5", "--no-use_actions")),
            Recipe("original, MSE only", (*original, "--lambda_cls", "0")),
            Recipe("original + 0.5 CE", (*original, "--lambda_cls", "0.5")),
        ],
        "lambda": [Recipe(name, (*config, "--lambda_cls", f"{x:g}")) for name, config, x in sweeps],
        "parts": [
            Recipe("best", (*best, "--lambda_cls", "0.5")),
            *(Recipe(f"without {part}", (*best, "--lambda_cls", "0.5", *flags)) for part, flags in without.items()),
        ],
    }


def ablate(settings: AblateSettings) -> None:
    """Train what is missing, evaluate all, and write results.json and report.html.

    Raises:
        UserError: a training run fails.
    """
    from latent_predictor.ablation_report import suite_tables, write_report  # here: it needs matplotlib

    ensure_data(settings.data_dir)
    suite = recipes(settings)[settings.suite]
    cells = [(recipe, seed) for seed in settings.seeds for recipe in suite]
    # The first run alone fills the cache of stages that all runs share.
    train_cell(settings, *cells[0])
    with ThreadPoolExecutor(settings.jobs) as pool:
        list(pool.map(lambda cell: train_cell(settings, *cell), cells[1:]))
    scores = {recipe.name: [cell_scores(settings, recipe, seed) for seed in settings.seeds] for recipe in suite}
    output = settings.output_dir / settings.suite
    tables = suite_tables(settings, scores)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", settings, tables)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)))
    print(f"report: {output / 'report.html'}")


def cell_folder(settings: AblateSettings, recipe: Recipe, seed: int) -> Path:
    """Where the run of a recipe and seed is."""
    return settings.output_dir / "runs" / f"{recipe.folder}_seed-{seed}"


def train_cell(settings: AblateSettings, recipe: Recipe, seed: int) -> None:
    """Train one recipe with one seed, or go on where it stopped.

    Raises:
        UserError: the training failed; names its log.
    """
    folder = cell_folder(settings, recipe, seed)
    status = runs.read_manifest(folder)["status"] if (folder / "manifest.json").exists() else "new"
    if status == "finished":
        return
    shared = ("--data_dir", settings.data_dir, "--cache_dir", settings.cache_dir, "--threads", settings.threads)
    common = ("--seed", seed, "--no-twin", "--run_dir", folder)
    resume = ("--resume", folder) if status != "new" else ()
    command = [sys.executable, "-m", "latent_predictor", "train", *recipe.arguments, *shared, *common, *resume]
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (folder / "train.log").open("a") as log:
        status = subprocess.run([*map(str, command)], stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if status or runs.read_manifest(folder)["status"] != "finished":
        last = (folder / "train.log").read_text().strip().splitlines()[-1:]
        raise UserError(f"{folder / 'train.log'}: expected a finished run, got exit code {status}: {' '.join(last)}")
    print(f"trained {recipe.name}, seed {seed} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def cell_scores(settings: AblateSettings, recipe: Recipe, seed: int) -> Scores:
    """What the judges said of a finished run."""
    return Scores.load(cell_folder(settings, recipe, seed) / "scores.npz")


def compare(settings: AblateSettings, scores: dict[str, list[Scores]]) -> dict[str, Comparison]:
    """A comparison per recipe, all with the same draws."""
    return {name: Comparison.of(seeds, settings.num_bootstrap) for name, seeds in scores.items()}
