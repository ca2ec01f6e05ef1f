"""An exported folder must work for somebody who has nothing but the folder and its README."""

import hashlib
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from drivelab_shared.errors import UserError
from v2x_teacher import export as export_module
from v2x_teacher.config import ExportSettings
from v2x_teacher.export import export, load_export
from v2x_teacher.export.answers import answer
from v2x_teacher.export.description import describe
from v2x_teacher.export.soft_targets import write_soft_targets
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.pictures import read_whole_picture
from v2x_teacher.train import train
from v2x_teacher.trained import open_trained

CPU = torch.device("cpu")
SPLITS = {"train", "val", "test"}


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "export"
    export(ExportSettings(run_dir=tiny_run, output_dir=folder, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def trained(tiny_run):
    return open_trained(tiny_run, CPU, ExportSettings())


def pictures_and_ego(trained, row):
    pair = trained.inputs.samples.pairs[row]
    return pair.vehicle_image, pair.infrastructure_image, trained.inputs.samples.ego[row]


def alone(trained, row):
    """What the run says about one sample, computed by itself: sums depend in their last bit on the rest of a batch."""
    inputs, chosen = trained.inputs, np.arange(len(trained.inputs.samples)) == row
    arrays = {name: getattr(inputs, name)[chosen] for name in ("prior", "views", "features")}
    one = replace(inputs, samples=inputs.samples.take(chosen), **arrays)
    one = one.with_views(one.views, CPU)
    return one.method(trained.teacher, np.array([0]), CPU).trajectories[0]


def test_the_readmes_code_loads_the_teacher_and_asks_it(exported, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(exported)
    names = {}
    exec("\n".join(blocks), names)
    assert names["trajectory"].shape == (45, 2)
    assert names["trajectory"].dtype == np.float32
    assert not names["teacher"].teacher.training
    assert names["mean"].shape == names["scale"].shape == (len(names["features"]), 45, 2)


def test_the_exported_teacher_says_to_the_last_bit_what_the_run_says(exported, trained):
    teacher = load_export(exported)
    for row in trained.rows("test")[::5]:
        vehicle, infrastructure, ego = pictures_and_ego(trained, row)
        said = teacher.predict(vehicle, infrastructure, ego).trajectory
        assert np.array_equal(said, alone(trained, row))


def test_pixels_are_as_good_as_files_and_a_missing_picture_is_grey(exported, trained):
    teacher, row = load_export(exported), trained.rows("test")[0]
    vehicle, infrastructure, ego = pictures_and_ego(trained, row)
    from_files = teacher.predict(vehicle, str(infrastructure), ego).trajectory
    pixels = read_whole_picture(vehicle), read_whole_picture(infrastructure)
    assert np.array_equal(teacher.predict(*pixels, ego).trajectory, from_files)
    grey = np.full((90, 160, 3), 127, np.uint8)
    without = teacher.predict(vehicle, None, ego).trajectory
    assert np.array_equal(without, teacher.predict(vehicle, grey, ego).trajectory)
    assert not np.array_equal(without, from_files)


@pytest.mark.parametrize(
    ("vehicle", "ego", "message"),
    [
        (np.zeros((8, 8, 3)), (1.0, 0.0, 0.0, 0.0), "picture: expected uint8 RGB"),
        (np.zeros((8, 8), np.uint8), (1.0, 0.0, 0.0, 0.0), "picture: expected uint8 RGB"),
        (np.zeros((8, 8, 3), np.uint8), (1.0, 0.0, 0.0), "ego: expected 4 numbers"),
        (np.zeros((8, 8, 3), np.uint8), (1.0, 0.0, 0.0, float("nan")), "ego: expected 4 numbers"),
    ],
)
def test_other_pixels_or_another_motion_are_refused(exported, vehicle, ego, message):
    with pytest.raises(ValueError, match=message):
        load_export(exported).predict(vehicle, vehicle, ego)


def test_a_backbone_that_has_learned_is_exported_with_the_head(tiny_settings, tmp_path):
    settings = replace(
        tiny_settings, run_dir=tmp_path / "run", freeze_backbone=False, backbone_lr=1e-2, baselines=False, steps=2,
        head=replace(tiny_settings.head, pooling="fixed", prior="none", init="fixed", feature_dropout=0.0),
    )  # fmt: skip
    train(settings)
    export(ExportSettings(run_dir=tmp_path / "run", device="cpu", soft_targets=False))
    trained = open_trained(tmp_path / "run", CPU, ExportSettings())
    row = trained.rows("test")[:1]
    said = load_export(tmp_path / "run" / "export").predict(*pictures_and_ego(trained, row[0])).trajectory
    assert np.array_equal(said, trained.inputs.method(trained.teacher, row, CPU).trajectories[0])
    stored = load_file(tmp_path / "run" / "export" / "teacher" / "model.safetensors")
    assert sum("embed_tokens.weight" in name or "shared.weight" in name for name in stored) == 1  # tied
    numbers = sum(tensor.numel() for tensor in stored.values())
    assert f"{numbers:,} numbers in model.safetensors" in (tmp_path / "run" / "export" / "README.md").read_text()


# --- soft targets -----------------------------------------------------------------------------------------------------


def targets_of(folder, split):
    return dict(np.load(folder / "soft_targets" / f"{split}.npz", allow_pickle=False))


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_soft_targets_are_what_the_run_evaluates(exported, trained, split):
    found, rows = targets_of(exported, split), trained.rows(split)
    samples = trained.inputs.samples
    assert found["ids"].tolist() == [samples.ids[row] for row in rows]
    assert np.array_equal(found["features"], trained.inputs.features[rows])
    assert np.array_equal(found["mean"], trained.inputs.method(trained.teacher, rows, CPU).trajectories)
    assert np.array_equal(found["truth"], samples.truth[rows])
    assert np.array_equal(found["prior"], trained.inputs.prior[rows])
    assert "modes" not in found


def test_every_file_says_which_labels_and_which_weights_it_comes_from(exported, tiny_run):
    weights = (tiny_run / "models" / "teacher" / "model.safetensors").read_bytes()
    description = json.loads((exported / "export.json").read_text())
    for split in SPLITS:
        found = targets_of(exported, split)
        assert str(found["checkpoint"]) == hashlib.sha256(weights).hexdigest() == description["checkpoint"]
        assert str(found["label_version"]) == description["labels"]["version"]
    assert description["labels"]["steps_s"] == [step / 10 for step in range(1, 46)]


def test_without_a_scale_of_its_own_a_teacher_gets_the_errors_on_validation(exported):
    val, test = targets_of(exported, "val"), targets_of(exported, "test")
    expected = np.abs(val["mean"] - val["truth"]).mean(0)
    np.testing.assert_allclose(test["scale"][3], expected, rtol=1e-5)
    assert str(test["scale_source"]) == "mean absolute error on val"


def with_head(trained, **arguments):
    torch.manual_seed(0)
    head = TrajectoryHead(vectors=2, width=128, hidden_size=8, init="fixed", **arguments)
    head.target_std.fill_(2.0)
    return replace(trained, teacher=Teacher(head).eval())


def test_a_teacher_with_a_scale_hands_it_over_in_metres(trained, tmp_path):
    changed = with_head(trained, has_scale=True)
    write_soft_targets(tmp_path, changed, "test", describe(trained))
    found, rows = targets_of(tmp_path, "test"), trained.rows("test")
    features, ego, _, _ = trained.inputs.batch(rows, CPU)
    with torch.no_grad():
        raw = changed.teacher(features, ego).raw_scale
    np.testing.assert_allclose(found["scale"], 2 * (np.logaddexp(0, raw.numpy()) + 1e-3), rtol=1e-4)
    assert str(found["scale_source"]) == "teacher"


def test_a_teacher_with_modes_hands_them_over_with_their_probabilities(trained, tmp_path):
    write_soft_targets(tmp_path, with_head(trained, num_modes=3), "test", describe(trained))
    found = targets_of(tmp_path, "test")
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, rtol=1e-5)
    best = found["probabilities"].argmax(1)
    assert np.array_equal(found["mean"], found["modes"][np.arange(len(best)), best])
    assert found["modes"].shape == (len(best), 3, 45, 2)


def test_an_answer_is_in_metres_over_the_prior():
    head = TrajectoryHead(vectors=1, width=4, hidden_size=2)  # its last layer is 0
    head.target_std.fill_(2.0)
    head.target_mean.fill_(0.5)
    before = torch.full((3, 45, 2), 10.0)
    said = answer(Teacher(head).eval(), torch.randn(3, 1, 4), torch.zeros(3, 4), before)
    assert np.array_equal(said.trajectory, np.full((3, 45, 2), 10.5, np.float32))
    assert said.scale is said.modes is said.probabilities is None


# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_folder_holds_weights_descriptions_arrays_and_text_only(exported):
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    soft = {f"soft_targets/{split}.npz" for split in SPLITS}
    weights = {"teacher/config.json", "teacher/model.safetensors"}
    assert files == {"README.md", "settings.yaml", "export.json"} | weights | soft


def test_the_readme_states_what_goes_in_and_what_the_standardisers_are_called(exported, trained):
    text = " ".join((exported / "README.md").read_text().split())
    for fact in ("shrunk to 32 x 64", "float32 `[45, 2]`", "0.1, 0.2 ... 4.5 s after t0", "GNSS/INS", "`ctrv`"):
        assert fact in text
    names = trained.teacher.state_dict()
    for name in ("features", "ego"):
        assert f"`head.{name}.*`" in text
        assert {f"head.{name}.{part}" for part in ("mean", "std", "limit")} <= set(names)
    assert {"head.target_mean", "head.target_std"} <= set(names)


def test_an_export_replaces_an_earlier_one_and_can_be_without_soft_targets(exported, tiny_run, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    export(ExportSettings(run_dir=tiny_run, output_dir=folder, soft_targets=False, device="cpu"))
    assert not (folder / "soft_targets").exists()
    assert "Soft targets" not in (folder / "README.md").read_text()
    export(ExportSettings(run_dir=tiny_run, output_dir=folder, split="val", device="cpu"))
    assert [path.name for path in (folder / "soft_targets").iterdir()] == ["val.npz"]


def test_a_folder_with_other_files_is_left_alone(tiny_run, tmp_path):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "thesis.tex").touch()
    with pytest.raises(UserError, match="output_dir: expected an empty folder or an earlier export, got other files"):
        export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path, device="cpu"))
    assert [path.name for path in tmp_path.rglob("*")] == ["teacher", "thesis.tex"]


