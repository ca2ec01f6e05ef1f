"""Evaluation: the request's flags and files, baselines that must be exact, frames that must be the same."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
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
def test_saved_clouds_give_the_same_figures_and_no_model_runs(output, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("opv2v_stage2.evaluate.chosen.load_model", lambda folder: pytest.fail(f"{folder} was loaded"))
    again = replace(QUICK, run_dir=tiny_run, output_root=tmp_path, pc_cache_dir=output / "clouds")
    evaluate(again)
    for mode in ("single", "coop"):
        pairs = zip(*(read_rows(root / "stage2" / f"{mode}_metrics.csv") for root in (output, tmp_path)), strict=True)
        for old, new in pairs:
            for name in ("chamfer_pred_to_gt", "bev_iou_filtered", "lidar_floaters_pct"):
                assert new[name] == pytest.approx(old[name], rel=1e-4, nan_ok=True)
            assert new["depth_mae"] is None


@pytest.mark.slow
def test_best_median_and_worst_frame_are_kept_as_clouds(tiny_run, tmp_path):
    settings = replace(QUICK, run_dir=tiny_run, modes=("single",), save_representative=True, pose_noise_m=(0.0,))
    measure(open_trained(tiny_run, CPU, settings), settings, tmp_path)
    names = [path.stem.rsplit("_", 1)[1] for path in (tmp_path / "stage2" / "single_representatives").iterdir()]
    assert sorted(names) == ["best", "median", "worst"]


@pytest.mark.slow
def test_models_are_named_and_the_summary_says_where_they_are(tiny_run, tmp_path):
    named = (f"pretrain={tiny_run / 'models' / 'stage1'}", f"ours={tiny_run}")
    settings = replace(QUICK, models=named, modes=("single",), sample_size=1, output_root=tmp_path)
    evaluate(settings)
    document = json.loads((tmp_path / "summary_test.json").read_text())
    assert document["model_paths"] == {
        "pretrain": str(tiny_run / "models" / "stage1"),
        "ours": str(tiny_run / "models" / "stage2"),
    }
    assert len(set(document["meta"]["weights"].values())) == 2
    assert "pretrain_lidar_scaled" in document["metrics"]


def frames_with(output, path, change):
    document = json.loads((output / "frames_test.json").read_text())
    change(document["frames"])
    path.write_text(json.dumps(document))
    return path


@pytest.mark.slow
def test_a_list_may_have_frames_with_other_numbers_of_vehicles(output, tiny_run, tmp_path):
    path = frames_with(output, tmp_path / "f.json", lambda frames: frames[1].update(coop_agents=[]))
    settings = replace(QUICK, run_dir=tiny_run, frames_json=path, pose_noise_m=(0.0,))
    measured = measure(open_trained(tiny_run, CPU, settings), settings, tmp_path)
    lengths = {mode: len(measured.rows["stage2", mode]) for mode in ("single", "coop")}
    assert lengths["coop"] == lengths["single"] - 1


@pytest.mark.slow
def test_a_list_that_names_agents_who_are_not_there_is_one_line(output, tiny_run, tmp_path):
    path = frames_with(output, tmp_path / "f.json", lambda frames: frames[0].update(main_agent="99999"))
    settings = replace(QUICK, run_dir=tiny_run, frames_json=path)
    with pytest.raises(UserError, match=r"expected agents that are in .* got none of 99999"):
        measure(open_trained(tiny_run, CPU, settings), settings, tmp_path)


@pytest.mark.slow
def test_the_worst_frames_are_named_and_the_request_s_is_among_them(output):
    tables = {table.table: table for table in results.read(output / "results.json")}
    names = list(dict.fromkeys(row.row for row in tables["worst"].rows))
    assert "2021_08_18_19_48_05/000340" in names
    assert all("/" in name for name in names)
    assert tables["buckets"].rows


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
