"""Ablate: the losses one by one on the same stage 1, compared on the same frames.

Stage 1 is trained once per seed; every row is a stage 2 that starts from it. The training runs are kept below
`output_dir/runs`; an interrupted suite goes on where it was.
"""

from drivelab_shared import results
from drivelab_shared.sweep import Recipe, Sweep
from opv2v_stage2.config import AblateSettings
from opv2v_stage2.data.make_data import ensure_data

ALONE = ("--loss.scale_distill_weight", "0", "--loss.coop_consistency_weight", "0")
"""Stage 2 before distillation and consistency. The teacher is still asked where sky is."""
NOISES_M = (0, 0.2, 0.4, 0.6, 1, 1.5, 2)
"""Of GPS, at which every run measures poses."""
OURS = ("--loss.coop_consistency_weight", "0.3")
NO_HEIGHT = ("--loss.height.mode", "off")
NO_CONSISTENCY = ("--loss.coop_consistency_weight", "0")
ZEROS = ("--loss.depth_form", "l1", "--loss.no_mask_aware", "--loss.no_range_balance", "--loss.mask", "upstream")
UPSTREAM, MASK, LITERAL, HEIGHT = "upstream's mask", "+ mask", "+ height as depth", "+ height as mask"
DISTILLED, CONSISTENT, BOXES, ZERO = "+ distillation", "+ consistency", "+ boxes", "zeros in the loss"


def recipes(settings: AblateSettings) -> list[Recipe]:
    """The rows of the chosen suite."""
    return {
        "losses": [
            Recipe(ZERO, (*ALONE, *NO_HEIGHT, *ZEROS)),
            Recipe(UPSTREAM, (*ALONE, *NO_HEIGHT, "--loss.mask", "upstream")),
            Recipe(MASK, (*ALONE, *NO_HEIGHT)),
            Recipe(LITERAL, (*ALONE, "--loss.height.mode", "depth")),
            Recipe(HEIGHT, ALONE),
            Recipe(DISTILLED, NO_CONSISTENCY),
            Recipe(CONSISTENT, OURS),
            Recipe(BOXES, ("--loss.box_weight", "0.1")),
        ],
        "noise": [
            Recipe(DISTILLED, NO_CONSISTENCY),
            Recipe(CONSISTENT, OURS),
            Recipe("every pair of pictures", ("--loss.pose_pairs", "views")),
            Recipe("P_i inverse(P_j)", ("--loss.pose_relative", "i_inv_j")),
            Recipe("prior instead of truth", ("--loss.pose_target", "prior")),
        ],
        "negatives": [
            Recipe(source, (*ALONE, "--loss.negatives", source)) for source in ("teacher", "colour", "truth")
        ],
        "sparsity": [
            Recipe(f"{share:g} % labelled", (*ALONE, "--labels.coverage", str(share / 100))) for share in (1, 3, 10, 40)
        ],
    }[settings.suite]


def ablate(settings: AblateSettings) -> None:
    """Train what is missing, and write results.json and report.html.

    Raises:
        UserError: a training run fails.
    """
    from opv2v_stage2.ablation_report import Finished, suite_tables, write_report  # here: it needs matplotlib

    ensure_data(settings.data_dir)
    suite = recipes(settings)
    finished = Finished({recipe.name: [] for recipe in suite})
    for seed in settings.seeds:
        sweep = _second_stages(settings, seed)
        sweep.train_all(suite, [seed], settings.jobs)
        for recipe in suite:
            finished.runs[recipe.name].append(sweep.run_folder(recipe, seed))
    output = settings.output_dir / settings.suite
    tables = suite_tables(settings, finished)
    results.write(output / "results.json", tables)
    write_report(output / "report.html", settings, finished, tables)
    for table in tables:
        print(results.plain(table, *dict.fromkeys(row.metric for row in table.rows)))
    print(f"report: {output / 'report.html'}")


def _second_stages(settings: AblateSettings, seed: int) -> Sweep:
    """The runs of a seed, all of which start from its stage 1; that one is trained here.

    Folders say which budget and how many steps, so that no run is taken for one of another kind.
    """
    folder = settings.output_dir / "runs" / settings.data_dir.name / settings.budget
    shared = ("--data_dir", settings.data_dir, "--cache_dir", settings.cache_dir, "--threads", settings.threads)
    common = ("--config", settings.budget, *map(str, shared), "--eval_frames", "0")
    common += ("--eval_noise_m", *map(str, NOISES_M))
    first = ("--stage1_steps", str(settings.stage1_steps)) if settings.stage1_steps else ()
    second = ("--stage2_steps", str(settings.stage2_steps)) if settings.stage2_steps else ()
    stage1 = Recipe("stage 1", (*first, "--stage2_steps", "0"))
    base = Sweep("opv2v_stage2", folder, common)
    base.train(stage1, seed)
    start = base.run_folder(stage1, seed)
    own = "-".join(["stage2", *first, *second]).replace("--", "")
    return Sweep("opv2v_stage2", folder / own, (*common, *second, "--start_from", str(start)))
