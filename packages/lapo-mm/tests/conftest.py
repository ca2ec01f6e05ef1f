"""A small made-up dataset, written once and shared by all tests. Nobody may write into it."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from drivelab_shared.seeding import keyed_rng
from drivelab_shared.testing import at_step, fresh_engine  # noqa: F401 - fixtures
from lapo_mm.config import EncoderSettings, MakeDataSettings, TrainSettings
from lapo_mm.data.episodes import DatasetInfo, Episode, References
from lapo_mm.data.make_data import make_data
from lapo_mm.data.minari_files import write_dataset
from lapo_mm.train import train

torch.set_num_threads(1)
gc.freeze()  # the engine collects garbage after every stage; what is imported by now never is

# Everything learns for a moment; the numbers are the smallest that make sense.
TINY = TrainSettings(
    encoder=EncoderSettings(channels=(4, 4, 4), image_features=8, state_features=4, shift_px=1),
    hidden_sizes=(16, 16),
    batch_size=16,
    steps=6,
    eval_every=3,
    eval_episodes=2,
    final_episodes=4,
    checkpoint_every=2,
    log_every=1,
    baselines=("blind",),
    evaluate=False,
    device="cpu",
)

TINY_INFO = DatasetInfo(
    dataset_id="drivelab/tiny-v0",
    env_spec=None,
    observation_space=spaces.Dict(
        {
            "image": spaces.Box(0, 255, (3, 16, 16), np.uint8),
            "lidar": spaces.Box(0, np.inf, (8, 2), np.float32),
            "state": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        }
    ),
    action_space=spaces.Box(-1, 1, (2,), np.float32),
    references=References(random=-8.0, expert=2.0, source="made up"),
    description="made up",
    author="nobody",
    algorithm_name="random numbers",
)


def tiny_episode(index: int, steps: int = 10) -> Episode:
    """Random numbers. Every third episode terminates, the others are truncated."""
    rng = keyed_rng(index)
    ends = np.arange(steps) == steps - 1
    return Episode(
        observations={
            "image": rng.integers(0, 256, (steps + 1, 3, 16, 16), dtype=np.uint8),
            "lidar": rng.uniform(0, 9, (steps + 1, 8, 2)).astype(np.float32),
            "state": rng.normal(size=(steps + 1, 5)).astype(np.float32),
        },
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rewards=rng.normal(size=steps),
        terminations=ends & (index % 3 == 0),
        truncations=ends & (index % 3 != 0),
        infos={"sim": rng.normal(size=(steps + 1, 4))},
        seed=100 + index,
    )


@pytest.fixture(scope="session")
def tiny_info() -> DatasetInfo:
    """Of `tiny_dataset`."""
    return TINY_INFO


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., Episode]:
    """`make_episode(index, steps=10)`: more of the kind that `tiny_dataset` has."""
    return tiny_episode


@pytest.fixture(scope="session")
def tiny_episodes() -> list[Episode]:
    """What `tiny_dataset` holds."""
    return [tiny_episode(index) for index in range(12)]


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory, tiny_info, tiny_episodes) -> Path:
    """12 episodes of 10 steps: image 3x16x16, state 5, lidar 8x2, actions 2, infos sim 4."""
    folder = tmp_path_factory.mktemp("tiny") / "data" / "drivelab" / "tiny-v0"
    write_dataset(folder, tiny_info, tiny_episodes)
    return folder


@pytest.fixture(scope="session")
def reacher_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 episodes of the default dataset, with its environment."""
    folder = tmp_path_factory.mktemp("reacher") / "drivelab" / "reacher-distractor-mixed-v0"
    make_data(MakeDataSettings(data_dir=folder, num_episodes=8, reference_episodes=4, workers=1))
    return folder


@pytest.fixture(scope="session")
def tiny_settings(reacher_data: Path) -> TrainSettings:
    """Settings that train on it in a second or two."""
    return replace(TINY, data_dir=reacher_data, cache_dir=reacher_data.parent.parent / "cache")


@pytest.fixture(scope="session")
def tiny_run(tiny_settings: TrainSettings) -> Path:
    """The folder of a finished run: the agent and the blind baseline. Not evaluated."""
    folder = tiny_settings.cache_dir.parent / "run"
    train(replace(tiny_settings, run_dir=folder))
    return folder
