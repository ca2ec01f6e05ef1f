"""Suites in small: which runs they are, and what their tables conclude."""

from dataclasses import replace

import numpy as np
import pytest

from drivelab_shared import results
from lapo_mm import ablate as ablate_module
from lapo_mm.ablate import ablate, recipes
from lapo_mm.ablation_report import suite_tables
from lapo_mm.config import AblateSettings
from lapo_mm.scores import Policy, Scores

SUITES = ("wirings", "best", "retune", "parts", "carracing")


@pytest.mark.parametrize("suite", SUITES)
def test_the_recipes_of_a_suite_are_all_different_runs(suite):
    found = recipes(AblateSettings(suite=suite))
    assert len({recipe.name for recipe in found}) == len({recipe.folder for recipe in found}) == len(found)


def test_the_suite_of_wirings_has_every_wiring_the_blind_ceiling_and_the_baselines():
    names = [recipe.name for recipe in recipes(AblateSettings())]
    assert names == ["critic", "both", "separate", "vae", "none", "blind", "BC", "25 % BC", "TD3+BC", "IQL"]


def scores(gain, noise, seed):
    """100 episodes with a score of about 50 + gain, and values as far from the truth as `noise`."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-4, 1, 200)
    policy = Policy(
        returns=-7 + gain / 10 + rng.normal(0, 1, 100),
        q=truth + rng.normal(0, noise, 200),
        truth=truth,
        curve_steps=np.array([500.0, 1000, 1500, 2000]),
        curve=-9 + np.array([0.0, 1, 1.5, 2]) * gain / 10,
        encoder_grad_norm=np.full(4, noise),
    )
    return Scores({"agent": policy}, random=-12.0, expert=-2.0)


def suite(**changes):
    settings = replace(AblateSettings(num_bootstrap=100), **changes)
    gains = {"critic": (30, 0.3), "vae": (0, 1.2)}
    found = {
        recipe.name: [scores(*gains.get(recipe.name, (5, 1.0)), seed) for seed in settings.seeds]
        for recipe in recipes(settings)
    }
    return suite_tables(settings, found)


def test_bars_are_judged_by_their_figures():
    tables = {table.table: table for table in suite()}
    assert list(tables) == ["wirings-bars", "wirings", "wirings-values", "wirings-claims"]
    reached = tables["wirings-bars"].conclusions
    assert reached[0].startswith("score of the critic wiring (bar: >= 60): 78.5")
    assert all("missed" not in line for line in reached)


def test_the_best_suite_compares_with_every_row():
    bars = next(table for table in suite(suite="best") if table.table == "best-bars")
    rows = [row.row for row in bars.rows]
    for name in ("both", "none", "blind", "BC", "25 % BC", "TD3+BC", "IQL"):
        assert f"better than {name} (bar: > 0)" in rows
    assert "score / BC's score (bar: >= 2)" in rows


def test_the_request_is_answered_claim_by_claim():
    claims = next(table for table in suite() if table.table == "wirings-claims")
    by_name = {row.row.partition(" (expected")[0]: row for row in claims.rows}
    assert by_name["reward, critic / vae wiring"].value == pytest.approx(80 / 50, rel=0.1)
    assert by_name["Q MSE, change from vae to critic wiring"].value == pytest.approx(-94, abs=3)
    assert by_name["steps of the critic wiring to the best score that the vae wiring ever has"].value == 500
    assert len(claims.conclusions) == 3


@pytest.mark.parametrize("name", ["retune", "parts", "carracing"])
def test_the_other_suites_compare_with_their_first_recipe(name):
    settings = AblateSettings(suite=name, num_bootstrap=100)
    found = {recipe.name: [scores(5, 1.0, seed) for seed in settings.seeds] for recipe in recipes(settings)}
    table = next(one for one in suite_tables(settings, found) if one.table == name)
    first = recipes(settings)[0].name
    assert {row.metric for row in table.rows if "against" in row.metric} == {f"against {first} (paired) [points]"}


@pytest.mark.slow
def test_a_suite_trains_compares_and_goes_on_where_it_was(reacher_data, tmp_path, monkeypatch):
    small = (
        *("--batch_size", "16", "--hidden_sizes", "8", "--encoder.channels", "4", "--steps", "2", "--eval_every", "1"),
        *("--eval_episodes", "1", "--final_episodes", "2"),
    )
    chosen = [recipe for recipe in recipes(AblateSettings()) if recipe.name in ("critic", "vae", "blind")]
    small_recipes = [replace(recipe, arguments=(*recipe.arguments, *small)) for recipe in chosen]
    monkeypatch.setattr(ablate_module, "recipes", lambda settings: small_recipes)
    settings = AblateSettings(
        data_dir=reacher_data, seeds=(0,), output_dir=tmp_path, cache_dir=tmp_path / "cache", num_bootstrap=20
    )
    ablate(settings)
    tables = [table.table for table in results.read(tmp_path / "wirings" / "results.json")]
    assert tables == ["wirings-bars", "wirings", "wirings-values", "wirings-claims"]
    logs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("train.log")}
    assert len(logs) == 3
    ablate(settings)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("train.log")} == logs
