"""Ablate: train several recipes on the same data and compare them on the same samples.

The training runs are kept below `output_dir/runs/<name of the data folder>`; an interrupted suite goes on where it was.
"""

from pathlib import Path

import numpy as np

from drivelab_shared import results
from drivelab_shared.sweep import Recipe, Sweep
from v2x_teacher.config import AblateSettings
from v2x_teacher.data.make_data import ensure_data
from v2x_teacher.scores import Scores
from v2x_teacher.situations import load_situations

ALONE = {
    "fix 1, fusion": ("--head.fusion", "fixed"),
    "fix 2, initialisation": ("--head.init", "fixed"),
    "fix 3, pooling": ("--head.pooling", "fixed"),
    "fix 4, loss": ("--head.loss", "mse"),
    "fix 5, learning rates": ("--head_lr", "1e-2", "--backbone_lr", "5e-5"),
    "fix 6, frozen backbone": ("--freeze_backbone",),
    "fix 7, range line": (),
}
"""The request's seven fixes, each by itself on the recipe before them. The seventh prints a line, no more."""
LABELS = {"time": (), "rows": ("--labels.kind", "rows", "--labels.allow_implausible")}
ORIGINAL, ORIGINAL_FIXED, ROBUST = "original", "original-fixed", "robust"
ROBUST_TINY = "robust on the tiny Florence-2"
TINY = ("--backbone.kind", "tiny", "--backbone.height", "64", "--backbone.width", "128")


def recipes(settings: AblateSettings) -> dict[str, list[Recipe]]:
    """The suites. Names of the suite `fixes` end with the labels they were trained on."""
    epochs = ("--epochs", str(settings.epochs)) if settings.epochs else ()
    original, robust = ("--config", ORIGINAL), ("--config", ROBUST)

    def recipe(name: str, *arguments: str, baselines: bool = False) -> Recipe:
        return Recipe(name, (*arguments, *epochs, *(() if baselines else ("--no-baselines",))))

    fixes = [
        recipe(f"{name}, {labels}", *arguments, *chosen, baselines=name == ROBUST)
        for labels, chosen in LABELS.items()
        for name, arguments in (
            (ROBUST, robust),
            (ROBUST_TINY, (*robust, *TINY)),
            (ORIGINAL, original),
            *((name, (*original, *flags)) for name, flags in ALONE.items()),
            (ORIGINAL_FIXED, ("--config", ORIGINAL_FIXED)),
        )
    ]
    without = {
        "standardised features": ("--head.no-standardise_features",),
        "feature dropout": ("--head.feature_dropout", "0"),
        "the motion as an input": ("--head.no-use_ego",),
        "a prior": ("--head.prior", "none"),
        "the turn in the prior": ("--head.prior", "cv"),
        "standardised targets": ("--head.targets", "metres"),
        "standardised targets, / 100 instead": ("--head.targets", "scaled"),
        "smooth L1, MSE instead": ("--head.loss", "mse"),
        "smooth L1, L2 instead": ("--head.loss", "l2"),
        "smooth L1, Laplace instead": ("--head.loss", "laplace_nll"),
        "batches of 32, 4 instead": ("--batch_size", "4"),
        "the head's learning rate, 1e-2 instead": ("--head_lr", "1e-2"),
    }
    backbones = [
        recipe(f"{kind}, {pooling}", *robust, *flags, "--head.pooling", pooling)
        for kind, flags, poolings in (
            ("EfficientNet-Lite0", (), ("mean", "flat", "attn")),
            ("EfficientNet-Lite0, pictures joined", ("--backbone.views", "joined"), ("mean",)),
            ("tiny Florence-2", TINY, ("mean", "flat", "original", "fixed")),
        )
        for pooling in poolings
    ]
    return {
        "bars": [recipe(ROBUST, *robust, baselines=True)],
        "fixes": fixes,
        "recipes": [
            recipe(ROBUST, *robust, baselines=True),
            *(recipe(f"without {part}", *robust, *flags) for part, flags in without.items()),
            recipe("tiny Florence-2", *robust, *TINY),
            recipe("tiny Florence-2 left in train mode", *robust, *TINY, "--backbone.mode", "train"),
        ],
        "backbones": backbones,
    }


def ablate(settings: AblateSettings) -> None:
    """Train what is missing, compare all, and write results.json and report.html.

    Raises:
        UserError: a training run fails.
    """
    from v2x_teacher.ablation_report import suite_tables, write_report  # here: it needs matplotlib

    data_dir, layout = (settings.fixes_data_dir, "dair") if settings.suite == "fixes" else (settings.data_dir, "spd")
    ensure_data(data_dir, layout)
    suite, runs = recipes(settings)[settings.suite], sweep(settings, data_dir)
    runs.train_all(suite, settings.seeds, settings.jobs)
    folders = {recipe.name: [runs.run_folder(recipe, seed) for seed in settings.seeds] for recipe in suite}
    scores = {name: [Scores.load(folder / "scores.npz") for folder in found] for name, found in folders.items()}
    tables = suite_tables(settings, scores, situations_of(folders), folders)
    output = settings.output_dir / settings.suite
    results.write(output / "results.json", tables)
    write_report(output / "report.html", settings, tables)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)))
    print(f"report: {output / 'report.html'}")


def situations_of(folders: dict) -> dict[str, np.ndarray]:
    """Which samples show what; the same for all runs with labels by time, of which the first is asked."""
    first = next(iter(folders.values()))[0]
    return load_situations(first / "situations.npz")


def sweep(settings: AblateSettings, data_dir: Path) -> Sweep:
    """The runs of all suites on one data set: same cache, a folder per data set."""
    shared = ("--data_dir", data_dir, "--cache_dir", settings.cache_dir, "--threads", settings.threads)
    return Sweep("v2x_teacher", settings.output_dir / "runs" / data_dir.name, tuple(map(str, shared)))