def test_features_that_were_drawn_with_dropout_are_not_exported(tiny_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    text = (run / "settings.yaml").read_text()
    (run / "settings.yaml").write_text(text.replace("mode: eval", "mode: train"))
    monkeypatch.setattr(export_module, "open_trained", None)  # refused before the features are made again
    with pytest.raises(UserError) as caught:
        export(ExportSettings(run_dir=run, device="cpu"))
    assert str(caught.value).startswith(f"{run}: backbone.mode: expected a run trained with 'eval', got 'train'")
    assert "train --backbone.mode eval makes a run that can be exported" in str(caught.value)
    assert not (run / "export").exists()


def test_another_backbone_than_the_one_of_the_training_is_refused(exported, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    text = (folder / "settings.yaml").read_text()
    (folder / "settings.yaml").write_text(text.replace("mode: eval\n  seed: 0", "mode: eval\n  seed: 1"))
    with pytest.raises(UserError, match="backbone: expected the weights that the teacher was trained with"):
        load_export(folder)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": "v2x-teacher-export-1", "labels": {"steps_s": []}, "backbone": "0"}',
        '{"format": "v2x-teacher-export-1", "labels": {"steps_s": [NaN]}, "backbone": "0"}',
        '{"format": "v2x-teacher-export-1", "labels": {"steps_s": [0.1]}, "backbone": 7}',
        '{"format": "v2x-teacher-export-9", "labels": {"steps_s": [0.1]}, "backbone": "0"}',
        "[" * 10_000,
    ],
)
def test_a_damaged_description_is_one_line(tmp_path, content):
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(UserError, match=r"export\.json: expected an export in the format"):
        load_export(tmp_path)


def test_a_folder_that_is_no_export_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"export\.json: expected an export"):
        load_export(tmp_path / "nowhere")
