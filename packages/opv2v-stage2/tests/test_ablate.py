"""Suites in small: which runs they are, and what their bars conclude from made-up CSVs."""

import json

import numpy as np
import pytest

from drivelab_shared.settings import parse
from opv2v_stage2.ablate import recipes
from opv2v_stage2.ablation_report import Finished, suite_tables, write_report
from opv2v_stage2.cli import CONFIGS
from opv2v_stage2.config import AblateSettings, TrainSettings
from opv2v_stage2.metrics.columns import write_rows

SUITES = ("losses", "noise", "negatives", "sparsity")


@pytest.mark.parametrize("suite", SUITES)
def test_the_recipes_of_a_suite_are_all_different_runs_whose_flags_exist(suite):
    found = recipes(AblateSettings(suite=suite))
    assert len({recipe.name for recipe in found}) == len({recipe.folder for recipe in found}) == len(found)
    settings = [parse(TrainSettings, recipe.arguments, prog="train", configs=CONFIGS) for recipe in found]
    assert len(set(settings)) == len(found)


def test_the_suite_of_losses_adds_one_loss_after_the_other():
    names = [recipe.name for recipe in recipes(AblateSettings())]
    assert names == [
        *("zeros in the loss", "upstream's mask", "+ mask", "+ height as depth", "+ height as mask"),
        *("+ distillation", "+ consistency", "+ boxes"),
    ]


FIGURES = {
    "zeros in the loss": {"depth_mae": 6.0},
    "upstream's mask": {"floaters_pct": 40.0, "completeness_high_pct": 31.0},
    "+ distillation": {"scale_eff_log_err": 0.05},
    "teacher": {"scale_eff_log_err": 0.08},
}
ELSE = {"depth_mae": 2.0, "floaters_pct": 20.0, "completeness_high_pct": 30.0, "scale_eff_log_err": 0.1}


@pytest.fixture
def finished(tmp_path):
    """Six scenarios of two frames, two seeds; every figure with a little noise, the same for all rows."""
    settings = AblateSettings(seeds=(0, 1), num_bootstrap=100)
    runs = {}
    for number, recipe in enumerate(recipes(settings)):
        for seed in settings.seeds:
            run = tmp_path / f"{number}-{seed}"
            runs.setdefault(recipe.name, []).append(run)
            for stage, name in (("stage1", "teacher"), ("stage2", recipe.name)):
                (run / stage).mkdir(parents=True)
                for mode in ("single", "coop"):
                    write_rows(run / stage / f"{mode}_metrics.csv", rows(ELSE | FIGURES.get(name, {}), seed))
            (run / "poses_over_noise.json").write_text(json.dumps(poses(seed)))
    return settings, Finished(runs)


def rows(figures, seed):
    rng = np.random.default_rng(seed)
    return [
        {"sequence": f"s{i // 2}", "frame": f"{i:06d}", **{k: v * rng.uniform(0.95, 1.05) for k, v in figures.items()}}
        for i in range(12)
    ]


def poses(seed):
    rng = np.random.default_rng(seed)
    return [
        {
            "method": method,
            "gps_noise_m": noise,
            "sequence": f"s{i // 2}",
            "frame": f"{i:06d}",
            "baseline_bucket": ("[0,15)", "[15,30)")[i % 2],
            "cross_agent_pose_trans_m": (noise + 0.1) * (0.8 if method == "stage2" else 1) * rng.uniform(0.95, 1.05),
            "cross_agent_pose_rot_deg": 1.0,
        }
        for method in ("GPS", "stage1", "stage2")
        for noise in (0.0, 2.0)
        for i in range(12)
    ]


def test_bars_are_judged_by_their_figures(finished):
    tables = {table.table: table for table in suite_tables(*finished)}
    assert list(tables) == ["bars", "single", "coop", "noise", "distance"]
    said = dict(line.split(": ", 1) for line in map(str, tables["bars"].conclusions) if ") : " not in line)
    assert all("missed" not in line for line in tables["bars"].conclusions)
    assert len(said) >= 1
    floaters = next(row for row in tables["bars"].rows if row.row.startswith("floaters, by"))
    assert floaters.value == pytest.approx(0.5, abs=0.05)


def test_a_bar_that_is_missed_is_called_missed(finished):
    settings, done = finished
    for run in done.runs["+ height as mask"]:
        write_rows(run / "stage2" / "single_metrics.csv", rows(ELSE | {"floaters_pct": 39.0}, 0))
    (bars, *_) = suite_tables(settings, done)
    assert "missed" in bars.conclusions[0]


def test_the_page_is_one_file_with_every_table(finished, tmp_path):
    tables = suite_tables(*finished)
    write_report(tmp_path / "report.html", *finished, tables)
    page = (tmp_path / "report.html").read_text()
    assert all(table.title in page for table in tables)
