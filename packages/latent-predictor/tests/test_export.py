"""An exported folder must work for somebody who has nothing but the folder and its README."""

import re

import numpy as np
import pytest
import torch

from drivelab_shared import onnx_files
from drivelab_shared.errors import UserError
from drivelab_shared.networks import weights_hash
from latent_predictor.config import ExportSettings
from latent_predictor.export import export
from latent_predictor.export.onnx_files import ONNX_FILES, write_onnx
from latent_predictor.storage import load_network

PARTS = {"vae": "vae", "classifier": "latent_mlp", "predictor": "lstm"}


@pytest.fixture
def exported(tiny_run, tmp_path):
    export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path / "export"))
    return tmp_path / "export"


def test_the_readmes_code_loads_the_runs_networks_and_imagines(exported, tiny_run, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    assert len([line for line in blocks[0].splitlines() if line]) <= 6
    monkeypatch.chdir(exported)
    names = {}
    exec("\n".join(blocks), names)
    for part, kind in PARTS.items():
        assert not names[part].training
        assert weights_hash(names[part]) == weights_hash(load_network(tiny_run, kind, name=part).module)
    assert names["imagined"].shape == (20, 64)
    assert names["lanes"].shape == (20,)
    assert names["pictures"].shape == (20, 64, 64, 3)
    assert names["pictures"].dtype == np.uint8


def test_the_folder_holds_weights_descriptions_and_text_only(exported):
    files = sorted(str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file())
    networks = [f"{part}/{name}" for part in PARTS for name in ("config.json", "model.safetensors")]
    assert files == sorted(["README.md", "settings.yaml", *networks])


def test_the_readme_states_what_goes_in(exported):
    text = " ".join((exported / "README.md").read_text().split())
    for fact in (
        "uint8 `[time, 64, 64, 3]`",
        "**RGB**",
        "0.08 s",
        "float32 `[time, 3]`",
        "steer -1 to 1 (positive is right)",
        "held from frame t to frame t+1",
        "4 x 4 x 4 = 64 values",
        "Apache License 2.0",
    ):
        assert fact in text
    assert "ONNX" not in text


def test_an_export_replaces_an_earlier_one_with_its_onnx_files(exported, tiny_run):
    (exported / "encoder.onnx").write_bytes(b"of another run")
    (exported / "predictor" / "stale").touch()
    export(ExportSettings(run_dir=tiny_run, output_dir=exported))
    assert not (exported / "encoder.onnx").exists()
    assert not (exported / "predictor" / "stale").exists()


def test_a_folder_with_other_files_is_left_alone(tiny_run, tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "thesis.tex").touch()
    with pytest.raises(UserError, match="output_dir: expected an empty folder or an earlier export, got other files"):
        export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["vae", "thesis.tex"]


def test_without_the_extra_the_message_names_it_and_nothing_is_written(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(UserError, match="expected the extra `export` to be installed, got no onnxruntime"):
        export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path / "export", onnx=True))
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("difference", [1e-3, float("nan")])
def test_an_onnx_file_that_disagrees_with_torch_is_not_written(tiny_run, tmp_path, monkeypatch, difference):
    monkeypatch.setattr(onnx_files, "_traced", lambda graph: b"")
    monkeypatch.setattr(onnx_files, "_difference", lambda graph, content: difference)
    networks = [load_network(tiny_run, PARTS[part], name=part).module for part in ("vae", "predictor")]
    with pytest.raises(RuntimeError, match=r"encoder.onnx: expected at most 0.0001 from torch"):
        write_onnx(tmp_path, *networks)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_onnx_files_imagine_what_torch_imagines(tiny_run, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path, onnx=True))
    assert re.findall(r"^(\S+\.onnx): at most \S+ from torch$", capsys.readouterr().out, re.MULTILINE) == [*ONNX_FILES]
    assert "## ONNX" in (tmp_path / "README.md").read_text()
    vae, predictor = (load_network(tmp_path / part, PARTS[part]).module.eval() for part in ("vae", "predictor"))
    encode, decode, step = (onnxruntime.InferenceSession(tmp_path / name) for name in ONNX_FILES)

    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2 * 4, 3, 64, 64, generator=generator)
    actions = torch.randn(2, 3 + 5, 3, generator=generator)
    (encoded,) = encode.run(None, {"pictures": pictures.numpy()})
    real = encoded.reshape(2, 4, -1)
    memory = np.zeros((2, 16), np.float32), np.zeros((2, 16), np.float32)
    latent, imagined = real[:, 0], []
    for t in range(actions.shape[1]):
        inputs = {"latent": latent, "action": actions[:, t].numpy(), "hidden": memory[0], "cell": memory[1]}
        following, *memory = step.run(None, inputs)
        imagined.append(following)
        latent = real[:, t + 1] if t + 1 < 4 else following
    (shown,) = decode.run(None, {"latent": imagined[-1]})

    with torch.no_grad():
        expected = predictor(vae.encode(pictures)[0].reshape(2, 4, -1), actions)
        np.testing.assert_allclose(np.stack(imagined, axis=1), expected, atol=1e-4)
        np.testing.assert_allclose(shown, vae.decode(expected[:, -1]), atol=1e-4)
