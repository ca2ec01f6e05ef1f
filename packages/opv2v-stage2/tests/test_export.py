"""Export: a folder that reconstructs as the run does, alone, and says how to; ONNX that agrees with torch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from drivelab_shared.errors import UserError
from drivelab_shared.settings import dump
from opv2v_stage2.cli import main
from opv2v_stage2.config import ExportSettings, ModelSettings, RunReader
from opv2v_stage2.data.recording import CAMERAS
from opv2v_stage2.export import Vehicle, export, load_reconstructor
from opv2v_stage2.export.onnx_file import write_onnx
from opv2v_stage2.inference import reconstruct
from opv2v_stage2.models.compact import CompactModel
from opv2v_stage2.storage import save_model
from opv2v_stage2.trained import open_trained

torch.set_num_threads(1)

TINY = ModelSettings(height=24, width=32, channels=16, layers=2, heads=2)


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "model"
    export(ExportSettings(run_dir=tiny_run, output_dir=folder))
    return folder


def seen_by(frame) -> Vehicle:
    """A vehicle of a data set, as somebody with cameras of his own has it."""
    return Vehicle(
        pictures=np.stack([np.asarray(Image.open(frame.cameras[number].image_path)) for number in CAMERAS]),
        intrinsics=np.stack([frame.cameras[number].intrinsics for number in CAMERAS]),
        lidar_from_camera=np.stack([frame.cameras[number].lidar_from_camera for number in CAMERAS]),
        world_from_lidar=frame.gps_world_from_lidar,
    )


def untrained(folder, modality, **changes):
    """An exported model of any modality."""
    torch.manual_seed(0)
    settings = replace(TINY, **changes)
    save_model(folder, CompactModel(settings), settings, {"parameters": 1, "modality": modality})
    return load_reconstructor(folder)


PICTURES = np.random.default_rng(0).integers(0, 256, (4, 60, 80, 3), dtype=np.uint8)
INTRINSICS = np.tile(np.array([[40.0, 0, 40], [0, 40, 30], [0, 0, 1]]), (4, 1, 1))


def test_the_folder_holds_weights_descriptions_and_nothing_else(exported, tiny_run):
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.safetensors", "config.json", "settings.yaml", "README.md"}
    facts = json.loads((exported / "config.json").read_text())["facts"]
    assert (facts["stage"], facts["modality"], facts["steps"]) == ("stage2", "gps", 2)
    assert (exported / "model.safetensors").read_bytes() == (tiny_run / "models/stage2/model.safetensors").read_bytes()


def test_two_vehicles_are_reconstructed_as_by_the_run(exported, tiny_run):
    trained = open_trained(tiny_run, torch.device("cpu"), RunReader())
    key = trained.tree.splits["test"][0]
    agents = trained.tree.agents("test", key)[:2]
    expected = reconstruct(trained, "test", key, agents, "stage2")
    model = load_reconstructor(exported)
    found = model.reconstruct([seen_by(trained.tree.read("test", key, agent)) for agent in agents])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.colours, theirs.colours)
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-3)
        np.testing.assert_allclose(ours.validity, theirs.validity, atol=1e-5)
        main_from_lidar = ours.main_from_camera[0] @ np.linalg.inv(theirs.lidar_from_camera[0])
        np.testing.assert_allclose(main_from_lidar, theirs.main_from_lidar, atol=1e-4)


def test_the_lines_of_the_readme_load_and_reconstruct(exported, monkeypatch):
    lines = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) <= 12
    monkeypatch.chdir(exported)
    names = {}
    exec(lines, names)
    assert names["main"].points.shape == (4, 24, 32, 3)
    assert names["cloud"].shape == (int((names["main"].validity > 0.5).sum()), 3)


def test_without_a_rig_points_are_in_the_frame_of_the_first_camera(tmp_path):
    (found,) = untrained(tmp_path / "m", "images_only").reconstruct([Vehicle(pictures=PICTURES)])
    np.testing.assert_allclose(found.main_from_camera[0], np.eye(4), atol=1e-6)
    # Before training, every pixel is as far away as the next.
    np.testing.assert_allclose(np.linalg.norm(found.points[0], axis=-1), 15.0, rtol=1e-4)
    assert (found.points[0][..., 2] > 0).all()


def test_intrinsics_are_scaled_from_the_user_s_pictures_to_the_model_s(tmp_path):
    model = untrained(tmp_path / "m", "calibrated_sfm")
    (found,) = model.reconstruct([Vehicle(pictures=PICTURES, intrinsics=INTRINSICS)])
    large = PICTURES.repeat(2, axis=1).repeat(2, axis=2)
    (same,) = model.reconstruct([Vehicle(pictures=large, intrinsics=INTRINSICS * np.array([[2], [2], [1]]))])
    np.testing.assert_allclose(found.points, same.points, atol=1e-4)
    # The first pixel of 32 looks at -15.5 of a focal length of 16.
    corner = found.points[0, 12, 0]
    assert corner[0] / corner[2] == pytest.approx(-15.5 / 16, rel=1e-5)


@pytest.mark.parametrize(
    ("modality", "vehicle", "words"),
    [
        ("images_only", Vehicle(pictures=PICTURES / 255), r"vehicle 0: pictures: expected uint8 .* got float64"),
        (
            "calibrated_sfm",
            Vehicle(pictures=PICTURES),
            r"intrinsics: expected \[4, 3, 3\], which the modality .* got None",
        ),
        ("rig", Vehicle(pictures=PICTURES, intrinsics=INTRINSICS[0]), r"intrinsics: expected .* got \[3, 3\]"),
        ("rig", Vehicle(pictures=PICTURES, intrinsics=INTRINSICS), "lidar_from_camera: expected"),
    ],
)
def test_what_the_modality_needs_has_to_be_there(modality, vehicle, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        untrained(tmp_path / "m", modality).reconstruct([vehicle])


def test_all_vehicles_have_as_many_pictures(tmp_path):
    model = untrained(tmp_path / "m", "images_only")
    with pytest.raises(ValueError, match=r"vehicle 1: pictures: expected uint8 \[4, height, width, 3\]"):
        model.reconstruct([Vehicle(pictures=PICTURES), Vehicle(pictures=PICTURES[:3])])


# --- what users get wrong


def test_a_folder_with_other_files_stays_as_it_is(tiny_run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"output_dir: expected an empty folder.*got one with notes\.txt"):
        export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_export_replaces_an_earlier_one(exported, tiny_run):
    (exported / "vehicle.onnx").write_bytes(b"of another run")
    export(ExportSettings(run_dir=tiny_run, output_dir=exported))
    assert not (exported / "vehicle.onnx").exists()
    assert load_reconstructor(exported).modality == "gps"


def test_what_is_no_export_is_said_to_be_none(tiny_run, tmp_path):
    with pytest.raises(UserError, match=r"facts.modality: expected a model that `export` has written.* got None"):
        load_reconstructor(tiny_run / "models" / "stage1")
    with pytest.raises(UserError, match="expected a trained model"):
        load_reconstructor(tmp_path)


def test_mapanything_is_refused_as_onnx_in_one_line(tiny_run, tiny_settings, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text('{"status": "finished"}')
    other = replace(tiny_settings, model=ModelSettings(kind="mapanything", height=28, width=28))
    (tmp_path / "settings.yaml").write_text(dump(other))
    assert main(["export", "--run_dir", str(tmp_path), "--onnx"]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: onnx: expected a run with the compact model, got mapanything\n"


# --- ONNX


def names_in(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]


def test_a_model_that_is_told_nothing_needs_pictures_alone(tmp_path):
    torch.manual_seed(0)
    model = CompactModel(replace(TINY, layers=1)).eval()
    torch.nn.init.normal_(model.decoder.head.weight)  # or every answer were the start
    assert write_onnx(tmp_path / "vehicle.onnx", model, "images_only") < 1e-4
    assert names_in(tmp_path / "vehicle.onnx") == (["pictures"], ["log_depth", "rays", "validity"])


def test_onnx_agrees_with_torch_and_the_readme_says_how_to_ask_it(tiny_run, tmp_path, capsys):
    export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path / "new", stage="stage1", onnx=True))
    inputs, _ = names_in(tmp_path / "new" / "vehicle.onnx")
    assert inputs == ["pictures", "intrinsics", "lidar_from_camera"]
    text = (tmp_path / "new" / "README.md").read_text()
    assert "[batch, 4, 3, 24, 32]" in text
    assert "run, stage1" in text
    assert float(text.split("within ")[1].split(" of torch")[0]) < 1e-4
    assert capsys.readouterr().out == f"exported to {tmp_path / 'new'}\n"
