"""Diagnose: every check holds on made-up data and breaks where it should; floaters and heights; the verb."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
from opv2v_stage2 import diagnose as verb
from opv2v_stage2.cli import main
from opv2v_stage2.config import DiagnoseSettings, HeightSettings, LossSettings
from opv2v_stage2.diagnose import gauges, leakage
from opv2v_stage2.diagnose.check import aligned, at_most, compared, grid, more_than
from opv2v_stage2.diagnose.conventions import RIGHT, WRONG, ZYX, file_checks, projection_checks
from opv2v_stage2.diagnose.floating import HIGHEST_M, LOWEST_M, band_name, band_shares, floater_map, true_cloud
from opv2v_stage2.diagnose.gauges import mask_checks, motion_checks, split_checks
from opv2v_stage2.diagnose.leakage import leakage_checks
from opv2v_stage2.diagnose.pictures import above, floater_rows, lidar_board
from opv2v_stage2.diagnose.subject import chosen_cases
from opv2v_stage2.evaluate.page import MAGENTA
from opv2v_stage2.inference import Prediction
from opv2v_stage2.trained import open_trained

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tiny_run):
    return open_trained(tiny_run, torch.device("cpu"), DiagnoseSettings())


@pytest.fixture(scope="module")
def cases(trained):
    return chosen_cases(trained, DiagnoseSettings(num_frames=2))


@pytest.fixture
def scene(perfect_scene):
    """A reconstruction and its targets in double precision, 30 % of the pixels labelled."""
    return perfect_scene(coverage=0.3, dtype=torch.float64)


def broken(checks):
    return [check.name for check in checks if check.holds is False]


def found(checks, part):
    (check,) = [check for check in checks if part in check.name]
    return check


# --- checks


def test_a_figure_is_judged_by_its_limit_and_one_that_is_not_there_is_broken():
    assert at_most("data", "x", 0.0, 0.0).holds is True
    assert at_most("data", "x", 0.2, 0.1).holds is False
    assert at_most("data", "x", math.nan, 0.1).holds is False
    assert more_than("data", "x", math.nan, 0.1).holds is False
    assert more_than("data", "x", 0.1, 0.1).holds is False
    assert compared("data", "x", 7.0).holds is None
    assert str(at_most("data", "x", 0.25, 0.1, "m")) == "data: x: expected at most 0.1 m, got 0.25 m"


def test_the_table_has_a_line_per_check_in_columns():
    lines = aligned(*grid([at_most("data", "one", 2, 1, "m"), compared("losses", "another", 3)])).splitlines()
    assert [line.split()[-1] for line in lines] == ["found", "BROKEN", "-"]
    assert len({line.index(word) for line, word in zip(lines, ("check", "one", "another"), strict=True)}) == 1


# --- conventions


def test_made_up_files_keep_every_convention(cases):
    checks = [*file_checks(cases), *projection_checks(cases)]
    assert broken(checks) == []
    assert len(checks) == 7 + 1 + len(WRONG)


def test_the_right_convention_is_by_far_the_best(cases):
    checks = list(projection_checks(cases))
    right = found(checks, RIGHT).value
    assert right < 0.006
    assert {name: found(checks, name).value > 3 * right for name in WRONG} == dict.fromkeys(WRONG, True)
    # Half a pixel of 96 on the ground, and 0.3 degrees of roll: small, and still seen.
    assert found(checks, "half a pixel").value < 0.1
    assert found(checks, "inverted").value > 0.2


def changed(case, document_change=lambda document: document, frame_change=lambda frame: frame):
    documents = {agent: document_change(document) for agent, document in case.documents.items()}
    return replace(case, documents=documents, frames={agent: frame_change(one) for agent, one in case.frames.items()})


def test_an_inverted_extrinsic_breaks_the_identity(cases):
    def inverted(document):
        cameras = {
            number: replace(camera, extrinsic=np.linalg.inv(camera.extrinsic))
            for number, camera in document.cameras.items()
        }
        return replace(document, cameras=cameras)

    assert [name.split(", ")[-1] for name in broken(file_checks([changed(cases[0], inverted)]))] == [
        "rotation",
        "translation",
    ]


def test_a_mirrored_extrinsic_has_the_wrong_determinant(cases):
    def mirrored(document):
        camera = replace(document.cameras[0], extrinsic=document.cameras[0].extrinsic @ np.diag([1, -1, 1, 1.0]))
        return replace(document, cameras={0: camera})

    checks = list(file_checks([changed(cases[0], mirrored)]))
    assert found(checks, "determinants").value == pytest.approx(2)


def test_a_camera_on_its_side_and_gps_elsewhere_are_named(cases):
    def fallen(document):
        camera = document.cameras[1]
        turned = replace(camera, cords=camera.cords + np.array([0, 0, 0, 90, 0, 0]))
        far = document.predicted_ego_pos + np.array([30.0, 40, 0, 0, 20, 0])
        return replace(document, cameras={1: turned}, predicted_ego_pos=far)

    checks = list(file_checks([changed(cases[0], fallen)]))
    assert found(checks, "gravity").value == pytest.approx(90, abs=3)
    assert found(checks, "on the ground").value == pytest.approx(50, abs=1)
    assert found(checks, "truth, yaw").value == pytest.approx(20, abs=1)
    assert len(broken(checks)) == 5  # these, and the extrinsic that no longer fits


def test_a_yaw_that_is_a_turn_away_is_no_error_of_gps(cases):
    def turned(document):
        return replace(document, predicted_ego_pos=document.true_ego_pos + np.array([0, 0, 0, 0, -359.7, 0]))

    checks = list(file_checks([changed(cases[0], turned)]))
    assert found(checks, "truth, yaw").value == pytest.approx(0.3)
    assert found(checks, "without wrapping").value == pytest.approx(359.7)


def test_a_reader_with_a_wrong_rig_does_not_agree_with_dense_depth(cases):
    def shifted(frame):
        moved = {
            number: replace(camera, lidar_from_camera=np.linalg.inv(camera.lidar_from_camera))
            for number, camera in frame.cameras.items()
        }
        return replace(frame, cameras=moved)

    checks = list(projection_checks([changed(cases[0], frame_change=shifted)]))
    assert found(checks, RIGHT).holds is False
    assert found(checks, ZYX).holds is False  # reads the YAML by itself, and is now the better one


def test_without_dense_depth_there_is_nothing_to_compare_the_lidar_with(cases):
    real = changed(cases[0], frame_change=lambda frame: replace(frame, truth_path=None))
    assert list(projection_checks([real])) == []


# --- gauges


def test_the_losses_depend_on_nothing_that_they_must_not(scene):
    predicted, targets = scene
    checks = [
        *motion_checks(predicted, targets),
        *split_checks(predicted, targets),
        *mask_checks(predicted, targets, 0),
    ]
    assert broken(checks) == []
    # 1 degree at 20 m: sin(1 deg) x distance between vehicles is small; the world is 600 m away.
    assert found(checks, "the request's P_i").value > 5
    assert found(checks, "m_teacher").value == pytest.approx(15 * 0.7)
    assert found(checks, "zeros in the L1").value > 1


def test_the_request_s_relative_pose_breaks_the_check_of_the_loss(scene, monkeypatch):
    original = gauges.PairwisePoseConsistencyLoss
    monkeypatch.setattr(gauges, "PairwisePoseConsistencyLoss", lambda: original(relative="i_inv_j"))
    assert broken(motion_checks(*scene)) == ["consistency, all poses moved by 600 m and 1 deg: relative change"]


def test_a_distillation_that_reaches_the_shape_is_broken(scene, monkeypatch):
    original = gauges.scale_distill_loss
    monkeypatch.setattr(gauges, "scale_distill_loss", lambda *args: original(*args, detach=False))
    names = broken(split_checks(*scene))
    assert "scale distillation: gradient on depth" in names
    assert "scale distillation: gradient on the scale factor" in names


def test_a_depth_loss_that_believes_zeros_is_broken(scene, monkeypatch):
    original = gauges.log_ray_depth_loss
    monkeypatch.setattr(gauges, "log_ray_depth_loss", lambda *args: original(*args, mask_aware=False))
    predicted, targets = scene
    assert len(broken(mask_checks(predicted, targets, 0))) == 3


# --- leakage


def test_true_poses_in_the_files_do_not_reach_a_model_that_is_told_gps(trained, cases):
    checks = list(leakage_checks(trained, cases[0], "test", 0))
    assert broken(checks) == []
    assert found(checks, "its points").value < 1e-3
    assert found(checks, "posed_sfm").value > 0.5


def test_a_leak_is_found(trained, cases, monkeypatch):
    original = leakage.make_views

    def leaking(store, samples, modality, *others):
        return original(store, samples, "posed_sfm", *others)

    monkeypatch.setattr(leakage, "make_views", leaking)
    checks = list(leakage_checks(trained, cases[0], "test", 0))
    assert found(checks, "its inputs").holds is False
    assert found(checks, "its points").holds is False


def test_a_model_that_is_told_the_truth_is_not_judged(trained, cases):
    upper = replace(trained, settings=replace(trained.settings, modality="posed_sfm"))
    (check,) = leakage_checks(upper, cases[0], "test", 0)
    assert check.holds is None
    assert check.value > 0.5


# --- what floats


def with_depth(case, depth_z):
    validity = np.isfinite(depth_z).astype(np.float32)
    depth = np.where(np.isfinite(depth_z), depth_z, 1).astype(np.float32)
    return replace(case, prediction=Prediction(depth, validity, case.moment.camera_pose, math.nan))


def test_the_truth_does_not_float_and_a_wall_before_everything_does(cases):
    truth = with_depth(cases[0], cases[0].moment.dense_z)
    assert floater_map(truth)[1] == 0
    wall = with_depth(cases[0], np.full_like(cases[0].moment.dense_z, 1.0))
    floats, share = floater_map(wall)
    sky = np.isposinf(cases[0].moment.dense_z)
    assert floats[sky].all()
    assert share > 50
    assert not floats[cases[0].moment.dense_z < 1.5].any()  # 0.9 m further along the ray in a corner


def test_without_dense_truth_the_lidar_tells_what_floats(cases):
    case = cases[0]
    real = replace(case, moment=_without_dense(case.moment))
    labels = np.where(case.moment.labels_z > 0, case.moment.labels_z, np.inf)
    assert floater_map(with_depth(real, labels))[1] < 1
    assert floater_map(with_depth(real, np.where(labels > 8, labels / 3, np.inf)))[1] > 30
    assert len(true_cloud(real)) == int((case.moment.labels_z > 0).sum())


def _without_dense(moment):
    copy = object.__new__(type(moment))
    copy.__dict__ |= moment.__dict__ | {"dense_z": np.full_like(moment.dense_z, np.nan)}
    return copy


def test_heights_are_shares_of_bands_of_a_metre_open_at_both_ends():
    shares = band_shares(np.array([-30.0, 0.0, 0.9, 1.0, 3.5, 99.0, 200.0, 15.0]))
    assert list(shares) == list(range(LOWEST_M, HIGHEST_M + 1))
    assert {band: share for band, share in shares.items() if share} == {-2: 12.5, 0: 25, 1: 12.5, 3: 12.5, 15: 37.5}
    assert all(math.isnan(share) for share in band_shares(np.zeros(0)).values())
    assert [band_name(band) for band in (LOWEST_M, 3, HIGHEST_M)] == ["below -1 m", "3 to 4 m", "15 m and more"]


def test_pictures_mark_what_floats_and_show_all_four_cameras(cases):
    wall = with_depth(cases[0], np.full_like(cases[0].moment.dense_z, 1.0))
    rows = dict(floater_rows(wall))
    assert list(rows) == ["picture", "predicted", "true", "floats"]
    marked = (rows["floats"] == MAGENTA).all(axis=-1)
    np.testing.assert_array_equal(marked, floater_map(wall)[0][:4])
    assert lidar_board(wall).shape == (744, 992, 3)
    picture = above(cases[0])
    assert picture.shape == (480, 960, 3)
    blue, orange = (0, 114, 178), (213, 94, 0)
    assert all((picture == colour).all(axis=-1).any() for colour in (blue, orange))


# --- the verb


@pytest.fixture
def fast(monkeypatch):
    """One moment, and no copy of its files."""
    monkeypatch.setattr(verb, "leakage_checks", lambda *args: iter([at_most("model", "leak", 0.0, 0.1)]))
    return {"num_frames": 1}


def test_the_verb_prints_the_table_and_writes_figures_and_a_page(tiny_run, tmp_path, fast, capsys):
    settings = DiagnoseSettings(run_dir=tiny_run, output_dir=tmp_path, device="cpu", **fast)
    assert verb.diagnose(settings) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert "All 24 checks hold" in printed
    assert f"report: {tmp_path / 'report.html'}" in printed
    tables = {table.table: table for table in results.read(tmp_path / "results.json")}
    assert list(tables) == ["checks", "floaters", "heights"]
    values = {(row.row, row.metric): row.value for row in tables["checks"].rows}
    assert values["leak", "holds"] == 1
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 4 * 4 + 3
    assert "Heights of points" in page


def test_a_broken_check_ends_with_1_and_a_line_on_stderr(tiny_run, tmp_path, fast, monkeypatch, capsys):
    monkeypatch.setattr(verb, "file_checks", lambda cases: iter([at_most("data", "thing", 2.0, 1.0, "m")]))
    arguments = ["diagnose", "--run_dir", str(tiny_run), "--output_dir", str(tmp_path), "--num_frames", "1"]
    assert main(arguments) == 1
    printed, said = capsys.readouterr()
    assert said == "run: data: thing: expected at most 1 m, got 2 m\n"
    assert "1 of 19 checks are broken" in printed


def test_what_cannot_be_checked_is_said(trained, cases, fast):
    alone = replace(cases[0], listed=replace(cases[0].listed, coop_agents=()))
    real = changed(alone, frame_change=lambda frame: replace(frame, truth_path=None))
    checks, left_out = verb._checks(trained, [real], DiagnoseSettings())
    assert {check.group for check in checks} == {"data"}
    assert [what.split(":")[0] for what in left_out] == ["the lidar against dense depth", "losses and inputs"]


def test_the_request_s_forms_in_the_training_are_warned_of():
    assert verb.literal_forms(LossSettings()) == []
    literal = LossSettings(
        mask_aware=False,
        mask="upstream",
        height=HeightSettings(mode="depth"),
        scale_distill_form="literal",
        pose_relative="i_inv_j",
    )
    assert len(verb.literal_forms(literal)) == 5


def test_a_run_that_is_not_there_is_the_user_s_mistake(capsys):
    assert main(["diagnose", "--run_dir", "nowhere"]) == 2
    assert capsys.readouterr().err == "nowhere: expected a run (a folder with manifest.json), got none\n"
