"""Ablate: train several recipes on the same data and compare them on the same episodes.

The training runs are kept below `output_dir/runs`; an interrupted suite goes on where it was.
"""

from pathlib import Path

from drivelab_shared import results
from drivelab_shared.sweep import Recipe, Sweep
from lapo_mm.config import AblateSettings
from lapo_mm.data.make_data import ensure_data

WIRINGS = ("critic", "both", "separate", "vae", "none")
BASELINES = {
    "blind": ("--modalities", "state"),
    "BC": ("--algorithm", "bc"),
    "25 % BC": ("--algorithm", "bc", "--top_share", "0.25"),
    "TD3+BC": ("--algorithm", "td3bc"),
    "IQL": ("--algorithm", "iql"),
}
BEST = ("--config", "best")
BASE = ("--steps", "2000", "--critic_lr", "3e-4", "--vae_lr", "3e-4", "--actor_lr", "3e-4", "--tau", "0.005")


def recipes(settings: AblateSettings) -> list[Recipe]:
    """The rows of the chosen suite."""
    steps = ("--steps", str(settings.steps)) if settings.steps else ()

    def recipe(name: str, *arguments: str) -> Recipe:
        return Recipe(name, (*arguments, *steps))

    def compared(*common: str) -> list[Recipe]:
        return [
            *(recipe(wiring, *common, "--wiring", wiring) for wiring in WIRINGS),
            *(recipe(name, *common, *flags) for name, flags in BASELINES.items()),
        ]

    retuned = {
        "old values": (),
        "critic_lr 1e-3": ("--critic_lr", "1e-3"),
        "critic_lr 1e-4": ("--critic_lr", "1e-4"),
        "kl_beta 0.3": ("--kl_beta", "0.3"),
        "kl_beta 3": ("--kl_beta", "3"),
        "tau 0.01": ("--tau", "0.01"),
        "tau 0.02": ("--tau", "0.02"),
        "all learning rates 5e-4, tau 0.01": (
            *("--critic_lr", "5e-4", "--vae_lr", "5e-4", "--actor_lr", "5e-4", "--tau", "0.01"),
        ),
    }
    parts = {
        "best": (),
        "without random shift": ("--encoder.shift_px", "0"),
        "linear decoder, clipped": ("--no-bounded_decoder",),
        "exponential weights": ("--weighting", "exp"),
        "no advantage weights": ("--expectile", "0.5"),
        "sum of modalities": ("--encoder.fusion", "sum"),
        "gated modalities": ("--encoder.fusion", "gated"),
        "modality dropout 0.1": ("--encoder.modality_dropout", "0.1"),
    }
    return {
        "wirings": compared("--config", "quick", *BASE),
        "best": compared(*BEST),
        "retune": [recipe(name, "--config", "quick", *BASE, *flags) for name, flags in retuned.items()],
        "parts": [recipe(name, *BEST, *flags) for name, flags in parts.items()],
        "carracing": [
            recipe("critic", *BEST, "--wiring", "critic"),
            *(recipe(name, *BEST, *BASELINES[name]) for name in ("BC", "25 % BC", "blind")),
        ],
    }[settings.suite]


def ablate(settings: AblateSettings) -> None:
    """Train what is missing, evaluate all, and write results.json and report.html.

    Raises:
        UserError: a training run fails.
    """
    from lapo_mm.ablation_report import suite_tables, write_report  # here: it needs matplotlib
    from lapo_mm.scores import Scores

    data_dir = settings.carracing_data_dir if settings.suite == "carracing" else settings.data_dir
    ensure_data(data_dir)
    suite, runs = recipes(settings), sweep(settings, data_dir)
    runs.train_all(suite, settings.seeds, settings.jobs)
    scores = {
        recipe.name: [Scores.load(runs.run_folder(recipe, seed) / "scores.npz") for seed in settings.seeds]
        for recipe in suite
    }
    output = settings.output_dir / settings.suite
    tables = suite_tables(settings, scores)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", settings, scores, tables)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)))
    print(f"report: {output / 'report.html'}")


def sweep(settings: AblateSettings, data_dir: Path) -> Sweep:
    """The runs of all suites on one data set: same cache, no baselines of their own."""
    shared = ("--data_dir", data_dir, "--cache_dir", settings.cache_dir, "--threads", settings.threads)
    folder = settings.output_dir / "runs" / data_dir.name
    return Sweep("lapo_mm", folder, (*map(str, shared), "--baselines"))
