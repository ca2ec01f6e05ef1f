"""Predict and export: files that say what they show, and a policy that acts alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared.errors import UserError
from drivelab_shared.video_file import count_frames
from lapo_mm.config import ExportSettings, PredictSettings
from lapo_mm.drawing import film, rgb, side_by_side
from lapo_mm.export import export, load_policy
from lapo_mm.predict import predict
from lapo_mm.rollouts import Trace
from lapo_mm.storage import load_algorithm
from lapo_mm.train import train


def trace(steps=3):
    rng = np.random.default_rng(0)
    return Trace(
        observations=[{"image": rng.integers(0, 256, (3, 8, 10), np.uint8)} for _ in range(steps + 1)],
        actions=[np.array([value, -value / 2]) for value in np.linspace(-1, 1, steps)],
        rewards=[0.0] * steps,
    )


def test_a_film_has_a_frame_per_action_and_shows_the_picture_unchanged():
    one = trace()
    frames = film(one, scale=4)
    assert frames.shape == (3, 8 * 4 + 2 * 12, 10 * 4, 3)
    np.testing.assert_array_equal(frames[1, : 8 * 4 : 4, ::4], one.observations[1]["image"].transpose(1, 2, 0))


def test_bars_grow_to_the_left_for_negative_numbers():
    frames = film(trace(), scale=4)
    first, last = frames[0, 8 * 4 + 5], frames[-1, 8 * 4 + 5]
    is_blue = [(row != 255).any(axis=-1) & (row != 0).any(axis=-1) for row in (first, last)]
    assert np.flatnonzero(is_blue[0]).mean() < 20 < np.flatnonzero(is_blue[1]).mean()


def test_a_stack_of_grey_pictures_shows_the_newest():
    stack = np.stack([np.zeros((4, 4), np.uint8), np.full((4, 4), 9, np.uint8)])
    assert rgb(stack).tolist() == np.full((4, 4, 3), 9).tolist()


def test_films_of_different_length_end_together():
    assert side_by_side([film(trace(2), 2), film(trace(5), 2)]).shape[0] == 5


def test_predict_writes_a_video_a_gif_and_arrays_per_episode(tiny_run, tmp_path, capsys):
    predict(PredictSettings(run_dir=tiny_run, output_dir=tmp_path, num_episodes=2, scale=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"episode-{number}.{ending}" for number in (0, 1) for ending in ("gif", "mp4", "npz")
    ]
    assert count_frames(tmp_path / "episode-0.mp4") == 50
    with np.load(tmp_path / "episode-1.npz", allow_pickle=False) as file:
        assert file["actions"].shape == (50, 2)
        assert file["observations/image"].shape == (51, 3, 32, 32)
        total = file["rewards"].sum()
    assert f"episode 1: 50 steps, truncated, return {total:.2f}, score" in capsys.readouterr().out


def test_without_an_environment_there_is_nothing_to_predict(tiny_settings, tiny_dataset, tmp_path):
    train(replace(tiny_settings, data_dir=tiny_dataset, run_dir=tmp_path / "run", baselines=(), steps=1))
    with pytest.raises(UserError, match="expected a dataset that names its environment, got none"):
        predict(PredictSettings(run_dir=tmp_path / "run"))


# --- export


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export(ExportSettings(run_dir=tiny_run, output_dir=folder))
    return folder


def observation(batch=4):
    rng = np.random.default_rng(1)
    return {
        "image": rng.integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8),
        "state": rng.normal(size=(batch, 6)).astype(np.float32),
    }


def test_an_exported_policy_acts_like_the_run_without_its_data(exported, tiny_run):
    seen = observation()
    algorithm, _ = load_algorithm(tiny_run / "models" / "agent")
    with torch.no_grad():
        expected = algorithm({name: torch.from_numpy(array) for name, array in seen.items()}).numpy()
    policy = load_policy(exported)
    np.testing.assert_array_equal(policy.act(seen), expected)
    one = policy.act({name: array[2] for name, array in seen.items()})
    np.testing.assert_allclose(one, expected[2], atol=1e-6)


def test_an_export_holds_no_pickles(exported):
    endings = {path.suffix for path in exported.rglob("*") if path.is_file()}
    assert endings == {".md", ".json", ".yaml", ".safetensors"}


def test_an_observation_of_another_shape_is_refused(exported):
    policy = load_policy(exported)
    with pytest.raises(ValueError, match=r"image: expected \[3, 32, 32\], or a batch of these, got \[3, 16, 16\]"):
        policy.act({"image": np.zeros((3, 16, 16), np.uint8)})
    with pytest.raises(ValueError, match="a batch of every modality, or of none"):
        policy.act({**observation(), "state": np.zeros(6, np.float32)})


def test_a_broken_sensor_is_survived(exported):
    actions = load_policy(exported).act({"state": observation()["state"]})
    assert np.isfinite(actions).all()


def test_the_readme_shows_code_that_runs(exported, monkeypatch):
    monkeypatch.chdir(exported)
    code = (exported / "README.md").read_text().split("```python\n")[1].split("```")[0]
    found = {}
    exec(code, found)
    assert found["action"].shape == (2,)


def test_an_export_replaces_an_earlier_one_and_nothing_else(exported, tiny_run, tmp_path):
    export(ExportSettings(run_dir=tiny_run, output_dir=exported))
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="expected an empty folder or an earlier export, got other files"):
        export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_the_onnx_file_acts_like_torch(tiny_run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    export(ExportSettings(run_dir=tiny_run, output_dir=tmp_path, onnx=True))
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    seen = observation(3)
    found = session.run(["action"], seen)[0]
    np.testing.assert_allclose(found, load_policy(tmp_path).act(seen), atol=1e-4)
