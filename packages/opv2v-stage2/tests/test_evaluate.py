"""Evaluation: the request's flags and files, baselines that must be exact, frames that must be the same."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared.errors import UserError
from drivelab_shared.settings import parse
from opv2v_stage2.config import EvaluateSettings
from opv2v_stage2.evaluate import evaluate, measure
from opv2v_stage2.metrics.columns import COLUMNS, read_rows
from opv2v_stage2.trained import open_trained

torch.set_num_threads(1)
CPU = torch.device("cpu")
QUICK = EvaluateSettings(pose_noise_m=(0.0, 2.0), num_bootstrap=20, device="cpu")


@pytest.fixture(scope="module")
def output(tiny_run, tmp_path_factory):
    """The results of an evaluation with clouds, which are also saved."""
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate(replace(QUICK, run_dir=tiny_run, output_root=folder, pc_metrics=True, pc_save_dir=folder / "clouds"))
    return folder


def test_the_flags_of_batch_eval_parse_unchanged():
    words = (
        "--split test --sample_size 10 --seed 3 --frames_json f.json --images_root i --depth_root d --output_root o "
        "--device cpu --models pretrain=a stage2=b --model_filter stage2 --modes single coop --save_representative "
        "--pc_metrics --pc_filter_z_min -1 --pc_filter_z_max 4.2 --pc_filter_radius 80 --pc_bev_range 120 "
        "--pc_bev_resolution 0.5 --pc_save_dir c --model_task calibrated_sfm --keep_camera_poses "
        "--keep_main_agent_poses"
    )
    settings = parse(EvaluateSettings, words.split(), prog="evaluate")
    assert settings.models == ("pretrain=a", "stage2=b")
    assert settings.modes == ("single", "coop")
    assert settings.pc_metrics
    assert settings.pc_filter_z_min == -1


def test_the_flags_of_recompute_pc_metrics_parse_unchanged():
    words = (
        "--split test --frames_json f.json --pc_cache_dir c --output_root o --images_root i --models stage2=b "
        "--modes coop --pc_filter_z_max 1.8 --pc_bev_range 60"
    )
    assert parse(EvaluateSettings, words.split(), prog="evaluate").pc_filter_z_max == 1.8


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", "coop"])
def test_the_csvs_lie_where_the_request_reads_them_with_its_columns_first(output, mode):
    with (output / "stage2" / f"{mode}_metrics.csv").open() as file:
        header = next(csv.reader(file))
    assert tuple(header[: len(COLUMNS)]) == COLUMNS
    assert {"scale_eff", "floaters_pct"} <= set(header)


@pytest.mark.slow
def test_the_summary_names_frames_modality_and_hash(output):
    document = json.loads((output / "summary_test.json").read_text())
    assert document["split"] == "test"
    assert all("/" in frame for frame in document["frames"])
    assert document["meta"]["modality"] == "gps"
    assert len(document["meta"]["hash_v2"]) == 32
    assert document["metrics"]["stage2"]["coop"]["cross_agent_pose_trans_m_mean"] > 0


@pytest.mark.slow
def test_the_oracle_is_exact_where_it_can_be(output):
    for mode in ("single", "coop"):
        for row in read_rows(output / "oracle" / f"{mode}_metrics.csv"):
            assert row["depth_mae"] == pytest.approx(0, abs=1e-5)
            assert row["pose_abs_m"] == pytest.approx(0, abs=1e-5)
            assert row["scale_eff"] == pytest.approx(1, abs=1e-4)
            assert row["chamfer_filtered_pred_to_gt"] < 0.5


@pytest.mark.slow
def test_a_pose_search_that_was_never_trained_is_gps_itself(output):
    by_method = {
        name: [row["cross_agent_pose_trans_m"] for row in read_rows(output / name / "coop_metrics.csv")]
        for name in ("stage1", "flat_ground")
    }
    np.testing.assert_allclose(by_method["stage1"], by_method["flat_ground"], atol=1e-3)


@pytest.mark.slow
def test_poses_are_measured_at_every_noise_beside_gps(output):
    rows = json.loads((output / "poses_over_noise.json").read_text())
    assert {(row["method"], row["gps_noise_m"]) for row in rows} == {
        (method, noise) for method in ("GPS", "stage2") for noise in (0.0, 2.0)
    }


@pytest.mark.slow
def test_saved_clouds_give_the_same_figures_without_a_model(output, tiny_run, tmp_path):
    again = replace(QUICK, run_dir=tiny_run, output_root=tmp_path, pc_cache_dir=output / "clouds", modes=("coop",))
    measured = measure(open_trained(tiny_run, CPU, again), again, tmp_path)
    before = read_rows(output / "stage2" / "coop_metrics.csv")
    for old, new in zip(before, measured.rows["stage2", "coop"], strict=True):
        assert new["chamfer_pred_to_gt"] == pytest.approx(old["chamfer_pred_to_gt"], rel=1e-4)


@pytest.mark.slow
def test_results_on_other_frames_are_not_overwritten_unless_forced(output, tiny_run, tmp_path):
    shutil.copy(output / "frames_test.json", tmp_path)
    fewer = replace(QUICK, run_dir=tiny_run, output_root=tmp_path, sample_size=1, modes=("single",))
    with pytest.raises(UserError, match="expected the same frames as before"):
        measure(open_trained(tiny_run, CPU, fewer), fewer, tmp_path)
    measure(open_trained(tiny_run, CPU, fewer), replace(fewer, force=True), tmp_path)


def test_a_model_that_is_not_there_is_one_line(tiny_run, tmp_path):
    settings = replace(QUICK, run_dir=tiny_run, models=(f"stage2={tmp_path}",), output_root=tmp_path)
    with pytest.raises(UserError, match="expected a trained model"):
        measure(open_trained(tiny_run, CPU, settings), settings, tmp_path)
