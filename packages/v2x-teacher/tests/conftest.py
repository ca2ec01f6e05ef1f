"""Small simulated drives and a run trained on them, made once and shared by all tests. Nobody may write into them."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drivelab_shared.testing import at_step, fresh_engine  # noqa: F401 - fixtures
from v2x_teacher.config import BackboneSettings, HeadSettings, MakeDataSettings, TrainSettings
from v2x_teacher.data.make_data import make_data
from v2x_teacher.models import tiny_florence  # noqa: F401 - transformers is what takes longest to look through
from v2x_teacher.train import train

torch.set_num_threads(1)
gc.freeze()  # the engine collects garbage after every stage; what is imported by now never is

# Every stage learns for a moment; the numbers are the smallest that make sense.
TINY = TrainSettings(
    backbone=BackboneSettings(kind="tiny", height=32, width=64),
    head=HeadSettings(hidden_size=16),
    batch_size=8,
    epochs=2,
    checkpoint_every=2,
    log_every=1,
    evaluate=False,
    device="cpu",
)


@pytest.fixture(scope="session", autouse=True)
def _thaw():
    """Or triton says at exit that its objects have leaked."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Nine drives of 6 s in the layout of V2X-Seq-SPD: six for training, one for validation, two for test."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    make_data(MakeDataSettings(data_dir=folder, num_sequences=9, seconds=6.0, width=64, workers=1))
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_data) -> TrainSettings:
    """Settings that train on it in seconds. `tiny_run` fills the cache beside the data."""
    return replace(TINY, data_dir=tiny_data, cache_dir=tiny_data.parent / "cache")


@pytest.fixture(scope="session")
def tiny_run(tiny_settings) -> Path:
    """The folder of a finished run: teacher, ego MLP, and the teacher without infrastructure. Not evaluated."""
    folder = tiny_settings.data_dir.parent / "run"
    train(replace(tiny_settings, run_dir=folder))
    return folder
