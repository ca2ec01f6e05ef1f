"""Predictions as files: the same numbers as an evaluation, for pairs with and without a future, and for one pair."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drivelab_shared.errors import UserError
from drivelab_shared.settings import dump, load
from v2x_teacher.config import EvaluateSettings, LabelSettings, MakeDataSettings, PredictSettings, TrainSettings
from v2x_teacher.data.labels import build_samples
from v2x_teacher.data.make_data import make_data
from v2x_teacher.data.open_recording import open_recording
from v2x_teacher.predict import predict
from v2x_teacher.storage import load_teacher
from v2x_teacher.trained import open_trained

CPU = torch.device("cpu")


@pytest.fixture
def settings(tiny_run, tmp_path) -> PredictSettings:
    return PredictSettings(run_dir=tiny_run, output_dir=tmp_path / "out", num_drawings=1, device="cpu")


@pytest.fixture(scope="module")
def predicted(tiny_run, tmp_path_factory) -> PredictSettings:
    """Settings of a prediction that has been made. Nobody may write into it."""
    folder = tmp_path_factory.mktemp("predicted")
    settings = PredictSettings(run_dir=tiny_run, output_dir=folder, num_drawings=2, device="cpu")
    predict(settings)
    return settings


def document(settings: PredictSettings) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((settings.output_dir / "predictions.json").read_text(), parse_constant=refuse)


def by_id(settings: PredictSettings) -> dict[str, dict]:
    return {entry["id"]: entry for entry in document(settings)["predictions"]}


def test_what_has_a_future_is_predicted_as_in_an_evaluation(predicted, tiny_run):
    trained = open_trained(tiny_run, CPU, EvaluateSettings())
    rows, samples = trained.rows("test"), trained.inputs.samples
    expected = trained.inputs.method(trained.teacher, rows, CPU).trajectories
    found = by_id(predicted)
    for row, trajectory in zip(rows, expected, strict=True):
        entry = found[samples.ids[row]]
        np.testing.assert_allclose(entry["trajectory_ego_m"], trajectory, atol=2e-4)
        np.testing.assert_allclose(entry["driven_ego_m"], samples.truth[row], atol=1e-4)
        error = np.linalg.norm(trajectory - samples.truth[row], axis=-1).mean()
        assert entry["ade_m"] == pytest.approx(error, abs=1e-3)


def test_the_world_trajectory_is_the_ego_one_at_the_vehicles_pose(predicted, tiny_data):
    recording, found = open_recording(tiny_data), document(predicted)
    assert found["times_s"] == pytest.approx(np.arange(1, 46) / 10)
    for entry in found["predictions"]:
        poses = recording.poses[entry["sequence"]]
        index = poses.ids.index(entry["vehicle_frame"])
        pose = poses.world_from_vehicle[index]
        x, y = np.array(entry["trajectory_ego_m"]).T
        expected = pose[:2, 3] + x[:, None] * pose[:2, 0] + y[:, None] * pose[:2, 1]
        np.testing.assert_allclose(entry["trajectory_world_m"], expected, atol=2e-3)
        assert entry["t0_us"] == poses.time_us[index]
        assert Path(entry["vehicle_image"]).is_file()


@pytest.fixture(scope="module")
def pictured_to_the_end(tmp_path_factory) -> Path:
    """Drives whose last pairs, which have no whole future, are listed in a split too."""
    folder = tmp_path_factory.mktemp("late") / "data"
    make_data(MakeDataSettings(data_dir=folder, num_sequences=3, seconds=6, width=32, workers=1, seed=5))
    rows = json.loads((folder / "cooperative" / "data_info.json").read_text())
    path = folder / "cooperative-split-data-spd.json"
    splits = json.loads(path.read_text())
    test = set(splits["batch_split"]["test"])
    late = [row["vehicle_frame"] for row in rows if row["vehicle_sequence"] in test][-3:]
    splits["cooperative_split"]["test"] += late
    path.write_text(json.dumps(splits))
    for row in rows:
        if row["vehicle_frame"] in late:
            for side, frame in (("vehicle", row["vehicle_frame"]), ("infrastructure", row["infrastructure_frame"])):
                picture = folder / f"{side}-side" / "image" / f"{frame}.jpg"
                picture.parent.mkdir(exist_ok=True)
                Image.new("RGB", (32, 18), (90, 90, 90)).save(picture)
    return folder


def test_pairs_without_a_future_are_predicted_too_and_null_where_nobody_knows(settings, pictured_to_the_end):
    settings = replace(settings, data_dir=pictured_to_the_end)
    predict(settings)
    recording = open_recording(pictured_to_the_end)
    with_future = set(build_samples(recording, LabelSettings()).ids)
    entries = by_id(settings)
    listed = {f"{pair.sequence}/{pair.vehicle_id}" for pair in recording.pairs if pair.split == "test"}
    assert set(entries) == listed
    late = listed - with_future
    assert len(late) == 3
    for name in late:
        driven = entries[name]["driven_ego_m"]
        known = 0 if driven is None else sum(point is not None for point in driven)
        poses = recording.poses[entries[name]["sequence"]]
        rest_s = (poses.time_us[-1] - entries[name]["t0_us"]) * 1e-6
        assert known == int(rest_s * 10 + 1e-3)
        assert entries[name]["ade_m"] is None
        assert np.isfinite(entries[name]["trajectory_ego_m"]).all()
    assert all(entries[name]["ade_m"] is not None for name in listed & with_future)


def test_no_label_file_is_needed(predicted, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / "data", copy_function=os.link)
    shutil.rmtree(data / "cooperative" / "label")
    elsewhere = replace(predicted, data_dir=data, output_dir=tmp_path / "bare", skip_invalid=True)
    predict(elsewhere)
    with_labels = by_id(predicted)
    for name, entry in by_id(elsewhere).items():
        assert entry["trajectory_ego_m"] == with_labels[name]["trajectory_ego_m"]


def test_a_missing_infrastructure_picture_is_null_and_the_pair_is_kept(settings, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / "data", copy_function=os.link)
    pair = next(pair for pair in open_recording(data).pairs if pair.split == "test")
    pair.infrastructure_image.unlink()
    predict(replace(settings, data_dir=data, skip_invalid=True, num_drawings=0))
    assert by_id(settings)[f"{pair.sequence}/{pair.vehicle_id}"]["infrastructure_image"] is None


def test_the_document_says_which_weights_and_which_labels(predicted, tiny_run):
    found, manifest = document(predicted), json.loads((tiny_run / "manifest.json").read_text())
    assert found["format"] == "v2x-teacher-predictions-1"
    assert found["labels"]["kind"] == "time"
    assert found["labels"]["trained_on_sha256"] == manifest["data"]
    assert len(found["checkpoint_sha256"]) == 64
    fields = set(found["predictions"][0]) - {"id", "sequence", "motion_known_s"}
    explained = set(found["conventions"])
    assert {name for name in fields if name.endswith(("_m", "_us", "motion"))} <= explained


def test_as_many_drawings_as_asked_for_on_a_page_and_as_files(predicted):
    page = (predicted.output_dir / "index.html").read_text()
    drawings = sorted((predicted.output_dir / "drawings").glob("*.png"))
    assert page.count("<img") == len(drawings) == 2
    with Image.open(drawings[0]) as drawing:
        assert drawing.width == 1600
    entries = list(by_id(predicted))
    assert {path.stem for path in drawings} == {name.replace("/", "-") for name in (entries[0], entries[-1])}


def test_without_drawings_the_numbers_still_come(settings):
    predict(replace(settings, num_drawings=0))
    assert not (settings.output_dir / "drawings").exists()
    assert document(settings)["predictions"]


# --- one pair ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def one(predicted, tmp_path) -> tuple[PredictSettings, dict]:
    """Settings for the pictures of a pair of the data set with its motion, and what the data set's prediction was."""
    entry = next(entry for entry in document(predicted)["predictions"] if entry["ego_motion"][0] > 1)
    speed, _, yaw_rate, acceleration = entry["ego_motion"]
    pair = replace(
        predicted,
        num_drawings=0,
        vehicle_image=Path(entry["vehicle_image"]),
        infrastructure_image=Path(entry["infrastructure_image"]),
        speed_mps=speed,
        yaw_rate_radps=yaw_rate,
        acceleration_mps2=acceleration,
        output_dir=tmp_path / "pair",
    )
    return pair, entry


