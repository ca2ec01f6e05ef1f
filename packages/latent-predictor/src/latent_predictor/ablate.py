"""Ablate: train several recipes on the same data, judge them on the same windows, compare them in pairs.

The training runs are kept below `output_dir/runs/<name of the data folder>`; an interrupted suite goes on where it was.
"""

from drivelab_shared import results
from drivelab_shared.sweep import Recipe, Sweep
from latent_predictor.config import AblateSettings
from latent_predictor.data.make_data import ensure_data
from latent_predictor.scores import Comparison, Scores

LAMBDAS = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0)
ORIGINAL = "original"


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
    suite, runs = recipes(settings)[settings.suite], sweep(settings)
    runs.train_all(suite, settings.seeds, settings.jobs)
    scores = {
        recipe.name: [Scores.load(runs.run_folder(recipe, seed) / "scores.npz") for seed in settings.seeds]
        for recipe in suite
    }
    output = settings.output_dir / settings.suite
    tables = suite_tables(settings, scores)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", settings, tables)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)))
    print(f"report: {output / 'report.html'}")


def sweep(settings: AblateSettings) -> Sweep:
    """The runs of all suites on the settings' data: same cache, a folder per data set, no twins."""
    shared = ("--data_dir", settings.data_dir, "--cache_dir", settings.cache_dir, "--threads", settings.threads)
    folder = settings.output_dir / "runs" / settings.data_dir.name
    return Sweep("latent_predictor", folder, (*map(str, shared), "--no-twin"))


def compare(settings: AblateSettings, scores: dict[str, list[Scores]]) -> dict[str, Comparison]:
    """A comparison per recipe, all with the same draws."""
    return {name: Comparison.of(seeds, settings.num_bootstrap) for name, seeds in scores.items()}
