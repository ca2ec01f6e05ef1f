"""Small simulated drives and a run trained on them, made once and shared by all tests. Nobody may write into them."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared.testing import at_step, fresh_engine  # noqa: F401 - fixtures
from latent_predictor.config import JudgeSettings, MakeDataSettings, TrainSettings, VaeSettings
from latent_predictor.data.make_data import make_data
from latent_predictor.train import train

torch.set_num_threads(1)
gc.freeze()  # the engine collects garbage after every stage; what is imported by now never is

# Every stage learns for a moment; the numbers are the smallest that make sense.
TINY = TrainSettings(
    hidden_size=16,
    bottleneck=8,
    action_embedding=4,
    forced_steps=4,
    open_loop_steps=3,
    batch_size=16,
    steps=4,
    checkpoint_every=2,
    log_every=1,
    vae=VaeSettings(latent_dim=4, widths=(4, 4, 8), epochs=2, batch_size=32, lr=3e-2),
    judges=JudgeSettings(classifier_epochs=1, latent_epochs=1, pixel_epochs=1, oracle_steps=3, batch_size=64),
    evaluate=False,
    device="cpu",
)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Eight drives of 40 frames: five for training, one for validation, two for test."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    make_data(MakeDataSettings(data_dir=folder, num_trajectories=8, num_frames=40, workers=1))
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_data) -> TrainSettings:
    """Settings that train on it in seconds. Stages are cached beside the data, `tiny_run` fills the cache."""
    return replace(TINY, data_dir=tiny_data, cache_dir=tiny_data.parent / "cache")


@pytest.fixture(scope="session")
def tiny_run(tiny_settings) -> Path:
    """The folder of a finished run: predictor, twin, judges and oracle. Not evaluated."""
    folder = tiny_settings.data_dir.parent / "run"
    train(replace(tiny_settings, run_dir=folder))
    return folder