def test_one_pair_is_predicted_like_the_same_pair_of_a_data_set(one):
    pair, expected = one
    predict(replace(pair, num_drawings=1))
    (found,) = document(pair)["predictions"]
    # The sideways speed, a few mm/s of noise, cannot be given.
    np.testing.assert_allclose(found["trajectory_ego_m"], expected["trajectory_ego_m"], atol=0.1)
    assert found["trajectory_world_m"] is None
    assert found["driven_ego_m"] is None
    assert found["t0_us"] is None
    page = (pair.output_dir / "index.html").read_text()
    assert "no calibration" in page
    assert page.count("<img") == 1


def test_the_motion_that_is_given_counts(one):
    pair, expected = one
    predict(replace(pair, speed_mps=0.0, yaw_rate_radps=0.0, acceleration_mps2=0.0))
    (found,) = document(pair)["predictions"]
    assert found["ego_motion"] == [0, 0, 0, 0]
    assert abs(found["trajectory_ego_m"][-1][0] - expected["trajectory_ego_m"][-1][0]) > 2


def test_a_pair_leaves_no_file_in_the_cache(one, tiny_settings):
    before = sorted(tiny_settings.cache_dir.rglob("*"))
    predict(one[0])
    assert sorted(tiny_settings.cache_dir.rglob("*")) == before


