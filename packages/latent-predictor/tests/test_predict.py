"""The prediction, its pictures and its files, on the tiny run; what it shows must be the frame that it says."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from drivelab_shared.errors import UserError
from drivelab_shared.video_file import count_frames
from latent_predictor.config import EvaluateSettings, PredictSettings
from latent_predictor.data import trajectory as npz
from latent_predictor.data.labels import labels_from_offset
from latent_predictor.data.store import open_store
from latent_predictor.data.trajectory import Trajectory
from latent_predictor.imagine import Windows, imagine
from latent_predictor.models import Predictor
from latent_predictor.predict import predict
from latent_predictor.predict.drawing import ORANGE, draw_film, draw_strip
from latent_predictor.predict.prediction import Networks, Prediction, imagine_one
from latent_predictor.storage import load_network
from latent_predictor.trained import open_trained

CPU = torch.device("cpu")
ORANGE_RGB = np.array([int(ORANGE[i : i + 2], 16) for i in (1, 3, 5)])
CONTEXT, STEPS = 6, 5


@pytest.fixture(scope="module")
def networks(tiny_run) -> Networks:
    kinds = {"vae": "vae", "predictor": "lstm", "classifier": "latent_mlp"}
    kinds |= {"judge_latent": "latent_cnn", "judge_pixel": "pixel_cnn"}
    modules = {name: load_network(tiny_run, kind, name=name).module.eval() for name, kind in kinds.items()}
    return Networks(**modules, device=CPU)


@pytest.fixture(scope="module")
def drive(tiny_data) -> Trajectory:
    return npz.read(tiny_data / "traj6_64x64.npz")


@pytest.fixture(scope="module")
def prediction(networks, drive) -> Prediction:
    return imagine_one(networks, drive, 3, PredictSettings(context=CONTEXT, steps=STEPS))


@pytest.fixture
def settings(tiny_run, tmp_path) -> PredictSettings:
    return PredictSettings(run_dir=tiny_run, output_dir=tmp_path / "out", context=CONTEXT, steps=STEPS, device="cpu")


def moved_run(run: Path, folder: Path, data_dir: Path) -> Path:
    """A copy of the run that was trained on another folder."""
    shutil.copytree(run, folder)
    lines = (folder / "settings.yaml").read_text().splitlines()
    lines = [f"data_dir: {data_dir}" if line.startswith("data_dir:") else line for line in lines]
    (folder / "settings.yaml").write_text("\n".join(lines) + "\n")
    return folder


def test_the_first_test_drive_is_imagined_like_evaluate_does(settings, tiny_run, capsys):
    predict(settings)
    trained = open_trained(tiny_run, CPU, EvaluateSettings())
    windows = Windows.of(trained.store, "test", CONTEXT, STEPS, stride=1)
    expected = imagine(trained.predictor, trained.latents, trained.store, windows, CPU)[0].numpy()
    rows = windows.starts[0] + CONTEXT - 1 + np.arange(STEPS)  # of the frames from which the actions lead on
    with np.load(settings.output_dir / "prediction.npz", allow_pickle=False) as saved:
        np.testing.assert_allclose(saved["latents"], expected, atol=1e-5)
        np.testing.assert_array_equal(saved["actions"], trained.store.actions[rows])
        np.testing.assert_array_equal(saved["labels"], trained.store.judge_labels[rows + 1])
        assert saved["frames"].shape == (STEPS, 64, 64, 3)
        assert saved["frames"].dtype == np.uint8
        assert saved["dt"] == np.float32(0.08)
        lane_b = trained.judge_latent(torch.from_numpy(expected)).argmax(-1)
        np.testing.assert_array_equal(saved["lane_b"], lane_b)
        lanes = [npz.LABEL_NAMES[lane] for lane in (saved["labels"][2], saved["lane_a"][2], saved["lane_b"][2])]
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("traj6_64x64: 6 real frames from frame 0 on, then 5 imagined ones")
    assert table[4].split()[:5] == ["3", "0.24", *lanes]


def test_film_and_gif_read_back_with_a_frame_per_moment_at_the_drives_own_pace(settings):
    predict(settings)
    film = settings.output_dir / "imagined.mp4"
    assert count_frames(film) == CONTEXT + STEPS
    capture = cv2.VideoCapture(str(film))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) > 900
    capture.release()
    with Image.open(settings.output_dir / "imagined.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
    assert sum(durations) == 80 * (CONTEXT + STEPS)  # equal frames may have been joined


def panel(image: np.ndarray, left: int, top: int, factor: int) -> np.ndarray:
    """A 64x64 picture that was drawn `factor` times as large."""
    return image[top : top + 64 * factor : factor, left : left + 64 * factor : factor]


def test_each_moment_of_the_film_shows_that_moments_three_pictures(prediction):
    film = draw_film(prediction, factor=2)
    lefts = [16 + index * (128 + 16) for index in range(3)]
    for frame in (0, CONTEXT - 1, CONTEXT, CONTEXT + STEPS - 1):
        np.testing.assert_array_equal(panel(film[frame], lefts[0], 72, 2), prediction.real[frame])
        np.testing.assert_array_equal(panel(film[frame], lefts[1], 72, 2), prediction.reconstructed[frame])
    for step in (0, STEPS - 1):
        np.testing.assert_array_equal(panel(film[CONTEXT + step], lefts[2], 72, 2), prediction.imagined[step])


def test_the_frame_around_the_third_panel_turns_orange_when_imagination_starts(prediction):
    border = draw_film(prediction, factor=2)[:, 70, 320]  # just above the third panel
    is_orange = (border == ORANGE_RGB).all(axis=-1)
    assert is_orange.tolist() == [False] * CONTEXT + [True] * STEPS


def test_the_strip_ends_with_the_last_imagined_frame(prediction):
    strip = draw_strip(prediction, factor=2, num_imagined=2)
    lefts = [170 + column * (128 + 16) for column in range(3)]
    tops = [92 + row * (128 + 34) for row in range(3)]
    for left, frame in zip(lefts, (CONTEXT - 1, CONTEXT, CONTEXT + STEPS - 1), strict=True):
        np.testing.assert_array_equal(panel(strip, left, tops[0], 2), prediction.real[frame])
    np.testing.assert_array_equal(panel(strip, lefts[2], tops[2], 2), prediction.imagined[-1])


def test_a_lane_that_nobody_knows_is_neither_right_nor_wrong(prediction):
    unknown = replace(prediction, labels=np.full_like(prediction.labels, npz.UNKNOWN))
    wrong = replace(prediction, labels=((prediction.labels + 1) % 3).astype(np.int8))
    pictures = [draw_strip(shown)[-110:] for shown in (prediction, unknown, wrong)]
    assert len({picture.tobytes() for picture in pictures}) == 3


class Spy(Predictor):
    """Notes the actions that it is given."""

    conditioning = "film"

    def __init__(self, latent_size: int):
        super().__init__(latent_size, action_size=3, residual=True)
        self.seen = []

    def step(self, inputs, actions, memory):
        self.seen.append(actions[0].numpy())
        return torch.zeros_like(inputs), None


@pytest.mark.parametrize(("word", "steer"), [("left", -1), ("straight", 0), ("right", 1)])
def test_held_steering_replaces_only_the_steering_of_imagined_transitions(networks, drive, word, steer):
    spy, before = Spy(networks.vae.latent_size), drive.actions.copy()
    settings = PredictSettings(context=CONTEXT, steps=STEPS, actions=word)
    shown = imagine_one(replace(networks, predictor=spy), drive, 3, settings)
    seen, recorded = np.stack(spy.seen), before[3 : 3 + CONTEXT + STEPS - 1]
    np.testing.assert_array_equal(seen[: CONTEXT - 1], recorded[: CONTEXT - 1])
    np.testing.assert_array_equal(seen[:, 1:], recorded[:, 1:])
    assert (np.sign(seen[CONTEXT - 1 :, 0]) == steer).all()
    np.testing.assert_array_equal(shown.actions, seen[CONTEXT - 1 :])
    np.testing.assert_array_equal(drive.actions, before)


def test_a_predictor_without_actions_imagines_a_video_that_has_none(tiny_run, networks, drive):
    twin = load_network(tiny_run, "lstm", name="twin").module.eval()
    video = replace(drive, actions=np.zeros((len(drive), 0), np.float32))
    settings = PredictSettings(context=CONTEXT, steps=STEPS)
    with_actions, without = (imagine_one(replace(networks, predictor=twin), d, 0, settings) for d in (drive, video))
    np.testing.assert_array_equal(with_actions.latents, without.latents)


def test_a_file_from_elsewhere_needs_nothing_of_the_data_that_the_run_was_trained_on(
    settings, tiny_run, tiny_data, tmp_path
):
    run = moved_run(tiny_run, tmp_path / "run", tmp_path / "gone")
    elsewhere = shutil.copyfile(tiny_data / "traj2_64x64.npz", tmp_path / "mine.npz")
    predict(replace(settings, run_dir=run, trajectory=str(elsewhere)))
    assert (settings.output_dir / "strip.png").stat().st_size > 10_000


def test_labels_are_read_from_the_pictures_of_a_file_without_any(settings, drive, tmp_path):
    offset = drive.state[:, npz.STATE_COLUMNS.index("offset")]
    assert (drive.labels == labels_from_offset(offset)).all()
    np.savez(tmp_path / "bare.npz", frames=drive.frames, actions=drive.actions)
    predict(replace(settings, trajectory=str(tmp_path / "bare.npz")))
    with np.load(settings.output_dir / "prediction.npz") as saved:
        assert (saved["labels"] != npz.UNKNOWN).any()


def test_of_a_drive_that_was_cut_into_splits_the_test_block_is_shown(settings, tiny_run, drive, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    frames, actions = (np.concatenate([part] * 3)[:100] for part in (drive.frames, drive.actions))
    np.savez(data / "long.npz", frames=frames, actions=actions)
    predict(replace(settings, run_dir=moved_run(tiny_run, tmp_path / "run", data)))
    cut = open_store(data, tmp_path / "cache").spans("test")[0]
    assert cut.start == 69  # 100 frames, of which the last 31 are for test
    assert "long: 6 real frames from frame 69 on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 100}, "frames: expected at least 106 (start 0, context 6, steps 100), got 40"),
        ({"start": 30}, "frames: expected at least 41 (start 30, context 6, steps 5), got 40"),
        ({"start": -1}, "start: expected a number >= 0, got -1"),
        ({"context": 0}, "context: expected a number >= 1, got 0"),
        ({"trajectory": "traj6_64x46"}, "did you mean 'traj6_64x64.npz'?"),
        ({"trajectory": __file__}, "expected an npz archive"),
    ],
)
def test_a_wrong_trajectory_is_one_line(settings, change, message):
    with pytest.raises(UserError) as caught:
        predict(replace(settings, **change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not settings.output_dir.exists()


def test_actions_that_do_not_fit_the_predictor_are_refused(networks, drive, tiny_run):
    settings = PredictSettings(context=CONTEXT, steps=STEPS)
    with pytest.raises(UserError, match="actions: expected 3 columns as in training, got 2"):
        imagine_one(networks, replace(drive, actions=drive.actions[:, :2]), 0, settings)
    twin = load_network(tiny_run, "lstm", name="twin").module.eval()
    with pytest.raises(UserError, match="this predictor reads no actions, got 'left'"):
        imagine_one(replace(networks, predictor=twin), drive, 0, replace(settings, actions="left"))