def one_camera_run(run: Path, folder: Path, cameras: str) -> Path:
    """The run as if its teacher had been trained on one camera."""
    shutil.copytree(run, folder)
    trained = load(TrainSettings, folder / "settings.yaml")
    changed = replace(trained, backbone=replace(trained.backbone, cameras=cameras))
    (folder / "settings.yaml").write_text(dump(changed))
    shutil.rmtree(folder / "models" / "teacher")
    shutil.copytree(folder / "models" / "no_infrastructure", folder / "models" / "teacher")
    assert load_teacher(folder / "models" / "teacher", None).facts["cameras"] == 1
    return folder


def test_a_run_that_reads_the_vehicles_camera_needs_no_partner(one, tiny_run, tmp_path):
    run = one_camera_run(tiny_run, tmp_path / "run", "vehicle")
    alone = replace(one[0], run_dir=run, infrastructure_image=None)
    predict(alone)
    (found,) = document(alone)["predictions"]
    assert found["infrastructure_image"] is None
    shown_only = replace(one[0], run_dir=run, output_dir=tmp_path / "shown")
    predict(shown_only)
    assert document(shown_only)["predictions"][0]["trajectory_ego_m"] == found["trajectory_ego_m"]


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"infrastructure_image": None},
            "infrastructure_image: expected a picture, because the run was trained on both",
        ),
        ({"vehicle_image": None}, "vehicle_image: expected the partner of infrastructure_image"),
        ({"vehicle_image": Path("nowhere.jpg")}, "nowhere.jpg: expected a picture, got: No such file"),
        ({"infrastructure_image": Path(__file__)}, "test_predict.py: expected a picture, got: cannot identify"),
        ({"data_dir": Path("data")}, "data_dir: expected none beside vehicle_image, got data"),
        ({"speed_mps": float("nan")}, "speed_mps: expected a finite number, got nan"),
        ({"num_drawings": -1}, "num_drawings: expected a number >= 0, got -1"),
    ],
)
def test_a_wrong_pair_is_one_line(settings, tiny_data, change, message):
    image = next((tiny_data / "vehicle-side" / "image").glob("*.jpg"))
    pair = replace(settings, vehicle_image=image, infrastructure_image=image)
    with pytest.raises(UserError) as caught:
        predict(replace(pair, **change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not settings.output_dir.exists()


def test_a_flat_folder_does_not_suit_a_run_that_reads_poses(settings, tmp_path):
    flat = tmp_path / "flat"
    for name in ("split", "vehicle_images", "infrastructure_images", "ground_truth_trajectories", "text_prompts"):
        (flat / name).mkdir(parents=True)
    (flat / "split" / "train.txt").write_text("000000\n")
    (flat / "split" / "val.txt").write_text("")
    (flat / "text_prompts" / "000000.txt").write_text("go")
    np.save(flat / "ground_truth_trajectories" / "000000.npy", np.zeros((45, 2)))
    for side in ("vehicle", "infrastructure"):
        Image.new("RGB", (32, 18)).save(flat / f"{side}_images" / "000000.jpg")
    with pytest.raises(UserError, match="a flat folder says neither when a row was taken") as caught:
        predict(replace(settings, data_dir=flat, split="train"))
    assert "\n" not in str(caught.value)


def test_an_empty_split_is_one_line(settings, pictured_to_the_end, tmp_path):
    data = shutil.copytree(pictured_to_the_end, tmp_path / "data")
    path = data / "cooperative-split-data-spd.json"
    splits = json.loads(path.read_text())
    splits["cooperative_split"]["test"] = []
    path.write_text(json.dumps(splits))
    with pytest.raises(UserError, match="split: expected pairs in the test split, got none"):
        predict(replace(settings, data_dir=data))
